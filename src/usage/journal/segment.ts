/** A file of the journal while it is written: lines are appended in one write and forced to the disk a little later. */
import { dirname } from 'node:path'
import type { Disk } from './disk.ts'
import { frameMaximumBytes, type Line, writeFrame } from './frame.ts'

export class Segment {
  readonly #disk: Disk
  readonly #descriptor: number
  /** Work on the descriptor, one after the other, so that it is never closed under a sync. */
  #work: Promise<void> = Promise.resolve()
  size: number

  private constructor(disk: Disk, descriptor: number, size: number) {
    this.#disk = disk
    this.#descriptor = descriptor
    this.size = size
  }

  /**
   * A new file that begins with these lines. It gets its name when they are in it: whoever sees it and drops the
   * segments before it finds in it every request that is still open. Throws the error of the disk.
   */
  static create(disk: Disk, path: string, lines: readonly Line[]): Segment {
    const bytes = Buffer.alloc(lines.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 64, 0))
    const end = lines.reduce((at, { kind, text }) => writeFrame(bytes, at, kind, text), 0)
    const descriptor = disk.create(`${path}.new`)
    try {
      writeWhole(disk, descriptor, bytes, end, 0)
      disk.rename(`${path}.new`, path)
    } catch (error) {
      disk.close(descriptor)
      disk.remove(`${path}.new`)
      throw error
    }
    const segment = new Segment(disk, descriptor, end)
    segment.#work = disk.syncFolder(dirname(path)).catch(() => {})
    return segment
  }

  /**
   * Lines of requests that began and of requests that ended, '' = none. Throws the error of the disk; the file may then
   * end in half a line, and nothing may be appended any more.
   */
  append(opens: string, closes: string): void {
    const between = opens === '' ? 0 : writeFrame(frames, 0, 'open', opens)
    const end = closes === '' ? between : writeFrame(frames, between, 'close', closes)
    writeWhole(this.#disk, this.#descriptor, frames, end, this.size)
    this.size += end
  }

  sync(): Promise<void> {
    const done = this.#work.then(() => this.#disk.sync(this.#descriptor))
    this.#work = done.catch(() => {})
    return done
  }

  /** Forces it to the disk and closes it. Rejects with the error of the disk, closed all the same. */
  async end(): Promise<void> {
    const synced = this.sync()
    this.#work = this.#work.then(() => this.#disk.close(this.#descriptor))
    await synced.finally(() => this.#work)
  }
}

/** What is made here is written before anything else is. */
const frames = Buffer.alloc(2 * frameMaximumBytes)

function writeWhole(disk: Disk, descriptor: number, bytes: Buffer, length: number, position: number): void {
  const taken = length === 0 ? 0 : disk.write(descriptor, bytes, length, position)
  if (taken < length) throw Object.assign(new Error(`the disk took ${taken} of ${length} bytes`), { code: 'ENOSPC' })
}
