/** The SQL of replicas: one function per statement. */
import type { Exit, Placement } from '../compute/contract.ts'
import type { StartMoments } from '../engines/contract.ts'
import type { Database, Tx } from '../store/database.ts'
import type { HeldUnits } from './place.ts'
import type { Claim } from './queue.ts'
import type { ReplicaPatch, ReplicaPhase } from './replica.ts'

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
  start_phases: StartMoments
  start_progress: { at: number; detail: string } | null
  created_at: Date
  started_at: Date | null
  ready_at: Date | null
  drain_at: Date | null
  drain_version: string | null
  ended_at: Date | null
  gone_at: Date | null
  unhealthy_since: Date | null
  seen_at: Date | null
  after_replica: string | null
  claim: Claim | null
  exit: Exit | null
}

type Db = Database | Tx

/** Units held by replicas that are not gone, by hardware: a sum that is kept (0013_held.sql). */
export async function heldUnits(db: Db): Promise<HeldUnits[]> {
  return db.query<HeldUnits>('select provider, gpu_type as "gpuType", region, units from hardware_held')
}

/**
 * The same for these places, under their locks until the transaction ends: nobody else takes or frees any of it. Locked
 * in one order, whoever asks.
 */
export async function lockHeld(
  tx: Tx,
  places: readonly Pick<Placement, 'provider' | 'gpuType' | 'region'>[],
): Promise<HeldUnits[]> {
  return tx.query<HeldUnits>(
    `insert into hardware_held as held (provider, gpu_type, region, units)
     select distinct provider, gpu_type, region, 0 from unnest($1::text[], $2::text[], $3::text[])
       as place (provider, gpu_type, region) order by 1, 2, 3
     on conflict (provider, gpu_type, region) do update set units = held.units
     returning provider, gpu_type as "gpuType", region, units`,
    [places.map((p) => p.provider), places.map((p) => p.gpuType), places.map((p) => p.region)],
  )
}

/** Billing ends when removal is asked: open intervals of all replicas close here. */
export async function endReplicas(tx: Tx, deploymentId: string, at: Date): Promise<void> {
  await tx.query(`update replicas set ended_at = $2 where deployment_id = $1 and ended_at is null`, [deploymentId, at])
}

const replicaColumns = `id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region, emulated,
  price_micro_usd_per_unit_hour, address, port, start_phases, start_progress, created_at, started_at, ready_at, drain_at, drain_version,
  ended_at, gone_at, unhealthy_since, seen_at, after_replica, claim, exit`

export async function liveReplicasOf(db: Db, deploymentId: string): Promise<ReplicaRow[]> {
  const rows = await db.query<ReplicaRow>(
    `select ${replicaColumns} from replicas where deployment_id = $1 and phase <> 'gone' order by created_at, id`,
    [deploymentId],
  )
  return rows
}

