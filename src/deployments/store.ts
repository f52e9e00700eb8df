/** The SQL of deployments and revisions: one function per statement. That of replicas and routes: replica-store.ts, route-store.ts. */
import type { LimitsChange } from '../access/limits.ts'
import { type Phase, type Reason, reasonOf } from '../kernel/phase.ts'
import type { Database, Tx } from '../store/database.ts'
import type { AdapterSummary } from './adapters/summary.ts'
import type { Calendar } from './calendar.ts'
import type { Limited } from './limited.ts'
import { json } from './replica-store.ts'
import type { ScalingPolicy } from './scaling.ts'
import type { Schedule } from './schedule.ts'
import { noStarts, type Starts } from './situation.ts'
import type { DeploymentSpec } from './spec.ts'
import type { StopCause } from './stopped.ts'
import type { Waiting } from './waiting.ts'

export * from './replica-store.ts'
export * from './route-store.ts'

export interface DeploymentRow {
  id: string
  org_id: string
  name: string
  spec: DeploymentSpec
  /** The scaling policy as wished; empty for what was made before there were policies. */
  scaling: Partial<ScalingPolicy>
  desired: 'running' | 'stopped' | 'deleted'
  desired_replicas: number
  revision: number
  phase: Phase
  reason: Reason | null
  ready_replicas: number
  starts: Starts
  plan_why: string[]
  emulated: boolean
  /** What it waits for; null = for nothing. */
  waiting: Waiting | null
  /** Growth that was refused; null = none was. */
  limited: Limited | null
  created_at: Date
  updated_at: Date
  deleted_at: Date | null
  next_at: Date | null
  /** The end of the lease. */
  expires_at: Date | null
  schedule: Schedule | null
  /** What the calendar said at its last look. */
  calendar: Calendar | null
  calendar_at: Date | null
  /** null = it is not stopped, or a person did before this was noted. */
  stopped_by: StopCause | null
  /** The preset that was applied last. */
  preset: string | null
  limits: LimitsChange
  /** What the gateways are told of its adapters; null = it has none. */
  adapters: AdapterSummary | null
}

export interface RevisionRow {
  id: string
  deployment_id: string
  number: number
  spec: DeploymentSpec
  /** Share of the traffic, 0 … 100. */
  weight: number
  failed: boolean
  failed_why: string | null
  /** A replica of it was ready once. */
  proven: boolean
  /** It may take the place of the one before it while nothing else answers. */
  in_place: boolean
  created_at: Date
}

type Db = Database | Tx

export async function insertDeployment(
  tx: Tx,
  row: Pick<
    DeploymentRow,
    | 'id'
    | 'org_id'
    | 'name'
    | 'spec'
    | 'scaling'
    | 'desired_replicas'
    | 'reason'
    | 'emulated'
    | 'starts'
    | 'expires_at'
    | 'schedule'
    | 'preset'
    | 'limits'
  >,
  at: Date,
): Promise<boolean> {
  const rows = await tx.query(
    `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, reason, ready_replicas,
                              starts, plan_why, emulated, created_at, updated_at, next_at, scaling, expires_at, schedule,
                              preset, limits)
     values ($1, $2, $3, $4, 'running', $5, 1, 'starting', $6, 0, $7, '[]', $8, $9, $9, $9, $10, $11, $12, $13, $14)
     on conflict (org_id, name) where deleted_at is null do nothing returning id`,
    [
      row.id,
      row.org_id,
      row.name,
      json(row.spec),
      row.desired_replicas,
      json(row.reason),
      json(row.starts),
      row.emulated,
      at,
      json(row.scaling),
      row.expires_at,
      row.schedule === null ? null : json(row.schedule),
      row.preset,
      json(row.limits),
    ],
  )
  return rows.length > 0
}

export async function insertRevision(
  tx: Tx,
  row: Pick<RevisionRow, 'id' | 'deployment_id' | 'number' | 'spec'> &
    Partial<Pick<RevisionRow, 'proven' | 'in_place'>>,
  at: Date,
): Promise<void> {
  const { proven = false, in_place = true } = row
  await tx.query(
    `insert into revisions (id, deployment_id, number, spec, weight, proven, in_place, created_at)
     values ($1, $2, $3, $4, 100, $5, $6, $7)`,
    [row.id, row.deployment_id, row.number, json(row.spec), proven, in_place, at],
  )
}

