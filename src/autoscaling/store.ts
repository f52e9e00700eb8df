/** The SQL of scaling. */
import type { ScalingPolicy } from '../deployments/scaling.ts'
import type { DeploymentRow } from '../deployments/store.ts'
import type { Database, Tx } from '../store/database.ts'

export { insertDecision, type ScalingCause, setDesiredReplicas } from '../deployments/wanted.ts'

export interface DecisionRow {
  seq: string
  at: Date
  from_replicas: number
  to_replicas: number
  cause: string
  why: string
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
  /** Growth that was refused at the last look. */
  limited: DeploymentRow['limited']
  /** What the calendar says of it. */
  calendar: DeploymentRow['calendar']
  /** Those that may hold requests. */
  replica_ids: string[]
}

const scaledColumns = `d.id, d.org_id, d.spec, d.scaling, d.desired_replicas, d.ready_replicas, d.autoscaler, d.limited, d.calendar,
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
