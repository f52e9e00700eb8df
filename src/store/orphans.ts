/**
 * Finds and ends Postgres processes that outlived their supervisor. A killed postmaster's busy backend keeps the shared
 * memory, and Postgres then refuses to start on that folder. Only called by the holder of the folder's lock, so
 * whatever runs on this folder is an orphan; processes of other folders are never touched.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Clock } from '../runtime/clock.ts'
import { endProcess, identify, isAlive, type ProcessIdentity } from '../runtime/processes.ts'

/** A postmaster in its fast shutdown writes a checkpoint; past this it is killed and the next start recovers. */
export const orphanGraceMs = 5_000

/** Also when the file was replaced by an update since: then the kernel adds a word. */
const programs = /^(postgres|initdb)( \(deleted\))?$/

interface Found {
  identity: ProcessIdentity
  /** The one that starts the others (initdb too); ends them in good order when asked. */
  postmaster: boolean
}

/**
 * Ends every Postgres process of `folder`, a postmaster in good order if that takes no longer than `graceMs`. Returns
 * how many there were. Throws when one cannot be ended.
 */
export async function endOrphans(
  folder: string,
  clusterName: string,
  clock: Clock,
  graceMs = orphanGraceMs,
): Promise<number> {
  const found = postgresProcesses(folder, clusterName)
  for (const { identity } of found.filter(({ postmaster }) => postmaster))
    await endProcess(identity, graceMs, 'SIGINT', clock)
  const left = found.filter(({ identity }) => isAlive(identity))
  const ended = await Promise.all(left.map(({ identity }) => endProcess(identity, 0, 'SIGKILL', clock)))
  if (ended.includes(false)) throw new Error(`Processes of the database in ${folder} cannot be ended.`)
  dropPidFile(folder)
  return found.length
}

/** Every live Postgres process that works in `folder`. */
export function postgresProcesses(folder: string, clusterName: string): Found[] {
  return process.platform === 'linux' ? byWorkingFolder(folder) : byTitle(folder, clusterName)
}

function byWorkingFolder(folder: string): Found[] {
  const real = realOrSame(folder)
  const found: Found[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || !worksIn(name, real)) continue
    const identity = identify(Number(name))
    if (identity) found.push({ identity, postmaster: !isBackendTitle(titleOf(name)) })
  }
  return found
}

function worksIn(pid: string, folder: string): boolean {
  try {
    if (readlinkSync(`/proc/${pid}/cwd`) !== folder) return false
    return programs.test(basename(readlinkSync(`/proc/${pid}/exe`)))
  } catch {
    // Gone, or another user's: not ours.
    return false
  }
}

function titleOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

function isBackendTitle(title: string): boolean {
  return title.startsWith('postgres: ')
}

/** For systems without /proc: backends carry the cluster's name in their title, the postmaster its folder. */
export function byTitle(folder: string, clusterName: string): Found[] {
  const ps = spawnSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  const found: Found[] = []
  for (const line of (ps.stdout ?? '').split('\n')) {
    const [, pid, title] = /^\s*(\d+) (.*)$/.exec(line) ?? []
    if (pid === undefined || title === undefined) continue
    const backend = title.startsWith(`postgres: ${clusterName}:`)
    // The shell of tied.ts has the same words in its arguments.
    const inCharge = title.includes(`/postgres -D ${folder} `) || title.includes(`/initdb --pgdata=${folder}/`)
    const postmaster = inCharge && !title.startsWith('/bin/sh ')
    const identity = backend || postmaster ? identify(Number(pid)) : null
    if (identity) found.push({ identity, postmaster })
  }
  return found
}

/**
 * postmaster.pid names a process. That number may be a stranger's by now (after a reboot, in a new container) or a
 * zombie's that nobody collects, and Postgres would believe that it is still running. Everything of this folder has
 * ended, so the file tells nothing; leftover shared memory is found by the folder, not by this file.
 */
function dropPidFile(folder: string): void {
  rmSync(join(folder, 'postmaster.pid'), { force: true })
}

function realOrSame(folder: string): string {
  try {
    return realpathSync(folder)
  } catch {
    return folder
  }
}
