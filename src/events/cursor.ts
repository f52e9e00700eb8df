/**
 * Reading the log to its end, again and again, without missing an event: for whoever derives something from it (bills,
 * webhooks, audit). Events are ordered by the transaction that wrote them, and only those are given below which no
 * transaction runs any more: what a reader has passed stays passed. The price: an event is seen once every transaction
 * that began to write before it was over has ended, in this whole Postgres.
 *
 * A reader under a name keeps its cursor in the database and moves it in the transaction in which it writes what follows
 * from the events: each event counts exactly once, through any death.
 */
import type { Database, Querier, Tx } from '../store/database.ts'
import type { StoredEvent } from './catalogue.ts'

/** Everything up to here, this included, was read. */
export interface EventPosition {
  /** Transaction, as Postgres numbers them; a decimal number. */
  xid: string
  seq: number
}

export const beforeAllEvents: EventPosition = { xid: '0', seq: 0 }

export interface ReadEvent extends StoredEvent {
  orgId: string
  deploymentId: string | null
  position: EventPosition
}

interface EventRow extends StoredEvent {
  org_id: string
  deployment_id: string | null
  xid: string
}

/** Events after `position`, in their final order, at most `limit`. */
export async function readEvents(db: Querier, after: EventPosition, limit: number): Promise<ReadEvent[]> {
  const rows = await db.query<EventRow>(
    `select seq, id, org_id, deployment_id, type, at, data, xid::text as xid from events
     where (xid, seq) > ($1::xid8, $2::bigint) and xid < pg_snapshot_xmin(pg_current_snapshot())
     order by events.xid, seq limit $3`,
    [after.xid, after.seq, limit],
  )
  return rows.map(({ org_id, deployment_id, xid, ...same }) => {
    return { ...same, orgId: org_id, deploymentId: deployment_id, position: { xid, seq: same.seq } }
  })
}

/** Where everything is read that has its final place by now: for a reader who cares for what comes. */
export async function endOfEvents(db: Querier): Promise<EventPosition> {
  // No event of a transaction that began later is below.
  const [row] = await db.query<{ xid: string }>('select (pg_snapshot_xmin(pg_current_snapshot()))::text as xid')
  return { xid: String(BigInt(row!.xid) - 1n), seq: Number.MAX_SAFE_INTEGER }
}

/** How far the reader of this name has come; null = it has not begun. */
export async function cursorOf(db: Querier, name: string): Promise<EventPosition | null> {
  const [row] = await db.query<EventPosition>('select xid::text as xid, seq from event_cursors where name = $1', [name])
  return row ?? null
}

export interface Following {
  /** Of the reader; one at a time reads under it, others wait. */
  name: string
  /** Events at most. */
  limit: number
  now: number
  /** Where a reader begins that has not been here before. */
  from: 'oldest' | 'newest'
}

/**
 * Gives the next events to `handle`, which writes what follows from them in the same transaction (it may run several
 * times), and moves the cursor. Returns how many there were: as many as the limit = there may be more.
 */
export async function followEvents(
  db: Database,
  { name, limit, now, from }: Following,
  handle: (tx: Tx, events: ReadEvent[]) => Promise<void>,
): Promise<number> {
  return db.tx(async (tx) => {
    const after = await lockCursor(tx, name, from, now)
    const events = await readEvents(tx, after, limit)
    const last = events.at(-1)
    if (last === undefined) return 0
    await handle(tx, events)
    await tx.query('update event_cursors set xid = $2::xid8, seq = $3, moved_at = $4 where name = $1', [
      name,
      last.position.xid,
      last.position.seq,
      new Date(now),
    ])
    return events.length
  })
}

async function lockCursor(tx: Tx, name: string, from: Following['from'], now: number): Promise<EventPosition> {
  const select = 'select xid::text as xid, seq from event_cursors where name = $1 for update'
  const [known] = await tx.query<EventPosition>(select, [name])
  if (known !== undefined) return known
  const first = from === 'oldest' ? beforeAllEvents : await endOfEvents(tx)
  await tx.query(
    `insert into event_cursors (name, xid, seq, moved_at) values ($1, $2::xid8, $3, $4)
     on conflict (name) do nothing`,
    [name, first.xid, first.seq, new Date(now)],
  )
  const [row] = await tx.query<EventPosition>(select, [name])
  return row!
}
