/**
 * Who runs what. Under root, Postgres has one unprivileged uid and every engine another, so that an engine which is
 * taken over reads neither the data folder, nor a socket, nor a neighbour. Without root all run as the one user there
 * is. Numeric uids need no entry in the user database.
 */
import {
  chmodSync,
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

export interface Account {
  uid: number
  gid: number
}

/** First uid of the range we use; below systemd's dynamic range ends and inside what containers map. */
export const defaultUidBase = 61_200
export const engineUidCount = 512

export function runsAsRoot(): boolean {
  return process.platform !== 'win32' && process.getuid?.() === 0
}

/** The account of Postgres; null = run as ourselves. */
export function postgresAccount(uidBase = defaultUidBase): Account | null {
  return runsAsRoot() ? { uid: uidBase, gid: uidBase } : null
}

/** The account of the engine in slot `slot` (0 … engineUidCount − 1); null = run as ourselves. */
export function engineAccount(slot: number, uidBase = defaultUidBase): Account | null {
  if (!runsAsRoot()) return null
  const uid = uidBase + 1 + (slot % engineUidCount)
  return { uid, gid: uid }
}

/** Where root keeps what other uids must reach; the data folder itself stays closed to them. */
export const systemFolder = '/var/lib/paddock'

/** True when `account` can read (and for folders enter) `path`, every parent included. */
export function reachableBy(account: Account | null, path: string): boolean {
  if (account === null) return existsSync(path)
  try {
    const real = realpathSync(path)
    if (!allows(account, real, statSync(real).isDirectory() ? 5 : 4)) return false
    for (let dir = dirname(real); ; dir = dirname(dir)) {
      if (!allows(account, dir, 1)) return false
      if (dir === dirname(dir)) return true
    }
  } catch {
    return false
  }
}

function allows(account: Account, path: string, bits: number): boolean {
  const { uid, gid, mode } = statSync(path)
  const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0
  return ((mode >> shift) & bits) === bits
}

/**
 * Copies a file or tree to `target` so that every uid may read it, in one step as others see it (copy beside, rename).
 * Symbolic links inside a tree are followed, or kept when they all point inside it. Does nothing when `target` exists.
 */
export function placeReadable(
  source: string,
  target: string,
  { links = 'follow' }: { links?: 'follow' | 'keep' } = {},
): string {
  if (existsSync(target)) return target
  const partial = `${target}.partial-${process.pid}`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(dirname(target), { recursive: true, mode: 0o755 })
  if (statSync(source).isDirectory()) {
    const dereference = links === 'follow'
    cpSync(source, partial, {
      recursive: true,
      dereference,
      verbatimSymlinks: !dereference,
      mode: constants.COPYFILE_FICLONE,
    })
    openTree(partial)
  } else {
    copyFileSync(realpathSync(source), partial, constants.COPYFILE_FICLONE)
    chmodSync(partial, statSync(source).mode & 0o100 ? 0o755 : 0o644)
  }
  try {
    renameSync(partial, target)
  } catch (error) {
    // Someone else placed the same thing meanwhile; theirs is as good.
    rmSync(partial, { recursive: true, force: true })
    if (!existsSync(target)) throw error
  }
  return target
}

function openTree(path: string): void {
  const stat = lstatSync(path)
  if (stat.isSymbolicLink()) return
  chmodSync(path, stat.isDirectory() || stat.mode & 0o100 ? 0o755 : 0o644)
  if (stat.isDirectory()) for (const name of readdirSync(path)) openTree(join(path, name))
}
