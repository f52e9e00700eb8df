/** What a turn writes when a replica changes: the row, and the events that tell it. */
import type { StartMoments } from '../engines/contract.ts'
import { record } from '../events/store.ts'
import type { Tx } from '../store/database.ts'
import { coldStartOf, isMissed, targetMsOf } from './cold-start.ts'
import { coldOf, saveColdStart } from './cold-store.ts'
import type { Action } from './plan.ts'
import { policyOf } from './scaling.ts'
import type { PlanSettings } from './situation.ts'
import type { Snapshot } from './snapshot.ts'
import * as store from './store.ts'

export async function recordUpdate(
  settings: PlanSettings,
  tx: Tx,
  snapshot: Snapshot,
  action: Extract<Action, { do: 'update' }>,
  at: Date,
): Promise<void> {
  const { deployment } = snapshot
  const before = snapshot.replicas.find((r) => r.id === action.replicaId)!
  await store.patchReplica(tx, action.replicaId, action.patch)
  const base = { orgId: deployment.org_id, deploymentId: deployment.id, at }
  const { phase, exit } = action.patch
  // A drain that is called off is no start.
  if (phase === 'ready' && action.patch.readyAt !== undefined)
    await recordReady(settings, tx, deployment, before, action.patch.startPhases ?? before.start_phases, at)
  if (phase === 'ready' && action.patch.drainAt === null)
    await record(tx, { ...base, type: 'replica.drain_called_off', data: { replica_id: before.id } })
  if (phase === 'draining') await record(tx, { ...base, type: 'replica.draining', data: { replica_id: before.id } })
  if (phase === 'gone') {
    await record(tx, { ...base, type: 'replica.gone', data: { replica_id: before.id } })
  }
  if (exit) {
    const { why, code, signal, lastLines } = exit
    await record(tx, {
      ...base,
      type: 'replica.ended',
      data: { replica_id: before.id, why, code, signal, last_lines: lastLines },
    })
  }
}

/** Its start as its parts have it, and whether it took longer than it should. */
async function recordReady(
  settings: PlanSettings,
  tx: Tx,
  deployment: store.DeploymentRow,
  row: store.ReplicaRow,
  moments: StartMoments,
  at: Date,
): Promise<void> {
  await store.proveRevision(tx, row.revision_id)
  const target = targetMsOf(policyOf(deployment).coldStartTargetSeconds, settings.coldStartTargetSeconds ?? 0)
  const replica = { id: row.id, createdAt: row.created_at.getTime(), moments }
  const start = coldStartOf(await coldOf(tx, deployment.id), replica, at.getTime(), target)
  const base = { orgId: deployment.org_id, deploymentId: deployment.id, at }
  const start_ms = Math.max(0, at.getTime() - (moments.hardware ?? replica.createdAt))
  const ready = { replica_id: row.id, start_ms, phases: moments, phase_ms: start.phaseMs }
  await record(tx, { ...base, type: 'replica.ready', data: ready })
  await saveColdStart(tx, deployment.id, start)
  if (start.targetMs === null || !isMissed(start)) return
  const missed = {
    from: start.from,
    replica_id: row.id,
    target_ms: start.targetMs,
    actual_ms: start.actualMs,
    waited_ms: start.waitedMs,
    phase_ms: start.phaseMs,
  }
  await record(tx, { ...base, type: 'deployment.cold_start_missed', data: missed })
}