const deploymentColumns = `id, org_id, name, spec, scaling, desired, desired_replicas, revision, phase, reason, ready_replicas, starts,
  plan_why, emulated, waiting, limited, created_at, updated_at, deleted_at, next_at, expires_at, schedule, calendar, calendar_at, stopped_by, preset,
  limits, adapters`

/** By id (deleted ones too) or by name among the live ones, in one org only. */
export async function deploymentOf(db: Db, orgId: string, idOrName: string): Promise<DeploymentRow | null> {
  const rows = await db.query<DeploymentRow>(
    `select ${deploymentColumns} from deployments where org_id = $1 and (id = $2 or (name = $2 and deleted_at is null))`,
    [orgId, idOrName],
  )
  return rows[0] ?? null
}

/** Newest first. `deleted`: those that are gone instead of those that are there. */
export async function deploymentsOf(
  db: Db,
  orgId: string,
  afterId: string | null,
  limit: number,
  deleted: boolean,
): Promise<DeploymentRow[]> {
  const rows = await db.query<DeploymentRow>(
    `select ${deploymentColumns} from deployments
     where org_id = $1 and ($2::text is null or id < $2) and (deleted_at is not null) = $4 order by id desc limit $3`,
    [orgId, afterId, limit, deleted],
  )
  return rows
}

export async function deploymentById(db: Db, id: string): Promise<DeploymentRow | null> {
  const rows = await db.query<DeploymentRow>(`select ${deploymentColumns} from deployments where id = $1`, [id])
  return rows[0] ?? null
}

/** With what tells whether the row was written since (see `lockLease`). */
export type ReadRow = DeploymentRow & { written: string }

export async function deploymentsById(db: Db, ids: readonly string[]): Promise<ReadRow[]> {
  return db.query<ReadRow>(`select ${deploymentColumns}, xmin::text as written from deployments where id = any($1)`, [
    ids,
  ])
}

/** Serializes what counts against an org's quota. Held to the end of the transaction. */
export async function lockOrg(tx: Tx, orgId: string): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 11))', [orgId])
}

/** Asks for removal; true when it was not asked before. Deleting frees the name at once. */
export async function askDelete(tx: Tx, id: string, at: Date): Promise<boolean> {
  const rows = await tx.query(
    `update deployments set desired = 'deleted', phase = 'stopping', deleted_at = $2, updated_at = $2, next_at = $2,
       reason = $3 where id = $1 and desired <> 'deleted' returning id`,
    [id, at, json(reasonOf('stopping', at, 'It is being torn down.'))],
  )
  return rows.length > 0
}

const revisionColumns = 'id, deployment_id, number, spec, weight, failed, failed_why, proven, in_place, created_at'

export async function revisionsOf(db: Db, deploymentId: string): Promise<RevisionRow[]> {
  const rows = await db.query<RevisionRow>(
    `select ${revisionColumns} from revisions where deployment_id = $1 order by number desc limit 20`,
    [deploymentId],
  )
  return rows
}

/** The same of many, each deployment's newest first. */
export async function revisionsOfMany(db: Db, deploymentIds: readonly string[]): Promise<RevisionRow[]> {
  const rows = await db.query<RevisionRow>(
    `select r.* from unnest($1::text[]) as wanted (id) cross join lateral (
       select ${revisionColumns} from revisions
       where deployment_id = wanted.id order by number desc limit 20
     ) as r`,
    [deploymentIds],
  )
  return rows
}

export async function saveVerdict(
  tx: Tx,
  id: string,
  verdict: Pick<DeploymentRow, 'phase' | 'reason' | 'starts' | 'emulated' | 'waiting'> & {
    readyReplicas: number
    why: string[]
  },
  at: Date,
): Promise<void> {
  const { phase, reason, readyReplicas, starts, why, emulated, waiting } = verdict
  await tx.query(
    `update deployments set phase = $2, reason = $3, ready_replicas = $4, starts = $5, plan_why = $6, emulated = $7,
       waiting = $8, updated_at = $9 where id = $1`,
    [id, phase, json(reason), readyReplicas, json(starts), json(why), emulated, json(waiting), at],
  )
}

