/** The SQL of deployments, revisions, replicas and routes: one function per statement. */
import type { Exit, Placement } from '../compute/contract.ts'
import type { StartPhase } from '../engines/contract.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import type { Database, Tx } from '../store/database.ts'
import { nextVersion, notify } from '../store/tables.ts'
import type { ReplicaPatch, ReplicaPhase } from './replica.ts'
import type { Route } from './routes.ts'
import type { Starts } from './situation.ts'
import type { DeploymentSpec } from './spec.ts'

export interface DeploymentRow {
  id: string
  org_id: string
  name: string
  spec: DeploymentSpec
  desired: 'running' | 'stopped' | 'deleted'
  desired_replicas: number
  revision: number
  phase: Phase
  reason: Reason | null
  ready_replicas: number
  starts: Starts
  plan_why: string[]
  emulated: boolean
  created_at: Date
  updated_at: Date
  deleted_at: Date | null
  next_at: Date | null
}

export interface ReplicaRow {
  id: string
  deployment_id: string
  revision_id: string
  org_id: string
  phase: ReplicaPhase
  provider: string
  gpu_type: string
  gpu_count: number
  region: string
  emulated: boolean
  price_micro_usd_per_unit_hour: string
  address: string | null
  port: number | null
  start_phases: Partial<Record<StartPhase, number>>
  created_at: Date
  started_at: Date | null
  ready_at: Date | null
  drain_at: Date | null
  drain_version: string | null
  ended_at: Date | null
  gone_at: Date | null
  unhealthy_since: Date | null
  exit: Exit | null
}

export interface RevisionRow {
  id: string
  deployment_id: string
  number: number
  spec: DeploymentSpec
}

type Db = Database | Tx

