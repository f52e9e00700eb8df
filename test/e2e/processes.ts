/** Every process of the Paddock below one folder, found in /proc by what it was started with: Linux only. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { identify, type ProcessIdentity } from '../../src/runtime/processes.ts'

export type Role =
  | 'supervisor'
  | 'control'
  | 'gateway'
  | 'postmaster'
  | 'backend'
  | 'keeper'
  | 'engine'
  | 'simulated'
  | 'other'

export interface OwnProcess extends ProcessIdentity {
  role: Role
  command: string
  /** Of keepers and engines. */
  replicaId: string | null
}

/** Reason to skip a test that looks for processes; false where it can run. */
export const procOnly = process.platform === 'linux' ? false : 'it finds processes in /proc'

/**
 * Processes that name `root` in their arguments, environment or working folder, or the instance in their title
 * (Postgres overwrites its arguments and environment with a title). Without rights to look, a process is not ours.
 */
export function processesBelow(root: string, instanceId: string | null): OwnProcess[] {
  if (procOnly !== false) return []
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .flatMap((pid) => look(pid, root, instanceId) ?? [])
}

function look(pid: number, root: string, instanceId: string | null): OwnProcess | null {
  const words = list(pid, 'cmdline')
  const command = words.join(' ').trim()
  const environment = list(pid, 'environ')
  const named = [...words, ...environment, link(pid, 'cwd')].some((word) => word.includes(root))
  const titled = instanceId !== null && command.startsWith(`postgres: paddock-${instanceId}`)
  if (!named && !titled) return null
  const identity = identify(pid)
  if (identity === null) return null
  const role = roleOf(pid, command, environment)
  return { ...identity, role, command: command.slice(0, 300), replicaId: replicaOf(command, environment) }
}

function roleOf(pid: number, command: string, environment: string[]): Role {
  if (environment.some((word) => word.startsWith('PADDOCK_REPLICA='))) return 'engine'
  if (/compute\/local\/keeper\.[jt]s /.test(command)) return 'keeper'
  if (/server-control\.[jt]s/.test(command)) return 'control'
  if (/server-(gateway|workers)\.[jt]s/.test(command)) return 'gateway'
  if (/server-simulated\.[jt]s/.test(command)) return 'simulated'
  if (/(main\.[jt]s|paddock\.mjs) serve/.test(command)) return 'supervisor'
  if (command.startsWith('postgres: ')) return 'backend'
  // A backend that was just forked still has the arguments of its postmaster.
  if (isPostgres(pid)) return isPostgres(parentOf(pid)) ? 'backend' : 'postmaster'
  return 'other'
}

function isPostgres(pid: number): boolean {
  return basename(link(pid, 'exe')).startsWith('postgres')
}

function parentOf(pid: number): number {
  return Number(/^PPid:\t(\d+)/m.exec(list(pid, 'status').join('\0'))?.[1])
}

function replicaOf(command: string, environment: string[]): string | null {
  const marker = environment.find((word) => word.startsWith('PADDOCK_REPLICA=')) ?? command
  return /paddock:[^:]+:(rep_[a-z0-9]+):/.exec(marker)?.[1] ?? null
}

function list(pid: number, name: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1').split('\0')
  } catch {
    return []
  }
}

function link(pid: number, name: string): string {
  try {
    return readlinkSync(`/proc/${pid}/${name}`)
  } catch {
    return ''
  }
}
