/** Uploads as files in one folder of the data folder: `<id>.part` while they come, `<id>.gguf` when they are whole. */
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { noRoom } from './faults.ts'
import { checkedId, type ModelStorage, type StorageWriter } from './storage.ts'

/** Written at once; pieces from a socket are a sixteenth of it. */
const writeBytes = 1024 * 1024
const readBytes = 256 * 1024
/** How much is written between two looks at the disk. */
const lookEveryBytes = 64 * 1024 * 1024
/** Engines run as others and get a link to the file; the folder itself is closed to them. */
const fileMode = 0o644

export class DiskStorage implements ModelStorage {
  readonly kind = 'disk'
  readonly #folder: string
  readonly #freeBytesMinimum: number
  /** `freeBytesMinimum`: what is left to the disk's other users, the database among them. */
  constructor(folder: string, { freeBytesMinimum = 0 }: { freeBytesMinimum?: number } = {}) {
    this.#folder = folder
    this.#freeBytesMinimum = freeBytesMinimum
  }

  async room(): Promise<number> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const { bavail, bsize } = await statfs(this.#folder)
    return Math.max(0, bavail * bsize - this.#freeBytesMinimum)
  }

  async kept(id: string): Promise<number> {
    return (await sizeOf(this.#part(id))) ?? (await sizeOf(this.path(id))) ?? 0
  }

  async append(id: string): Promise<StorageWriter> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    return new FileWriter(await open(this.#part(id), 'a', fileMode), () => this.room())
  }

  async finish(id: string): Promise<void> {
    if ((await sizeOf(this.path(id))) !== null) return
    await rename(this.#part(id), this.path(id))
    await syncFolder(this.#folder)
  }

  read(id: string, from = 0): AsyncIterable<Buffer> {
    return createReadStream(this.path(id), { start: from, highWaterMark: readBytes })
  }

  async remove(id: string): Promise<void> {
    await rm(this.#part(id), { force: true })
    await rm(this.path(id), { force: true })
  }

  async list(): Promise<string[]> {
    const names = await readdir(this.#folder).catch(() => [])
    return [...new Set(names.flatMap((name) => /^(mdl_[a-z0-9]+)\.(?:part|gguf)$/.exec(name)?.[1] ?? []))]
  }

  path(id: string): string {
    return join(this.#folder, `${checkedId(id)}.gguf`)
  }

  #part(id: string): string {
    return join(this.#folder, `${checkedId(id)}.part`)
  }
}

class FileWriter implements StorageWriter {
  readonly #file: FileHandle
  #pieces: Buffer[] = []
  #waiting = 0
  readonly #room: () => Promise<number>
  #lookIn = 0
  constructor(file: FileHandle, room: () => Promise<number>) {
    this.#file = file
    this.#room = room
  }

  async write(piece: Buffer): Promise<void> {
    this.#pieces.push(piece)
    this.#waiting += piece.length
    if (this.#waiting >= writeBytes) await this.#flush()
  }

  async close(): Promise<number> {
    try {
      await this.#flush()
      await this.#file.datasync()
      return (await this.#file.stat()).size
    } finally {
      await this.#file.close()
    }
  }

  async #flush(): Promise<void> {
    let pieces = this.#pieces
    const bytes = this.#waiting
    this.#pieces = []
    this.#waiting = 0
    this.#lookIn -= bytes
    if (this.#lookIn < 0) {
      if ((await this.#room()) < bytes) throw noRoom()
      this.#lookIn = lookEveryBytes
    }
    // A disk that is nearly full takes a part.
    while (pieces.length > 0) {
      const { bytesWritten } = await this.#file.writev(pieces).catch(asNoRoom)
      pieces = without(pieces, bytesWritten)
    }
  }
}

function asNoRoom(error: NodeJS.ErrnoException): never {
  throw error.code === 'ENOSPC' || error.code === 'EDQUOT' ? noRoom(error) : error
}

function without(pieces: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes
  const rest: Buffer[] = []
  for (const piece of pieces) {
    if (left < piece.length) rest.push(piece.subarray(left))
    left = Math.max(0, left - piece.length)
  }
  return rest
}

async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    },
  )
}

/** The new name survives a power failure. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  await handle.sync().finally(() => handle.close())
}
