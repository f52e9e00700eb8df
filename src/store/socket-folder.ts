/**
 * Chooses the private folder of Postgres' socket. A socket's path has a small limit, and a folder in a place that
 * everybody may write to could be somebody else's trap: only one that is ours, with mode 0700, is used.
 */
import { createHash } from 'node:crypto'
import { chmodSync, lchownSync, lstatSync, mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Account, reachableBy } from '../runtime/isolation.ts'

/** What a socket's path may have on every system we run on: macOS has room for 103 bytes, Linux for 107. */
export const socketPathBytes = 103
/** Postgres names its socket after the port; the number means nothing else here. */
export const socketPort = 5432
const socketName = `.s.PGSQL.${socketPort}`
/** Other users' folders of the same name that are passed over before giving up. */
const namesTried = 8

export interface SocketInput {
  /** The database's folder; the socket is beside it when the path is short enough. */
  folder: string
  account: Account | null
  instanceId: string
  /** Where to make it instead of the usual places. */
  below?: string
}

/** A folder of mode 0700 that belongs to the account, without a socket in it. Throws when there is none. */
export function chooseSocketFolder({ folder, account, instanceId, below }: SocketInput): string {
  const tag = createHash('sha256').update(`${instanceId}\0${folder}`).digest('hex').slice(0, 12)
  const beside = below === undefined ? [join(dirname(folder), 'run')] : []
  const parents = below === undefined ? [...new Set([tmpdir(), '/tmp'])] : [below]
  for (const candidate of [...beside, ...parents.flatMap((parent) => namesIn(parent, tag))]) {
    if (!fits(candidate) || !ownPrivateFolder(candidate, account) || !reachableBy(account, candidate)) continue
    // Left by a killed server; its lock names a process whose number may be a stranger's by now.
    for (const name of [socketName, `${socketName}.lock`]) rmSync(join(candidate, name), { force: true })
    return candidate
  }
  throw new Error(
    `No private folder for the database's socket can be made in ${parents.join(' or ')} ` +
      `(a socket's path has ${socketPathBytes} bytes at most).`,
  )
}

function namesIn(parent: string, tag: string): string[] {
  return Array.from({ length: namesTried }, (_, index) =>
    join(parent, `paddock-${tag}${index === 0 ? '' : `-${index}`}`),
  )
}

function fits(folder: string): boolean {
  return Buffer.byteLength(join(folder, socketName)) <= socketPathBytes
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
