/**
 * Processes that belong to a replica, whoever started them: every engine carries its replica's marker in the
 * environment and every keeper in its arguments. Under root an engine's uid is its own, which also finds children that
 * wiped their environment. Elsewhere than on Linux only keepers are found; their engines end by their closed stdin.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import type { ReplicaId } from '../../kernel/ids.ts'
import type { Clock } from '../../runtime/clock.ts'
import { childEnv, identify, isAlive, type ProcessIdentity, signalProcess } from '../../runtime/processes.ts'
import { engineOf, isKept, type RunFolder } from './run-folder.ts'

export const markerVariable = 'PADDOCK_REPLICA'

export interface MarkedProcess {
  identity: ProcessIdentity
  role: 'keeper' | 'engine'
  replicaId: ReplicaId
  marker: string
}

/** `nonce` tells two lives of one id apart. */
export function makeMarker(instanceId: string, replicaId: ReplicaId, nonce: string): string {
  return `paddock:${instanceId}:${replicaId}:${nonce}`
}

function replicaOf(marker: string): ReplicaId | null {
  return (/^paddock:[^:]+:(rep_[a-z0-9]+):[^:]+$/.exec(marker)?.[1] as ReplicaId | undefined) ?? null
}

/** Every process whose marker begins with this text, e.g. `paddock:<instance>:`. */
export function markedProcesses(prefix: string): MarkedProcess[] {
  const found = process.platform === 'linux' ? pids().flatMap((pid) => readMarker(pid, prefix)) : fromPs(prefix)
  return found.flatMap(({ pid, role, marker }) => {
    const identity = identify(pid)
    const replicaId = replicaOf(marker)
    return identity === null || replicaId === null ? [] : [{ identity, role, replicaId, marker }]
  })
}

interface Found {
  pid: number
  role: MarkedProcess['role']
  marker: string
}

function readMarker(pid: number, prefix: string): Found[] {
  const argument = words(`/proc/${pid}/cmdline`).find((word) => word.startsWith(prefix))
  if (argument !== undefined && isKeeper(words(`/proc/${pid}/cmdline`)))
    return [{ pid, role: 'keeper', marker: argument }]
  const start = `${markerVariable}=`
  const variable = words(`/proc/${pid}/environ`).find((word) => word.startsWith(start + prefix))
  return variable === undefined ? [] : [{ pid, role: 'engine', marker: variable.slice(start.length) }]
}

function fromPs(prefix: string): Found[] {
  const ps = spawnSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8', env: childEnv() })
  return (ps.stdout ?? '').split('\n').flatMap((line) => {
    const [pid, ...command] = line.trim().split(/\s+/)
    const marker = command.find((word) => word.startsWith(prefix))
    return marker === undefined || !isKeeper(command) ? [] : [{ pid: Number(pid), role: 'keeper' as const, marker }]
  })
}

function isKeeper(command: readonly string[]): boolean {
  return command.some((word) => /[/\\]compute[/\\]local[/\\]keeper\.[jt]s$/.test(word))
}

function words(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\0')
  } catch {
    return []
  }
}

function pids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger)
}

/** Processes that run as this uid. Linux only, empty elsewhere. */
export function processesOf(uid: number): ProcessIdentity[] {
  if (process.platform !== 'linux') return []
  return pids().flatMap((pid) => {
    const real = /^Uid:\s+(\d+)/m.exec(words(`/proc/${pid}/status`).join(''))?.[1]
    const identity = real === String(uid) ? identify(pid) : null
    return identity === null ? [] : [identity]
  })
}

/** Uids that run anything. Linux only, empty elsewhere. */
export function uidsInUse(): Set<number> {
  if (process.platform !== 'linux') return new Set()
  return new Set(pids().map((pid) => Number(/^Uid:\s+(\d+)/m.exec(words(`/proc/${pid}/status`).join(''))?.[1] ?? -1)))
}

const roundsMaximum = 100
const roundMs = 20

/**
 * Ends everything of a replica whose keeper is gone: engine, its process group, its marked descendants, its uid.
 * False when something survived two seconds of SIGKILL, or when the keeper is there after all.
 */
export async function endRemains(run: RunFolder, clock: Clock): Promise<boolean> {
  for (let round = 0; round < roundsMaximum; round++) {
    const keeper = run.keeper()
    if (isKept(keeper)) return false
    const engine = keeper === null ? null : engineOf(keeper)
    const left = [...(engine !== null && isAlive(engine) ? [engine] : []), ...descendants(run)]
    if (left.length === 0) return true
    if (engine !== null && isAlive(engine)) killGroup(engine)
    for (const identity of left) signalProcess(identity, 'SIGKILL')
    await clock.sleep(roundMs)
  }
  return false
}

function descendants(run: RunFolder): ProcessIdentity[] {
  const account = run.intent()?.account ?? null
  if (account !== null) return processesOf(account.uid)
  const marker = run.order()?.marker
  if (marker === undefined) return []
  return markedProcesses(marker)
    .filter((p) => p.role === 'engine')
    .map((p) => p.identity)
}

/** Only while the leader lives is its number certain to mean its group. */
function killGroup(leader: ProcessIdentity): void {
  try {
    process.kill(-leader.pid, 'SIGKILL')
  } catch {
    // not a leader, or gone
  }
}
