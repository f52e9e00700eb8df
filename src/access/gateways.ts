/**
 * The gateways that are alive, what they have applied and what they have in flight: the register behind "answers after
 * every gateway knows" and behind the drain handshake.
 */
import type { Clock } from '../runtime/clock.ts'
import type { Database, Tx } from '../store/database.ts'

/** A gateway that was not seen for this long is not waited for when something is announced. */
const silentAfterMs = 3_000

export interface GatewayReport {
  id: string
  keyringVersion: number
  routesVersion: number
  /** Requests in flight by replica id; absent = 0. */
  inFlight: Record<string, number>
  /** Deployment id → what is asked of it; its shape is that of usage/demand.ts. */
  demand: Record<string, unknown>
  /** Deployment id → requests that wait for their turn under its limits. */
  queued?: Record<string, number>
  /** How its journal is. */
  journal?: object
  /** How its process is; its shape is that of runtime/process-health.ts. */
  process?: object
}

export async function report(db: Database, gateway: GatewayReport, now: number): Promise<void> {
  await db.query(
    `insert into gateways (id, started_at, seen_at, keyring_version, routes_version, in_flight, demand, journal, process, queued)
     values ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict (id) do update set
       seen_at = $2, keyring_version = $3, routes_version = $4, in_flight = $5, demand = $6, journal = $7, process = $8, queued = $9`,
    [
      gateway.id,
      new Date(now),
      gateway.keyringVersion,
      gateway.routesVersion,
      JSON.stringify(gateway.inFlight),
      JSON.stringify(gateway.demand),
      JSON.stringify(gateway.journal ?? {}),
      JSON.stringify(gateway.process ?? {}),
      JSON.stringify(gateway.queued ?? {}),
    ],
  )
}

/**
 * A gateway that ends cleanly takes itself off the register, so that nobody waits for it: unless one of the same id has
 * reported after `lastReportAt` (ms since epoch), which then is its successor.
 */
export async function unregister(db: Database, id: string, lastReportAt: number): Promise<void> {
  await db.query('delete from gateways where id = $1 and seen_at <= $2', [id, new Date(lastReportAt)])
}

/**
 * Takes workers off the register that are numbered `workers` or higher and were not seen since `before` (ms since epoch):
 * after a start with fewer of them nobody reports for those. `first`: id of the first, which the others' ids begin with.
 */
export async function unregisterFormer(db: Database, first: string, workers: number, before: number): Promise<void> {
  await db.query(
    `delete from gateways where seen_at < $3 and id ~ ('^' || $1 || '_[0-9]{1,9}$')
       and case when id ~ '_[0-9]{1,9}$' then substring(id from '[0-9]+$')::int >= $2 end`,
    [first, workers, new Date(before)],
  )
}

/** Waits until every live gateway has applied `version`; false when one has not within `deadlineMs`. */
export async function propagated(
  db: Database,
  clock: Clock,
  table: 'keyring' | 'routes',
  version: number,
  deadlineMs = 1_000,
): Promise<boolean> {
  const column = table === 'keyring' ? 'keyring_version' : 'routes_version'
  const deadline = clock.monotonicMs() + deadlineMs
  for (;;) {
    const rows = await db.query<{ behind: string }>(
      `select count(*) as behind from gateways where seen_at > $1 and ${column} < $2`,
      [new Date(clock.now() - silentAfterMs), version],
    )
    if (Number(rows[0]?.behind ?? 0) === 0) return true
    if (clock.monotonicMs() >= deadline) return false
    await clock.sleep(10)
  }
}

export interface DrainRow {
  routesVersion: number
  inFlight: Record<string, number>
  seenAt: Date
}

/** Every registered gateway, the silent ones too: whoever may still hold a connection counts. */
export async function registered(db: Database | Tx): Promise<DrainRow[]> {
  const rows = await db.query<{ routes_version: string; in_flight: Record<string, number>; seen_at: Date }>(
    'select routes_version, in_flight, seen_at from gateways',
  )
  return rows.map((r) => ({ routesVersion: Number(r.routes_version), inFlight: r.in_flight, seenAt: r.seen_at }))
}

/**
 * The drain handshake (pure): true when every registered gateway has applied the version that drains the replica and
 * has freshly reported nothing in flight on it. A gateway that does not report blocks: silence is no evidence.
 */
export function isDrained(
  gateways: readonly DrainRow[],
  replicaId: string,
  sinceVersion: number,
  now: number,
): boolean {
  return gateways.every(
    (gateway) =>
      gateway.routesVersion >= sinceVersion &&
      now - gateway.seenAt.getTime() <= silentAfterMs &&
      (gateway.inFlight[replicaId] ?? 0) === 0,
  )
}

/** Those that have reported of late; `complete`: all of them have. Silence is no evidence, nor is an empty register. */
export function heard<R extends Pick<DrainRow, 'seenAt'>>(
  gateways: readonly R[],
  now: number,
): { complete: boolean; fresh: R[] } {
  const fresh = gateways.filter(({ seenAt }) => now - seenAt.getTime() <= silentAfterMs)
  return { complete: gateways.length > 0 && fresh.length === gateways.length, fresh }
}

/** What the gateways say is asked and in flight. */
export async function demandReports(
  db: Database | Tx,
  now: number,
): Promise<{
  complete: boolean
  gateways: { id: string; demand: Record<string, unknown>; inFlight: Record<string, number> }[]
}> {
  const rows = await db.query<{
    id: string
    seenAt: Date
    demand: Record<string, unknown>
    inFlight: Record<string, number>
  }>('select id, seen_at as "seenAt", demand, in_flight as "inFlight" from gateways')
  const { complete, fresh } = heard(rows, now)
  return { complete, gateways: fresh }
}

/** How the journals of the gateways that are heard of are; their shape is that of the gateway's metering. */
export async function journalReports(
  db: Database,
  now: number,
): Promise<{ id: string; journal: Record<string, unknown> }[]> {
  return db.query('select id, journal from gateways where seen_at > $1 order by id', [new Date(now - silentAfterMs)])
}

/** How the processes of the gateways that are heard of are, and who waits there under limits. */
export async function processReports(
  db: Database,
  now: number,
): Promise<{ id: string; process: Record<string, unknown>; queued: Record<string, number> }[]> {
  return db.query('select id, process, queued from gateways where seen_at > $1 order by id', [
    new Date(now - silentAfterMs),
  ])
}

/** Requests of one deployment that are with these replicas now, and that wait for one. */
export interface AskedNow {
  /** Gateways that have reported of late, and those that have not. */
  heard: number
  silent: number
  /** As far as is heard. */
  inFlight: number
  held: number
  queued: number
}

export async function askedNow(
  db: Database,
  deploymentId: string,
  replicaIds: readonly string[],
  now: number,
): Promise<AskedNow> {
  const [row] = await db.query<AskedNow>(
    `select count(*) filter (where fresh) as heard, count(*) filter (where not fresh) as silent,
       coalesce(sum(own.requests) filter (where fresh), 0)::integer as "inFlight",
       coalesce(sum((demand -> $1 ->> 'held')::integer) filter (where fresh), 0)::integer as held,
       coalesce(sum((queued ->> $1)::integer) filter (where fresh), 0)::integer as queued
     from (select *, seen_at > $3 as fresh from gateways) as gateways
     cross join lateral (
       select sum(value::integer) as requests from jsonb_each_text(in_flight) where key = any($2)
     ) as own`,
    [deploymentId, replicaIds, new Date(now - silentAfterMs)],
  )
  return row!
}
