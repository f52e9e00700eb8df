/** Finds what a crash left behind: processes nobody keeps, folders nobody finished, files nobody uses. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { isId, type ReplicaId } from '../../kernel/ids.ts'
import { runsAsRoot } from '../../runtime/isolation.ts'
import { type ProcessIdentity, signalProcess } from '../../runtime/processes.ts'
import { remove, removedPrefix, settle } from './end.ts'
import { removeUnusedFiles } from './engine-files.ts'
import type { Host } from './host.ts'
import { isKept, type KeeperRecord, namesIn, type RunFolder } from './run-folder.ts'
import { endRemains, type MarkedProcess, markedProcesses, processesOf } from './strays.ts'
import { removeUnusedWeights } from './weights.ts'

/** What a sweep did; all empty when the house was in order. */
export interface SweepReport {
  endedProcesses: number[]
  removedFolders: string[]
  removedWeights: string[]
}

/** What a process must match to be left alone. */
export interface Life {
  /** Of the order; null = no order. */
  marker: string | null
  keeper: KeeperRecord | null
  kept: boolean
}

/** Which of these processes belong to no living replica. Pure. */
export function straysAmong(processes: readonly MarkedProcess[], lifeOf: (id: ReplicaId) => Life): MarkedProcess[] {
  return processes.filter(({ identity, role, replicaId, marker }) => {
    const life = lifeOf(replicaId)
    if (life.marker !== marker) return true
    if (role === 'engine') return !life.kept
    // Without a claim yet it is about to make one; with another's claim it is about to end.
    return life.keeper !== null && (life.keeper.pid !== identity.pid || life.keeper.start !== identity.start)
  })
}

/** `busy`: replicas that this process is just making. */
export async function sweep(host: Host, busy: ReadonlySet<ReplicaId>): Promise<SweepReport> {
  const report: SweepReport = { endedProcesses: [], removedFolders: [], removedWeights: [] }
  report.endedProcesses.push(...endStrays(host))
  for (const run of host.runs()) {
    // One that cannot be cleared up must not keep the others from it.
    await sweepRun(host, run, busy, report).catch((error: Error) => complain(host, run.id, error))
  }
  report.removedFolders.push(...removeOrphanFolders(host))
  freeStaleClaims(host)
  if (runsAsRoot()) await removeUnused(host, report)
  if (Object.values(report).some((found) => found.length > 0))
    host.options.log?.warn(report, 'cleared up what a crash left behind')
  return report
}

async function sweepRun(host: Host, run: RunFolder, busy: ReadonlySet<ReplicaId>, report: SweepReport): Promise<void> {
  const keeper = run.keeper()
  if (keeper !== null && !isKept(keeper)) {
    if (run.exit() === null) await settle(host, run, keeper)
    else await endRemains(run, host.clock)
  }
  if (busy.has(run.id) || !isHalfMade(host, run)) return
  remove(host, run)
  report.removedFolders.push(run.id)
}

function complain(host: Host, id: ReplicaId, error: Error): void {
  // Somebody else removed it meanwhile: fine.
  if (host.run(id).exists())
    host.options.log?.warn({ replica: id, error: error.message }, 'a replica cannot be cleared up')
}

function endStrays(host: Host): number[] {
  // Processes first, folders after: whoever claims in between is seen with its claim.
  const processes = markedProcesses(`paddock:${host.options.instanceId}:`)
  const strays = straysAmong(processes, (id) => {
    const run = host.run(id)
    const keeper = run.keeper()
    return { marker: run.order()?.marker ?? null, keeper, kept: isKept(keeper) }
  })
  for (const { identity, role } of strays) signalProcess(identity, role === 'keeper' ? 'SIGTERM' : 'SIGKILL')
  return strays.map((stray) => stray.identity.pid)
}

function isHalfMade(host: Host, run: RunFolder): boolean {
  if (run.order() !== null || run.keeper() !== null) return false
  const at = Math.max(run.changedAt('intent.json'), run.changedAt('.'))
  return host.clock.now() - at > (host.options.halfMadeSeconds ?? 600) * 1000
}

/** Folders that were being removed, and what was placed for replicas that are gone. */
function removeOrphanFolders(host: Host): string[] {
  const { folder } = host.options
  const removed = namesIn(folder).filter((name) => name.startsWith(removedPrefix))
  for (const name of removed) rmSync(join(folder, name), { recursive: true, force: true })
  if (!runsAsRoot()) return removed
  const replicas = join(host.instanceFolder, 'replicas')
  const orphans = namesIn(replicas).filter((name) => isId('rep', name) && !host.run(name).exists())
  for (const name of orphans) rmSync(join(replicas, name), { recursive: true, force: true })
  return [...removed, ...orphans]
}

/** A uid is freed only when nothing runs as it; our own leftovers are ended for that. */
function freeStaleClaims(host: Host): void {
  for (const claim of host.claims.stale()) {
    const uid = /^uid-(\d+)$/.exec(claim.name)?.[1]
    const left: ProcessIdentity[] = uid === undefined ? [] : processesOf(Number(uid))
    if (claim.folder.startsWith(join(host.options.folder, '/'))) for (const p of left) signalProcess(p, 'SIGKILL')
    if (left.length === 0) host.claims.drop(claim)
  }
}

async function removeUnused(host: Host, report: SweepReport): Promise<void> {
  const now = host.clock.now()
  const keepSeconds = host.options.unusedWeightsSeconds ?? 900
  report.removedWeights.push(...(await removeUnusedWeights(host.weightsFolder, keepSeconds, now)))
  const uses = host.claims.all().flatMap((claim) => /^code-([0-9a-f]+)-/.exec(claim.name)?.[1] ?? [])
  report.removedFolders.push(...removeUnusedFiles(host.codeFolder, new Set(uses), now))
}
