/**
 * Files of the Hub on this machine's disk, shared by everything that wants them. A file is kept once, by its digest
 * (`blobs`); what a model consists of is a folder of hard links to them (`snapshots`), so the file system counts who needs
 * what, whatever crashes. A file under way is in `partial`, behind a lock that the kernel gives back when its holder dies.
 * `uses` says which replicas a folder was made for. One server has a cache; several processes may share it.
 */
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { chmod, link, mkdir, open, readdir, rename, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { RemoteFiles } from '../../engines/contract.ts'
import { type HeldLock, takeLock } from '../../runtime/lock.ts'
import { evictionOrder, type Kept } from './evict.ts'
import { bytesText } from './file.ts'

export interface CacheLimits {
  /** Of all files together; 0 = none. */
  bytesMaximum: number
  /** That the disk keeps free. */
  freeBytesMinimum: number
}

type Content = Pick<RemoteFiles, 'repo' | 'sha' | 'files'>

/** A process that died while it held a file is noticed by its lock, not by its age; this is for what nobody wants any more. */
const idlePartialMs = 7 * 86_400_000
/** A file that was just finished is not linked yet. */
const freshBlobMs = 60_000
const lockCount = 256

/** Where a model's files are found once they are here. Pure: the same for ever. */
export function snapshotPath(folder: string, content: Content): string {
  return join(folder, 'snapshots', snapshotKey(content))
}

export function snapshotKey({ repo, sha, files }: Content): string {
  const list = files.map(({ path, digest }) => `${digest} ${path}`).sort()
  const hash = createHash('sha256').update(list.join('\n')).digest('hex')
  return `${repo.replace('/', '--')}@${sha.slice(0, 12)}-${hash.slice(0, 8)}`
}

export class HubCache {
  readonly folder: string
  /** What changes who needs what happens one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(folder: string) {
    this.folder = folder
  }

  blob(digest: string): string {
    return join(this.folder, 'blobs', digest)
  }

  partial(digest: string): string {
    return join(this.folder, 'partial', digest)
  }

  async prepare(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
    for (const name of ['blobs', 'partial', 'snapshots', 'uses', 'locks'])
      await mkdir(join(this.folder, name), { recursive: true, mode: 0o755 })
  }

  /** The right to bring this file here; null while somebody else has it. Two files may share a lock: they take turns. */
  lock(digest: string): HeldLock | null {
    const slot = Number.parseInt(createHash('sha256').update(digest).digest('hex').slice(0, 4), 16) % lockCount
    return takeLock(join(this.folder, 'locks', `${slot}.lock`))
  }

  /** Bytes of this file that are here; `whole` when it is. */
  async here(digest: string): Promise<{ bytes: number; whole: boolean }> {
    const blob = await sizeOf(this.blob(digest))
    if (blob !== null) return { bytes: blob, whole: true }
    return { bytes: (await sizeOf(this.partial(digest))) ?? 0, whole: false }
  }

  /** What is in `partial` is whole and right: from now on everybody may have it. */
  async keep(digest: string): Promise<void> {
    const partial = this.partial(digest)
    const file = await open(partial, 'r')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    // Engines run as other users, and find it through a link in a folder of their own.
    await chmod(partial, 0o444)
    await rename(partial, this.blob(digest))
  }

  /** Puts a file that is here into the model's folder. False when it has just been cleared away. */
  async place(content: Content, { path, digest }: Content['files'][number]): Promise<boolean> {
    const target = join(snapshotPath(this.folder, content), path)
    await mkdir(dirname(target), { recursive: true, mode: 0o755 })
    try {
      await link(this.blob(digest), target)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return false
      if (code !== 'EEXIST') throw error
    }
    return true
  }

  isComplete(content: Content): boolean {
    const folder = snapshotPath(this.folder, content)
    return content.files.every(({ path, sizeBytes }) => {
      return statSync(join(folder, path), { throwIfNoEntry: false })?.size === sizeBytes
    })
  }

  /** This replica needs the model: it is not cleared away while the replica lives. */
  use(content: Content, replicaId: string, now: number): Promise<void> {
    return this.#alone(async () => {
      const uses = join(this.folder, 'uses', snapshotKey(content))
      await mkdir(uses, { recursive: true, mode: 0o700 })
      await writeFile(join(uses, replicaId), '', { mode: 0o600 })
      await utimes(uses, new Date(now), new Date(now))
    })
  }

  /** All models that are kept. `isLive` says which replicas live. */
  async kept(isLive: (replicaId: string) => boolean): Promise<Kept[]> {
    const keys = await names(join(this.folder, 'snapshots'))
    return Promise.all(
      keys.map(async (key) => {
        const uses = join(this.folder, 'uses', key)
        const usedAt = await stat(uses).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        )
        return { key, usedAt, live: (await names(uses)).some(isLive) }
      }),
    )
  }

  /**
   * Clears away models that no replica uses, those used longest ago first, until `bytes` more have room. Gives what was
   * cleared away, and why it is not enough, or null. `wanted`: digests of what is under way.
   */
  makeRoom(
    bytes: number,
    limits: CacheLimits,
    isLive: (replicaId: string) => boolean,
    wanted: ReadonlySet<string>,
    now: number,
  ): Promise<{ removed: string[]; short: string | null }> {
    return this.#alone(async () => {
      const removed: string[] = []
      const order = evictionOrder(await this.kept(isLive))
      for (;;) {
        const short = await this.#short(bytes, limits)
        if (short === null) return { removed, short }
        const next = order.shift()
        if (next === undefined && !(await this.#dropIdle(wanted, now))) return { removed, short }
        if (next === undefined) continue
        await this.#remove(next)
        await this.#dropUnlinked(wanted, now)
        removed.push(next)
      }
    })
  }

  /** Everything of one repository, at once. Files that others have too stay theirs. */
  drop(repo: string): Promise<void> {
    return this.#alone(async () => {
      const of = (await names(join(this.folder, 'snapshots'))).filter((key) => key.startsWith(`${repo}@`))
      const inodes = new Set<number>()
      for (const key of of) {
        const folder = join(this.folder, 'snapshots', key)
        for (const name of await names(folder)) inodes.add((await stat(join(folder, name))).ino)
        await this.#remove(key)
      }
      for (const digest of inodes.size === 0 ? [] : await names(join(this.folder, 'blobs'))) {
        const found = await stat(this.blob(digest)).catch(() => null)
        if (found?.nlink === 1 && inodes.has(found.ino)) await rm(this.blob(digest), { force: true })
      }
    })
  }

  /** What nothing needs and nobody is bringing. */
  tidy(wanted: ReadonlySet<string>, now: number): Promise<void> {
    return this.#alone(async () => {
      await this.#dropUnlinked(wanted, now)
      for (const digest of await names(join(this.folder, 'partial'))) {
        const at = await stat(this.partial(digest)).then(
          ({ mtimeMs }) => mtimeMs,
          () => now,
        )
        if (now - at > idlePartialMs && !wanted.has(digest)) await this.#dropPartial(digest)
      }
    })
  }

  async #short(bytes: number, { bytesMaximum, freeBytesMinimum }: CacheLimits): Promise<string | null> {
    const held = await this.heldBytes()
    if (bytesMaximum > 0 && held + bytes > bytesMaximum)
      return `${bytesText(bytes)} more are needed, and ${bytesText(held)} of at most ${bytesText(bytesMaximum)} are in use`
    const { bavail, bsize } = await statfs(this.folder)
    const free = bavail * bsize - freeBytesMinimum
    return free >= bytes
      ? null
      : `${bytesText(bytes)} more are needed, and the disk has room for ${bytesText(Math.max(0, free))}`
  }

  async heldBytes(): Promise<number> {
    let sum = 0
    for (const kind of ['blobs', 'partial'])
      for (const name of await names(join(this.folder, kind))) sum += (await sizeOf(join(this.folder, kind, name))) ?? 0
    return sum
  }

  async #remove(key: string): Promise<void> {
    // In one step: a folder that is half gone must not look like one that is there.
    const aside = join(this.folder, 'snapshots', `.gone-${key}`)
    await rm(aside, { recursive: true, force: true })
    await rename(join(this.folder, 'snapshots', key), aside).catch(ignoreMissing)
    await rm(aside, { recursive: true, force: true })
    await rm(join(this.folder, 'uses', key), { recursive: true, force: true })
  }

  /** Nobody has a second name for them: no model, and no replica that got its files from here. */
  async #dropUnlinked(wanted: ReadonlySet<string>, now: number): Promise<void> {
    for (const digest of await names(join(this.folder, 'blobs'))) {
      if (wanted.has(digest)) continue
      const found = await stat(this.blob(digest)).catch(() => null)
      if (found !== null && found.nlink === 1 && now - found.mtimeMs > freshBlobMs)
        await rm(this.blob(digest), { force: true })
    }
  }

  async #dropIdle(wanted: ReadonlySet<string>, now: number): Promise<boolean> {
    await this.#dropUnlinked(wanted, now)
    for (const digest of await names(join(this.folder, 'partial')))
      if (!wanted.has(digest) && (await this.#dropPartial(digest))) return true
    return false
  }

  async #dropPartial(digest: string): Promise<boolean> {
    const lock = this.lock(digest)
    if (lock === null) return false
    try {
      await rm(this.partial(digest), { force: true })
      return true
    } finally {
      lock.release()
    }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}

async function names(folder: string): Promise<string[]> {
  const all = await readdir(folder).catch(() => [])
  return all.filter((name) => !name.startsWith('.'))
}

async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    () => null,
  )
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