export async function insertDeployment(
  tx: Tx,
  row: Pick<DeploymentRow, 'id' | 'org_id' | 'name' | 'spec' | 'desired_replicas' | 'reason' | 'emulated' | 'starts'>,
  at: Date,
): Promise<boolean> {
  const rows = await tx.query(
    `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, reason, ready_replicas,
                              starts, plan_why, emulated, created_at, updated_at, next_at)
     values ($1, $2, $3, $4, 'running', $5, 1, 'starting', $6, 0, $7, '[]', $8, $9, $9, $9)
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
    ],
  )
  return rows.length > 0
}

export async function insertRevision(tx: Tx, row: RevisionRow, at: Date): Promise<void> {
  await tx.query(
    'insert into revisions (id, deployment_id, number, spec, weight, created_at) values ($1, $2, $3, $4, 100, $5)',
    [row.id, row.deployment_id, row.number, json(row.spec), at],
  )
}

const deploymentColumns = `id, org_id, name, spec, desired, desired_replicas, revision, phase, reason, ready_replicas, starts,
  plan_why, emulated, created_at, updated_at, deleted_at, next_at`

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

/** Deployments of an org that hold or want hardware, for the quota. Locks nothing: callers hold the org's lock. */
export async function liveSpecsOf(
  db: Db,
  orgId: string,
): Promise<Pick<DeploymentRow, 'id' | 'spec' | 'desired_replicas'>[]> {
  const rows = await db.query<Pick<DeploymentRow, 'id' | 'spec' | 'desired_replicas'>>(
    `select id, spec, desired_replicas from deployments where org_id = $1 and desired = 'running' and phase <> 'failed'`,
    [orgId],
  )
  return rows
}

/** Serializes what counts against an org's quota. Held to the end of the transaction. */
export async function lockOrg(tx: Tx, orgId: string): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 11))', [orgId])
}

/** Serializes reservations of one kind of hardware in one place. Held to the end of the transaction. */
export async function lockHardware(
  tx: Tx,
  placement: Pick<Placement, 'provider' | 'gpuType' | 'region'>,
): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 13))', [
    `${placement.provider}/${placement.gpuType}/${placement.region}`,
  ])
}

/** Units held by replicas that are not gone, by hardware. */
export async function heldUnits(
  db: Db,
): Promise<{ provider: string; gpu_type: string; region: string; units: number }[]> {
  const rows = await db.query<{ provider: string; gpu_type: string; region: string; units: string }>(
    `select provider, gpu_type, region, sum(gpu_count) as units from replicas where phase <> 'gone' group by 1, 2, 3`,
  )
  return rows.map((row) => ({ ...row, units: Number(row.units) }))
}

/** Asks for removal; true when it was not asked before. Deleting frees the name at once. */
export async function askDelete(tx: Tx, id: string, at: Date): Promise<boolean> {
  const rows = await tx.query(
    `update deployments set desired = 'deleted', phase = 'stopping', deleted_at = $2, updated_at = $2, next_at = $2,
       reason = $3 where id = $1 and desired <> 'deleted' returning id`,
    [id, at, json({ code: 'stopping', message: 'It is being torn down.', since: at.toISOString() })],
  )
  return rows.length > 0
}

/** Billing ends when removal is asked: open intervals of all replicas close here. */
export async function endReplicas(tx: Tx, deploymentId: string, at: Date): Promise<void> {
  await tx.query(`update replicas set ended_at = $2 where deployment_id = $1 and ended_at is null`, [deploymentId, at])
}

export async function revisionsOf(db: Db, deploymentId: string): Promise<RevisionRow[]> {
  const rows = await db.query<RevisionRow>(
    'select id, deployment_id, number, spec from revisions where deployment_id = $1 order by number desc limit 20',
    [deploymentId],
  )
  return rows
}

const replicaColumns = `id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region, emulated,
  price_micro_usd_per_unit_hour, address, port, start_phases, created_at, started_at, ready_at, drain_at, drain_version,
  ended_at, gone_at, unhealthy_since, exit`

export async function liveReplicasOf(db: Db, deploymentId: string): Promise<ReplicaRow[]> {
  const rows = await db.query<ReplicaRow>(
    `select ${replicaColumns} from replicas where deployment_id = $1 and phase <> 'gone' order by created_at, id`,
    [deploymentId],
  )
  return rows
}

/** All there ever were, newest first, at most `limit`. */
export async function replicasOf(db: Db, deploymentIds: readonly string[], limit: number): Promise<ReplicaRow[]> {
  const rows = await db.query<ReplicaRow>(
    `select ${replicaColumns} from replicas where deployment_id = any($1) order by created_at desc, id desc limit $2`,
    [deploymentIds, limit],
  )
  return rows
}

export interface CostRow {
  deployment_id: string
  price: string
  units: number
  from_ms: string
  to_ms: string | null
}

/** Serving intervals of the replicas of these deployments. */
export async function servingIntervals(db: Db, deploymentIds: readonly string[]): Promise<CostRow[]> {
  const rows = await db.query<CostRow>(
    `select deployment_id, price_micro_usd_per_unit_hour as price, gpu_count as units,
       (extract(epoch from ready_at) * 1000)::bigint as from_ms, (extract(epoch from ended_at) * 1000)::bigint as to_ms
     from replicas where deployment_id = any($1) and ready_at is not null`,
    [deploymentIds],
  )
  return rows
}

export async function insertReplica(
  tx: Tx,
  row: Pick<ReplicaRow, 'id' | 'deployment_id' | 'revision_id' | 'org_id'>,
  placement: Placement,
  price: bigint,
  at: Date,
): Promise<void> {
  await tx.query(
    `insert into replicas (id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region, emulated,
                           price_micro_usd_per_unit_hour, start_phases, created_at)
     values ($1, $2, $3, $4, 'planned', $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      row.id,
      row.deployment_id,
      row.revision_id,
      row.org_id,
      placement.provider,
      placement.gpuType,
      placement.gpuCount,
      placement.region,
      placement.emulated,
      price.toString(),
      json({ hardware: at.getTime() }),
      at,
    ],
  )
}

const patchColumns: Record<keyof ReplicaPatch, { column: string; value: (value: never) => unknown }> = {
  phase: { column: 'phase', value: (v) => v },
  startedAt: { column: 'started_at', value: date },
  readyAt: { column: 'ready_at', value: date },
  drainAt: { column: 'drain_at', value: date },
  endedAt: { column: 'ended_at', value: date },
  goneAt: { column: 'gone_at', value: date },
  unhealthySince: { column: 'unhealthy_since', value: date },
  startPhases: { column: 'start_phases', value: json },
  exit: { column: 'exit', value: json },
  address: { column: 'address', value: (v) => v },
  port: { column: 'port', value: (v) => v },
}

