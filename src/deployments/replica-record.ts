/** What a turn writes when a replica changes: the row, and the events that tell it. */
import type { EventData, EventType } from '../events/catalogue.ts'
import type { Tx } from '../store/database.ts'
import { coldStartOf, isMissed, targetMsOf } from './cold-start.ts'
import { coldOf, saveColdStart } from './cold-store.ts'
import type { Action } from './plan.ts'
import { policyOf } from './scaling.ts'
import type { PlanSettings } from './situation.ts'
import type { Snapshot } from './snapshot.ts'
import * as store from './store.ts'

/** Notes an event of the deployment, written with all others of its turn. */
export type Tell = <T extends EventType>(type: T, data: EventData[T]) => void

export async function recordUpdate(
  settings: PlanSettings,
  tx: Tx,
  snapshot: Snapshot,
  action: Extract<Action, { do: 'update' }>,
  at: Date,
  tell: Tell,
): Promise<void> {
  const { replicaId, patch } = action
  await store.patchReplica(tx, replicaId, patch)
  const { phase, exit } = patch
  const of = { replica_id: replicaId }
  // A drain that is called off is no start.
  if (phase === 'ready' && patch.readyAt !== undefined) await recordReady(settings, tx, snapshot, action, at, tell)
  if (phase === 'ready' && patch.drainAt === null) tell('replica.drain_called_off', of)
  if (phase === 'draining') tell('replica.draining', of)
  if (phase === 'gone') tell('replica.gone', of)
  if (!exit) return
  const { why, code, signal, lastLines } = exit
  tell('replica.ended', { ...of, why, code, signal, last_lines: lastLines })
}

/** Its start as its parts have it, and whether it took longer than it should. */
async function recordReady(
  settings: PlanSettings,
  tx: Tx,
  { deployment, revisions, replicas }: Snapshot,
  { replicaId, patch }: Extract<Action, { do: 'update' }>,
  at: Date,
  tell: Tell,
): Promise<void> {
  const row = replicas.find(({ id }) => id === replicaId)!
  const moments = patch.startPhases ?? row.start_phases
  if (!revisions.find(({ id }) => id === row.revision_id)?.proven) await store.proveRevision(tx, row.revision_id)
  const target = targetMsOf(policyOf(deployment).coldStartTargetSeconds, settings.coldStartTargetSeconds ?? 0)
  const replica = { id: row.id, createdAt: row.created_at.getTime(), moments }
  const start = coldStartOf(await coldOf(tx, deployment.id), replica, at.getTime(), target)
  const start_ms = Math.max(0, at.getTime() - (moments.hardware ?? replica.createdAt))
  tell('replica.ready', { replica_id: row.id, start_ms, phases: moments, phase_ms: start.phaseMs })
  await saveColdStart(tx, deployment.id, start)
  if (start.targetMs === null || !isMissed(start)) return
  tell('deployment.cold_start_missed', {
    from: start.from,
    replica_id: row.id,
    target_ms: start.targetMs,
    actual_ms: start.actualMs,
    waited_ms: start.waitedMs,
    phase_ms: start.phaseMs,
  })
}
