import { readdirSync, statSync } from 'node:fs'
import { readIfThere } from '../runtime/files.ts'
import { type Account, runsAsRoot } from '../runtime/isolation.ts'

/** Unprivileged accounts that nearly every system has, best first. */
const candidates = ['nobody', 'daemon', 'bin', 'games', 'mail', 'news']

/**
 * Who runs initdb under root; null = we ourselves. initdb refuses root, and users without an entry in the user
 * database. Chosen is the first candidate that runs no process: for that half second nobody else may share its rights.
 */
export function initAccount(): Account | null {
  if (!runsAsRoot()) return null
  const known = candidates.flatMap((name) => entryOf(name) ?? [])
  const busy = busyUids()
  const account = known.find(({ uid }) => !busy.has(uid)) ?? known[0]
  if (!account) throw new Error('initdb needs an unprivileged user such as "nobody" in /etc/passwd, and there is none.')
  return account
}

function entryOf(name: string): Account | null {
  const line = (readIfThere('/etc/passwd') ?? '').split('\n').find((entry) => entry.startsWith(`${name}:`))
  const [uid, gid] = (line ?? '').split(':').slice(2, 4).map(Number)
  // The numbers of an unsigned 32-bit id; macOS writes nobody as -2.
  return uid && gid !== undefined ? { uid: uid >>> 0, gid: gid >>> 0 } : null
}

function busyUids(): Set<number> {
  const uids = new Set<number>()
  if (process.platform !== 'linux') return uids
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = statSync(`/proc/${name}`, { throwIfNoEntry: false })
    if (stat) uids.add(stat.uid)
  }
  return uids
}
