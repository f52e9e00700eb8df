/** The wanted number of replicas. `setDesiredReplicas` is the one way in which that of a running deployment changes. */
import { record } from '../events/store.ts'
import { type Phase, reasonOf } from '../kernel/phase.ts'
import type { Tx } from '../store/database.ts'
import { beginCold, endCold } from './cold-store.ts'
import type { DeploymentRow } from './store.ts'

/**
 * What a change of the wanted replicas comes from. load, idle: the autoscaler. request: one came to a sleeping
 * deployment. limits: the policy was changed. wake, sleep, start: somebody asked. schedule: a window began or ended.
 */
export type ScalingCause = 'load' | 'idle' | 'request' | 'limits' | 'wake' | 'sleep' | 'start' | 'schedule'

export interface DesiredChange {
  /** As locked in this transaction (`lockDeployment`). */
  row: Pick<DeploymentRow, 'id' | 'org_id' | 'desired' | 'desired_replicas' | 'phase'>
  to: number
  cause: ScalingCause
  /** A sentence. */
  why: string
  at: Date
}

/** Writes the number, its row in `scaling_decisions` and its events, and asks for a look. False: it is so already. */
export async function setDesiredReplicas(tx: Tx, change: DesiredChange): Promise<boolean> {
  const { row, to, cause, why, at } = change
  const from = row.desired_replicas
  if (from === to) return false
  const phase = phaseAfter(row, to)
  await tx.query(
    `update deployments set desired_replicas = $2, updated_at = $3, next_at = least(next_at, $3), phase = $4,
       reason = case when phase = $4 then reason else $5 end where id = $1`,
    [row.id, to, at, phase, JSON.stringify(phase === 'asleep' || phase === 'waking' ? reasonOf(phase, at) : null)],
  )
  if (to === 0) await endCold(tx, row.id)
  if (from === 0 && row.desired === 'running') await beginCold(tx, row.id, cause === 'request' ? 'request' : 'wake', at)
  await insertDecision(tx, change)
  const base = { orgId: row.org_id, deploymentId: row.id, at }
  await record(tx, { ...base, type: 'deployment.scaled', data: { from, to, cause, why } })
  if (phase !== row.phase) await record(tx, { ...base, type: 'deployment.phase', data: { from: row.phase, to: phase } })
  return true
}

/** The phase follows the wish at once; the reconciler takes it from there. */
function phaseAfter(row: DesiredChange['row'], to: number): Phase {
  if (row.desired !== 'running' || row.phase === 'failed') return row.phase
  if (to === 0) return 'asleep'
  return row.phase === 'asleep' ? 'waking' : row.phase
}

/** Also for a look that wanted another number and could not have it: then `to` is what it stays at. */
export async function insertDecision(tx: Tx, { row, to, cause, why, at }: DesiredChange): Promise<void> {
  await tx.query(
    `insert into scaling_decisions (deployment_id, at, from_replicas, to_replicas, cause, why)
     values ($1, $2, $3, $4, $5, $6)`,
    [row.id, at, row.desired_replicas, to, cause, why],
  )
}
