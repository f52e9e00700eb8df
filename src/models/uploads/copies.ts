/**
 * Uploaded models on this machine's disk, where engines can read them: the stored file itself, else a copy that is
 * fetched once, however many ask, and checked against the hash. What is fetched halfway is named so and goes at a start.
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import { checkedId, type ModelStorage } from './storage.ts'

/** Readable for engines, which run as others and get a link; the folder itself is closed to them. */
const fileMode = 0o644

export interface Wanted {
  id: string
  bytes: number
  sha256: string | null
}

export class Copies {
  readonly #folder: string
  readonly #storage: ModelStorage
  readonly #clock: Clock
  readonly #maximumBytes: number
  /** Under way, with how many bytes have come. */
  readonly #fetches = new Map<string, { bytes: number; done: Promise<string> }>()

  constructor(parts: { folder: string; storage: ModelStorage; clock: Clock; maximumBytes: number }) {
    this.#folder = parts.folder
    this.#storage = parts.storage
    this.#clock = parts.clock
    this.#maximumBytes = parts.maximumBytes
  }

  /** Where it is or will be. */
  pathOf(id: string): string {
    return this.#storage.path(id) ?? join(this.#folder, `${checkedId(id)}.gguf`)
  }

  /** For a piece that is not believed yet; gone at the next start. */
  asidePath(id: string): string {
    return join(this.#folder, `${checkedId(id)}.aside.part`)
  }

  /** Its path when it is here; else it is being fetched: how many bytes have come. */
  async ask(wanted: Wanted): Promise<{ path: string } | { bytes: number }> {
    const under = this.#fetches.get(wanted.id)
    if (under === undefined && (await this.#isHere(wanted))) return { path: this.pathOf(wanted.id) }
    void this.fetch(wanted).catch(() => {})
    return { bytes: this.#fetches.get(wanted.id)?.bytes ?? 0 }
  }

  /** Brings it here and gives its path. Throws what the storage throws, and an Error when it is not what was stored. */
  async fetch(wanted: Wanted): Promise<string> {
    const path = this.pathOf(wanted.id)
    if (this.#storage.path(wanted.id) !== null) return path
    let fetch = this.#fetches.get(wanted.id)
    if (fetch === undefined) {
      fetch = { bytes: 0, done: Promise.resolve('') }
      const own = fetch
      own.done = this.#bring(wanted, path, own).finally(() => this.#fetches.delete(wanted.id))
      this.#fetches.set(wanted.id, own)
    }
    return fetch.done
  }

  async remove(id: string): Promise<void> {
    await this.#fetches.get(id)?.done.catch(() => {})
    await rm(join(this.#folder, `${checkedId(id)}.gguf`), { force: true })
  }

  /** What a killed process left halfway. */
  async clear(): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => []))
      if (name.endsWith('.part')) await rm(join(this.#folder, name), { force: true })
  }

  async #isHere({ id, bytes }: Wanted): Promise<boolean> {
    const size = await stat(this.pathOf(id)).then(
      (found) => found.size,
      () => null,
    )
    if (size !== bytes) return false
    // The oldest use goes first when there is no room.
    const now = new Date(this.#clock.now())
    if (this.#storage.path(id) === null) await utimes(this.pathOf(id), now, now).catch(() => {})
    return true
  }

  async #bring(wanted: Wanted, path: string, progress: { bytes: number }): Promise<string> {
    if (await this.#isHere(wanted)) return path
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await this.#makeRoom(wanted.bytes)
    const partial = join(this.#folder, `${checkedId(wanted.id)}.part`)
    const hash = createHash('sha256')
    const file = await open(partial, 'w', fileMode)
    try {
      for await (const piece of this.#storage.read(wanted.id)) {
        hash.update(piece)
        await file.write(piece)
        progress.bytes += piece.length
      }
      await file.datasync()
    } finally {
      await file.close()
    }
    const sha256 = hash.digest('hex')
    if (progress.bytes !== wanted.bytes || (wanted.sha256 !== null && sha256 !== wanted.sha256)) {
      await rm(partial, { force: true })
      throw new Error(`what is stored of ${wanted.id} is not what was uploaded`)
    }
    await rename(partial, path)
    return path
  }

  /** The copies that were used longest ago go. Engines that run from one keep it: they hold links or open files. */
  async #makeRoom(bytes: number): Promise<void> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith('.gguf'))
    const copies = await Promise.all(
      names.map(async (name) => ({
        name,
        ...(await stat(join(this.#folder, name)).then(
          ({ size, mtimeMs }) => ({ size, mtimeMs }),
          () => ({ size: 0, mtimeMs: 0 }),
        )),
      })),
    )
    copies.sort((a, b) => a.mtimeMs - b.mtimeMs)
    let taken = copies.reduce((sum, { size }) => sum + size, bytes)
    for (const { name, size } of copies) {
      if (taken <= this.#maximumBytes) return
      await rm(join(this.#folder, name), { force: true })
      taken -= size
    }
  }
}