/** Writes what a plan changed. An interval that was closed stays closed: the first end is the true one. */
export async function patchReplica(tx: Tx, id: string, patch: ReplicaPatch): Promise<void> {
  const sets: string[] = []
  const values: unknown[] = [id]
  for (const [key, value] of Object.entries(patch)) {
    const { column, value: convert } = patchColumns[key as keyof ReplicaPatch]
    values.push(convert(value as never))
    sets.push(
      column === 'ended_at'
        ? `ended_at = least(ended_at, $${values.length}::timestamptz)`
        : `${column} = $${values.length}`,
    )
  }
  await tx.query(`update replicas set ${sets.join(', ')} where id = $1`, values)
}

/** The provider acknowledged the create. */
export async function markStarted(tx: Tx, id: string, at: Date): Promise<void> {
  await tx.query(`update replicas set phase = 'starting', started_at = $2 where id = $1 and phase = 'planned'`, [
    id,
    at,
  ])
}

export async function markDrainVersion(tx: Tx, id: string, version: number): Promise<void> {
  await tx.query('update replicas set drain_version = $2 where id = $1', [id, version])
}

export async function saveVerdict(
  tx: Tx,
  id: string,
  verdict: { phase: Phase; reason: Reason | null; readyReplicas: number; starts: Starts; why: string[] },
  at: Date,
): Promise<void> {
  await tx.query(
    `update deployments set phase = $2, reason = $3, ready_replicas = $4, starts = $5, plan_why = $6, updated_at = $7 where id = $1`,
    [id, verdict.phase, json(verdict.reason), verdict.readyReplicas, json(verdict.starts), json(verdict.why), at],
  )
}

export async function routeOf(db: Db, deploymentId: string): Promise<Route | null> {
  const rows = await db.query<{ document: Route; version: string }>(
    'select document, version from routes where deployment_id = $1',
    [deploymentId],
  )
  const row = rows[0]
  return row ? { ...row.document, version: Number(row.version) } : null
}

/** Publishes a changed route; returns the version that carries it. */
export async function publishRoute(tx: Tx, route: Route): Promise<number> {
  const version = await nextVersion(tx, 'routes')
  await tx.query(
    `insert into routes (deployment_id, org_id, document, version) values ($1, $2, $3, $4)
     on conflict (deployment_id) do update set document = $3, version = $4`,
    [route.deploymentId, route.orgId, json(route), version],
  )
  await notify(tx)
  return version
}

/** What a route table must learn after `version`, oldest first. */
export async function routesSince(db: Db, version: number, limit = 5_000): Promise<Route[]> {
  const rows = await db.query<{ document: Route; version: string }>(
    'select document, version from routes where version > $1 order by version limit $2',
    [version, limit],
  )
  return rows.map((row) => ({ ...row.document, version: Number(row.version) }))
}

/** Something freed: whoever waits for hardware looks again, in the order of waiting. */
export async function wakeQueued(tx: Tx, at: Date): Promise<void> {
  await tx.query(
    `update deployments set next_at = least(next_at, $1) where phase = 'queued' or reason->>'code' = 'capacity_short'`,
    [at],
  )
}

/** Which of these replica ids have a row that is not gone. */
export async function ownedReplicas(db: Db, ids: readonly string[]): Promise<Set<string>> {
  const rows = await db.query<{ id: string }>(`select id from replicas where id = any($1) and phase <> 'gone'`, [ids])
  return new Set(rows.map((row) => row.id))
}

function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value)
}

function date(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms)
}

/** A start that was refused before anything ran. */
export async function countFailedStart(tx: Tx, id: string, failure: { at: number; why: string }): Promise<void> {
  await tx.query(
    `update deployments set starts = jsonb_build_object('failed', (starts->>'failed')::int + 1, 'lastAt', $2::bigint,
       'why', $3::text, 'lastLines', '[]'::jsonb) where id = $1`,
    [id, failure.at, failure.why],
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