/** The same of many, each deployment's oldest first. */
export async function liveReplicasOfMany(db: Db, deploymentIds: readonly string[]): Promise<ReplicaRow[]> {
  const rows = await db.query<ReplicaRow>(
    `select ${replicaColumns} from replicas where deployment_id = any($1) and phase <> 'gone' order by created_at, id`,
    [deploymentIds],
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
       (extract(epoch from ready_at) * 1000)::bigint as from_ms,
       -- when it answers again the silence counts, else it ended where that began
       (extract(epoch from coalesce(ended_at, unhealthy_since)) * 1000)::bigint as to_ms
     from replicas where deployment_id = any($1) and ready_at is not null`,
    [deploymentIds],
  )
  return rows
}

export interface StayingRow {
  deployment_id: string
  gpu_type: string
  gpu_count: number
  region: string
  emulated: boolean
  /** Per unit-hour. */
  price: string
}

/** Replicas that serve or are to, of these deployments; those of the newest revision first. */
export async function stayingReplicas(db: Db, deploymentIds: readonly string[]): Promise<StayingRow[]> {
  return db.query<StayingRow>(
    `select deployment_id, gpu_type, gpu_count, region, emulated, price_micro_usd_per_unit_hour as price
     from replicas where deployment_id = any($1) and phase in ('planned', 'starting', 'ready')
     order by revision_id desc, created_at, id`,
    [deploymentIds],
  )
}

export async function insertReplica(
  tx: Tx,
  row: Pick<ReplicaRow, 'id' | 'deployment_id' | 'revision_id' | 'org_id' | 'after_replica' | 'claim'>,
  placement: Placement,
  price: bigint,
  at: Date,
): Promise<void> {
  await tx.query(
    `insert into replicas (id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region, emulated,
                           price_micro_usd_per_unit_hour, start_phases, created_at, after_replica, claim)
     values ($1, $2, $3, $4, 'planned', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
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
      row.after_replica,
      row.claim === null ? null : json(row.claim),
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
  progress: { column: 'start_progress', value: json },
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
    // A drain that is called off is forgotten by the handshake too.
    if (column === 'drain_at' && value === null) sets.push('drain_version = null')
    sets.push(
      column === 'ended_at'
        ? `ended_at = least(ended_at, $${values.length}::timestamptz)`
        : `${column} = $${values.length}`,
    )
  }
  await tx.query(`update replicas set ${sets.join(', ')} where id = $1`, values)
}

/** How long the latest replica of this model took to start: of this deployment, else of its org; null = none did. */
export async function lastStartMs(
  tx: Tx,
  { id, org_id }: { id: string; org_id: string },
  modelId: string,
): Promise<number | null> {
  const latest = (which: string) =>
    tx.query<{ ms: string }>(
      `select extract(epoch from replicas.ready_at) * 1000
         - coalesce((replicas.start_phases->>'hardware')::bigint, extract(epoch from replicas.created_at) * 1000) as ms
       from replicas join revisions on revisions.id = replicas.revision_id
       where replicas.deployment_id in (${which}) and replicas.ready_at is not null and revisions.spec->>'modelId' = $2
       order by replicas.ready_at desc limit 1`,
      [which === own ? id : org_id, modelId],
    )
  const own = '$1'
  // A few of them: each may have had many replicas.
  const others = `select deployments.id from deployments
    where deployments.org_id = $1 and deployments.spec->>'modelId' = $2 order by created_at desc limit 20`
  const [found] = [...(await latest(own)), ...(await latest(others))]
  return found === undefined ? null : Number(found.ms)
}

/** These replicas run as the revision has it: they are its own from now on. */
export async function adoptReplicas(tx: Tx, ids: readonly string[], revisionId: string): Promise<void> {
  await tx.query('update replicas set revision_id = $2 where id = any($1)', [ids, revisionId])
}

/** The provider acknowledged the create. The start of one that waited for its place began when it was `asked`. */
export async function markStarted(tx: Tx, id: string, at: Date, asked: Date): Promise<void> {
  await tx.query(
    `update replicas set phase = 'starting', started_at = $2, claim = null, start_phases = case when after_replica is null
       then start_phases else start_phases || jsonb_build_object('hardware', $3::bigint) end
     where id = $1 and phase = 'planned'`,
    [id, at, asked.getTime()],
  )
}

/** When these were last seen to run. Whoever holds a row is not waited for: there is a next time. */
export async function saveSightings(db: Db, sightings: readonly { id: string; at: number }[]): Promise<void> {
  await db.run(
    `update replicas set seen_at = said.at from unnest($1::text[], $2::timestamptz[]) as said (id, at)
     where replicas.id = said.id and replicas.id in
       (select id from replicas where id = any($1) and phase in ('ready', 'draining') for update skip locked)`,
    [sightings.map(({ id }) => id), sightings.map(({ at }) => new Date(at))],
  )
}

export async function markDrainVersion(tx: Tx, id: string, version: number): Promise<void> {
  await tx.query('update replicas set drain_version = $2 where id = $1', [id, version])
}

/** Which of these replica ids have a row that is not gone. */
export async function ownedReplicas(db: Db, ids: readonly string[]): Promise<Set<string>> {
  const rows = await db.query<{ id: string }>(`select id from replicas where id = any($1) and phase <> 'gone'`, [ids])
  return new Set(rows.map((row) => row.id))
}

export function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value)
}

function date(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms)
}
