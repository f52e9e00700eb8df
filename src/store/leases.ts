/**
 * The loop protocol, in one place: claim rows that are due, work on them outside any transaction, write the result only
 * if the claim still holds, and never lose a wish to be looked at.
 *
 * A row is due when `next_at` has come and nobody holds it, or when its holder's time is over (the holder died). A claim
 * takes `next_at` away if it has come; whoever wants another look meanwhile writes it again (`wake`), and the holder's
 * release keeps the earlier of both. So after every wake a claim begins, and what it loads includes what the waker wrote.
 * Wakes carry no data: a look that comes earlier than a wake asked for stands for it, and whoever decides computes the
 * next time from the state. The token fences: a holder that was too slow finds another token and writes nothing.
 */
import { randomToken } from '../runtime/ids.ts'
import type { Querier, Tx } from './querier.ts'

/** Tables that have `lease_token`, `lease_until` and `next_at`. */
export type LeasedTable = 'deployments'

export interface Lease {
  table: LeasedTable
  id: string
  /** Proof of the claim; a later claim of the same row has another. */
  token: string
}

export interface ClaimOptions {
  table: LeasedTable
  /** Who claims, for people who look into the database. */
  owner: string
  /** ms since epoch. */
  now: number
  leaseMs: number
  /** Rows at most. */
  limit: number
}

export interface Claimed {
  leases: Lease[]
  /** When the next of those that were not claimed is due, which may be now; null = only when woken. */
  nextAt: number | null
}

/** Claims due rows, in this order: those with a dead holder, then by due time, the older row first. Rows that others are claiming are passed over. */
export async function claimDue(db: Querier, { table, owner, now, leaseMs, limit }: ClaimOptions): Promise<Claimed> {
  const token = `${owner}.${randomToken(12)}`
  const rows = await db.query<{ id: string | null; heldUntil: Date | null; dueAt: Date | null; nextAt: Date | null }>(
    `with held as materialized (
       select id, lease_until, next_at from ${table} where lease_until <= $1
       order by lease_until, next_at, id limit $2 for update skip locked
     ), free as materialized (
       select id, lease_until, next_at from ${table} where lease_until is null and next_at <= $1
       order by next_at, id limit greatest(0, $2 - (select count(*) from held)) for update skip locked
     ), due as materialized (
       select * from held union all select * from free
     ), claimed as (
       update ${table} as claimed
       set lease_token = $3, lease_until = $4, next_at = case when claimed.next_at > $1 then claimed.next_at end
       where claimed.id = any(array(select id from due)) returning claimed.id
     ), later as (
       select next_at as "nextAt" from ${table}
       where lease_until is null and next_at is not null and id not in (select id from due)
       order by next_at, id limit 1
     )
     select due.id, due.lease_until as "heldUntil", due.next_at as "dueAt", (select "nextAt" from later)
     from (values (1)) as one left join (due join claimed on claimed.id = due.id) on true`,
    [new Date(now), limit, token, new Date(now + leaseMs)],
  )
  const time = (at: Date | null) => at?.getTime() ?? Number.POSITIVE_INFINITY
  const sooner = (a: number, b: number) => (a === b ? 0 : a - b)
  const nextAt = rows[0]?.nextAt?.getTime() ?? null
  const claimed = rows.flatMap((row) => (row.id === null ? [] : [{ ...row, id: row.id }]))
  claimed.sort(
    (a, b) =>
      sooner(time(a.heldUntil), time(b.heldUntil)) || sooner(time(a.dueAt), time(b.dueAt)) || (a.id < b.id ? -1 : 1),
  )
  return { leases: claimed.map(({ id }) => ({ table, id, token })), nextAt }
}

export async function claim(db: Querier, options: ClaimOptions): Promise<Lease[]> {
  return (await claimDue(db, options)).leases
}

/** Gives a holder more time for a long action. False when the claim no longer holds: stop working on it. */
export async function renew(db: Querier, lease: Lease, now: number, leaseMs: number): Promise<boolean> {
  const changed = await db.run(`update ${lease.table} set lease_until = $3 where id = $1 and lease_token = $2`, [
    lease.id,
    lease.token,
    new Date(now + leaseMs),
  ])
  return changed === 1
}

/**
 * Keeps the claim as it is until the transaction ends. Gives what tells whether anybody has written the row since it was
 * read (its `xmin::text`); null = the claim does not hold.
 */
export async function lockLease(tx: Tx, lease: Lease): Promise<string | null> {
  const [row] = await tx.query<{ written: string }>(
    `select xmin::text as written from ${lease.table} where id = $1 and lease_token = $2 for update`,
    [lease.id, lease.token],
  )
  return row?.written ?? null
}

/**
 * Runs `fn` if the claim still holds, and keeps it so until the transaction ends. False = it does not, and `fn` did not
 * run.
 */
export async function withLease(tx: Tx, lease: Lease, fn: () => Promise<void>): Promise<boolean> {
  if ((await lockLease(tx, lease)) === null) return false
  await fn()
  return true
}

/**
 * Ends the claim. `nextAt` (ms since epoch) is when to look again by itself; null = only when woken. A wake that came
 * meanwhile counts if it is earlier. False = the claim no longer held, and nothing was changed.
 */
export async function release(db: Querier, lease: Lease, nextAt: number | null): Promise<boolean> {
  const changed = await db.run(
    `update ${lease.table} set lease_token = null, lease_until = null, next_at = least(next_at, $3)
     where id = $1 and lease_token = $2`,
    [lease.id, lease.token, nextAt === null ? null : new Date(nextAt)],
  )
  return changed === 1
}

/**
 * The same for claims of one table, each with its own `nextAt`. Whoever changes many rows locks them by id, and does it
 * in a transaction (which is repeated): others hold one row and want more.
 */
export async function releaseMany(
  db: Querier,
  ends: readonly { lease: Lease; nextAt: number | null }[],
): Promise<void> {
  const [first] = ends
  if (first === undefined) return
  await db.run(
    `with ended as materialized (
       select held.id, said.next_at
       from unnest($1::text[], $2::text[], $3::timestamptz[]) as said (id, token, next_at)
       join ${first.lease.table} as held on held.id = said.id and held.lease_token = said.token
       where held.id = any($1)
       order by held.id for update of held
     )
     update ${first.lease.table} as held
     set lease_token = null, lease_until = null, next_at = least(held.next_at, ended.next_at)
     from ended where held.id = ended.id and held.id = any($1)`,
    [
      ends.map(({ lease }) => lease.id),
      ends.map(({ lease }) => lease.token),
      ends.map(({ nextAt }) => (nextAt === null ? null : new Date(nextAt))),
    ],
  )
}

/** Asks for a look at `at` (ms since epoch) or sooner; also while somebody holds the row. */
export async function wake(db: Querier, table: LeasedTable, id: string, at: number): Promise<void> {
  await db.run(`update ${table} set next_at = least(next_at, $2) where id = $1`, [id, new Date(at)])
}

/** The same for many rows. */
export async function wakeMany(db: Querier, table: LeasedTable, ids: readonly string[], at: number): Promise<void> {
  await db.run(
    `with woken as materialized (select id from ${table} where id = any($1) order by id for update)
     update ${table} as one set next_at = least(next_at, $2) from woken where one.id = woken.id and one.id = any($1)`,
    [ids, new Date(at)],
  )
}
