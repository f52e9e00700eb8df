/** The SQL of scaling. `setDesiredReplicas` is the one way in which the wanted number of a running deployment changes. */

import { beginCold, endCold } from '../deployments/cold-store.ts'
import type { ScalingPolicy } from '../deployments/scaling.ts'
import type { DeploymentRow } from '../deployments/store.ts'
import { record } from '../events/store.ts'
import { type Phase, reasonOf } from '../kernel/phase.ts'
import type { Database, Tx } from '../store/database.ts'

/**
 * What a change of the wanted replicas comes from. load, idle: the autoscaler. request: one came to a sleeping
 * deployment. limits: the policy was changed. wake, sleep: somebody asked. schedule: a window began or ended.
 */
export type ScalingCause = 'load' | 'idle' | 'request' | 'limits' | 'wake' | 'sleep' | 'schedule'

export interface DesiredChange {
  /** As locked in this transaction (`lockDeployment`). */
  row: Pick<DeploymentRow, 'id' | 'org_id' | 'desired' | 'desired_replicas' | 'phase'>
  to: number
  cause: ScalingCause
  /** A sentence. */
  why: string
  at: Date
}

export interface DecisionRow {
  seq: string
  at: Date
  from_replicas: number
  to_replicas: number
  cause: string
  why: string
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
  return row.desired_replicas === 0 ? 'waking' : row.phase
}

/** Also for a look that wanted another number and could not have it: then `to` is what it stays at. */
export async function insertDecision(tx: Tx, { row, to, cause, why, at }: DesiredChange): Promise<void> {
  await tx.query(
    `insert into scaling_decisions (deployment_id, at, from_replicas, to_replicas, cause, why)
     values ($1, $2, $3, $4, $5, $6)`,
    [row.id, at, row.desired_replicas, to, cause, why],
  )
}

/** Newest first. */
export async function decisionsOf(
  db: Database | Tx,
  deploymentId: string,
  beforeSeq: number | null,
  limit: number,
): Promise<DecisionRow[]> {
  const rows = await db.query<DecisionRow>(
    `select seq, at, from_replicas, to_replicas, cause, why from scaling_decisions
     where deployment_id = $1 and ($2::bigint is null or seq < $2) order by seq desc limit $3`,
    [deploymentId, beforeSeq, limit],
  )
  return rows
}

export async function savePolicy(tx: Tx, deploymentId: string, policy: ScalingPolicy): Promise<void> {
  await tx.query('update deployments set scaling = $2 where id = $1', [deploymentId, JSON.stringify(policy)])
}

export async function savePreset(tx: Tx, deploymentId: string, preset: string): Promise<void> {
  await tx.query('update deployments set preset = $2 where id = $1', [deploymentId, preset])
}

export interface ScaledRow
  extends Pick<DeploymentRow, 'id' | 'org_id' | 'spec' | 'scaling' | 'desired_replicas' | 'ready_replicas'> {
  /** The autoscaler's state; {} before its first look. */
  autoscaler: object
  updated_at: Date
  /** What the calendar says of it. */
  calendar: DeploymentRow['calendar']
  /** Those that may hold requests. */
  replica_ids: string[]
}

const scaledColumns = `d.id, d.org_id, d.spec, d.scaling, d.desired_replicas, d.ready_replicas, d.autoscaler, d.calendar,
  d.updated_at, coalesce((select array_agg(r.id order by r.id) from replicas r
            where r.deployment_id = d.id and r.phase in ('ready', 'draining')), '{}') as replica_ids`
const runs = `d.desired = 'running' and d.phase <> 'failed'`

/** Deployments that are to run and have not failed, by id, after `afterId`. */
export async function runningRows(db: Database, afterId: string, limit: number): Promise<ScaledRow[]> {
  return db.query<ScaledRow>(
    `select ${scaledColumns} from deployments d where ${runs} and d.id > $1 order by d.id limit $2`,
    [afterId, limit],
  )
}

/** Deployments that were changed since, whether they are to run or not. */
export async function changedRows(db: Database, since: Date): Promise<(ScaledRow & { runs: boolean })[]> {
  return db.query<ScaledRow & { runs: boolean }>(
    `select ${scaledColumns}, ${runs} as runs from deployments d where d.updated_at >= $1`,
    [since],
  )
}

export async function saveState(db: Database | Tx, deploymentId: string, state: object): Promise<void> {
  await db.query('update deployments set autoscaler = $2 where id = $1', [deploymentId, JSON.stringify(state)])
}

/** The same of many, in one statement; rows are locked by id, as whoever changes many does. */
export async function saveStates(tx: Tx, states: ReadonlyMap<string, object>): Promise<void> {
  await tx.query(
    `with said as materialized (
       select d.id, v.state from unnest($1::text[], $2::jsonb[]) as v (id, state) join deployments d on d.id = v.id
       order by d.id for update of d
     )
     update deployments as d set autoscaler = said.state from said where d.id = said.id`,
    [[...states.keys()], [...states.values()].map((state) => JSON.stringify(state))],
  )
}
