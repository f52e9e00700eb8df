/**
 * Chooses the private folder of Postgres' socket. A socket's path has a small limit, and a folder in a place that
 * everybody may write to could be somebody else's trap: only one that is ours, with mode 0700, is used.
 */
import { createHash } from 'node:crypto'
import { chmodSync, lchownSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Account, reachableBy } from '../runtime/isolation.ts'

/** What a socket's path may have on every system we run on: macOS has room for 103 bytes, Linux for 107. */
export const socketPathBytes = 103
/** Postgres names its socket after the port; the number means nothing else here. */
export const socketPort = 5432
/** Other users' folders of the same name that are passed over before giving up. */
const namesTried = 8

export interface SocketInput {
  /** The database's folder; the socket is beside it when the path is short enough. */
  folder: string
  account: Account | null
  instanceId: string
  /** Used instead of everything else when given. */
  wanted?: string
}

/** A folder of mode 0700 that belongs to the account. Throws when there is none. */
export function chooseSocketFolder({ folder, account, instanceId, wanted }: SocketInput): string {
  if (wanted !== undefined) {
    if (!fits(wanted))
      throw new Error(`The socket folder ${wanted} has too long a path (${socketPathBytes} bytes at most).`)
    if (!ownPrivateFolder(wanted, account)) throw new Error(`The socket folder ${wanted} belongs to another user.`)
    return wanted
  }
  const tag = createHash('sha256').update(`${instanceId}\0${folder}`).digest('hex').slice(0, 12)
  for (const candidate of candidates(folder, tag)) {
    if (fits(candidate) && ownPrivateFolder(candidate, account) && reachableBy(account, candidate)) return candidate
  }
  throw new Error(`No private folder for the database's socket can be made in ${tmpdir()}.`)
}

function candidates(folder: string, tag: string): string[] {
  const shared = [...new Set([tmpdir(), '/tmp'])]
  const names = Array.from({ length: namesTried }, (_, index) => `paddock-${tag}${index === 0 ? '' : `-${index}`}`)
  return [join(dirname(folder), 'run'), ...shared.flatMap((parent) => names.map((name) => join(parent, name)))]
}

function fits(folder: string): boolean {
  return Buffer.byteLength(join(folder, `.s.PGSQL.${socketPort}`)) <= socketPathBytes
}

/** Makes the folder when it is missing. False when it is not, and cannot be made, ours alone. */
function ownPrivateFolder(path: string, account: Account | null): boolean {
  const self = process.getuid?.() ?? 0
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
  }
  // Not followed when it is a link; in a sticky folder only its owner can replace it after this look.
  const stat = lstatSync(path)
  if (!stat.isDirectory() || (stat.uid !== self && stat.uid !== account?.uid)) return false
  chmodSync(path, 0o700)
  if (account) lchownSync(path, account.uid, account.gid)
  return true
}
