import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { type Clock, systemClock } from './clock.ts'

/** A process as more than a number: pids are reused, so the start time belongs to the identity. */
export interface ProcessIdentity {
  pid: number
  /** Opaque; equal for the same process only. */
  start: string
}

/** Identity of a live process; null when there is none (a zombie counts as gone). */
export function identify(pid: number): ProcessIdentity | null {
  if (!Number.isInteger(pid) || pid <= 0) return null
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      // Fields after the command, which is in parentheses and may itself hold spaces and parentheses.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (fields[0] === 'Z' || fields[0] === 'X') return null
      return { pid, start: `${bootId()}:${fields[19]}` }
    } catch {
      return null
    }
  }
  const ps = spawnSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' })
  const line = ps.stdout?.trim()
  if (ps.status !== 0 || !line || line.startsWith('Z')) return null
  return { pid, start: line.replace(/^\S+\s+/, '') }
}

let cachedBootId: string | undefined
function bootId(): string {
  cachedBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().slice(0, 8)
  return cachedBootId
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.start === identity.start
}

/** Signals exactly this process, never another that got its number. False when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false
  try {
    process.kill(identity.pid, signal)
    return true
  } catch {
    return false
  }
}

/** SIGTERM, wait up to `graceMs`, SIGKILL, wait until gone. True when it is gone. */
export async function endProcess(
  identity: ProcessIdentity,
  graceMs: number,
  first: NodeJS.Signals = 'SIGTERM',
  clock: Clock = systemClock,
): Promise<boolean> {
  signalProcess(identity, first)
  if (await goneWithin(identity, graceMs, clock)) return true
  signalProcess(identity, 'SIGKILL')
  return goneWithin(identity, 5_000, clock)
}

async function goneWithin(identity: ProcessIdentity, ms: number, clock: Clock): Promise<boolean> {
  const deadline = clock.monotonicMs() + ms
  while (isAlive(identity)) {
    if (clock.monotonicMs() >= deadline) return false
    await clock.sleep(20)
  }
  return true
}

/** Full path of a program on the PATH, or null. */
export function findProgram(name: string, path: string = process.env.PATH ?? ''): string | null {
  const candidates = isAbsolute(name)
    ? [name]
    : path
        .split(delimiter)
        .filter(Boolean)
        .map((dir) => join(dir, name))
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {
      // not here, look further
    }
  }
  return null
}

const allowedEnv = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR']

/** Environment for a child that runs foreign code: the allow-list and what is given, nothing else of ours. */
export function childEnv(extra: Record<string, string> = {}): Record<string, string> {
  const env: Record<string, string> = {}
  for (const name of allowedEnv) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  return { ...env, ...extra }
}