/** A start that was refused before anything ran; one of another revision than the current says nothing of this. */
export async function countFailedStart(
  tx: Tx,
  id: string,
  failure: { revisionId: string; at: number; why: string },
): Promise<void> {
  await tx.query(
    `update deployments set starts = jsonb_build_object('failed', (starts->>'failed')::int + 1, 'lastAt', $2::bigint,
       'why', $3::text, 'lastLines', '[]'::jsonb)
     where id = $1 and revision = (select number from revisions where revisions.id = $4)`,
    [id, failure.at, failure.why, failure.revisionId],
  )
}

/** At start: claims of an earlier process of ours are void, and everything is looked at once. */
export async function takeOver(db: Db, owner: string, at: Date): Promise<void> {
  await db.run(`update deployments set lease_token = null, lease_until = null where lease_token like $1 || '.%'`, [
    owner,
  ])
  await db.run(`update deployments set next_at = least(next_at, $1) where phase <> 'deleted'`, [at])
}

/** When the next look is due; null = nothing waits. */
export async function nextLookAt(db: Db): Promise<Date | null> {
  const rows = await db.query<{ at: Date | null }>(
    'select min(next_at) as at from deployments where lease_until is null',
  )
  return rows[0]?.at ?? null
}

/** Somebody allows that the current revision goes in place. */
export async function allowInPlace(tx: Tx, deploymentId: string, number: number): Promise<void> {
  await tx.query('update revisions set in_place = true where deployment_id = $1 and number = $2', [
    deploymentId,
    number,
  ])
}

/** A replica of it is ready. */
export async function proveRevision(tx: Tx, revisionId: string): Promise<void> {
  await tx.query('update revisions set proven = true where id = $1 and not proven', [revisionId])
}

/** Gives a revision up; the one before it runs again. */
export async function failRevision(tx: Tx, deploymentId: string, revisionId: string, why: string): Promise<void> {
  await tx.query('update revisions set failed = true, failed_why = $2 where id = $1', [revisionId, why])
  await tx.query(
    `update deployments set revision = r.number, spec = r.spec
     from (select number, spec from revisions where deployment_id = $1 and not failed order by number desc limit 1) as r
     where id = $1`,
    [deploymentId],
  )
}

/** The row under lock: what is decided from it holds until the transaction ends. */
export async function lockDeployment(tx: Tx, id: string): Promise<DeploymentRow | null> {
  const rows = await tx.query<DeploymentRow>(`select ${deploymentColumns} from deployments where id = $1 for update`, [
    id,
  ])
  return rows[0] ?? null
}

/** Phase and reason follow the wish at once; the reconciler takes it from there. */
export async function setStopped(tx: Tx, id: string, cause: StopCause, reason: Reason, at: Date): Promise<void> {
  await tx.query(
    `update deployments set desired = 'stopped', stopped_by = $2, phase = 'stopping', reason = $3, updated_at = $4
     where id = $1`,
    [id, cause, json(reason), at],
  )
}

/** A lease is looked at again: started within its last hour, it is warned of then. */
export async function setRunning(tx: Tx, id: string, at: Date): Promise<void> {
  await tx.query(
    `update deployments set desired = 'running', stopped_by = null, updated_at = $2,
       phase = case when phase in ('stopping', 'stopped', 'failed') then 'starting' else phase end,
       reason = case when phase in ('stopping', 'stopped', 'failed') then $3::jsonb else reason end,
       calendar_at = case when expires_at is null then calendar_at else least(calendar_at, $2) end
     where id = $1`,
    [id, at, json(reasonOf('starting', at))],
  )
}

/** Forgets failed starts, so that what was given up is tried again. */
export async function resetStarts(tx: Tx, id: string): Promise<void> {
  await tx.query('update deployments set starts = $2 where id = $1', [id, json(noStarts)])
}

/** `says` about the roll, where there is one. */
export async function setRevision(
  tx: Tx,
  id: string,
  { number, spec, says }: { number: number; spec: DeploymentSpec; says: string },
  at: Date,
): Promise<void> {
  await tx.query(
    `update deployments set revision = $2, spec = $3,
       phase = case when phase in ('serving', 'scaling', 'degraded') then 'rolling' else phase end,
       reason = case when phase in ('serving', 'scaling', 'degraded', 'rolling') then $4::jsonb else reason end
     where id = $1`,
    [id, number, json(spec), json(reasonOf('rolling', at, says))],
  )
}

/** Something changed: look at it now. */
export async function touch(tx: Tx, id: string, at: Date): Promise<void> {
  await tx.query('update deployments set updated_at = $2, next_at = least(next_at, $2) where id = $1', [id, at])
}
