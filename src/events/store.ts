import { newId } from '../runtime/ids.ts'
import type { Database, Tx } from '../store/database.ts'
import { type EventData, type EventType, problemsOf, type StoredEvent } from './catalogue.ts'

export interface NewEvent<T extends EventType = EventType> {
  orgId: string
  deploymentId: string | null
  type: T
  data: EventData[T]
  at: Date
}

let checked = false

/** From now on an event whose data is not as the catalogue says fails its transaction. For tests: types say it at build. */
export function checkEventsAtWrite(): void {
  checked = true
}

/** Appends one event in the caller's transaction: it exists exactly when what it tells exists. */
export function record<T extends EventType>(tx: Tx, event: NewEvent<T>): Promise<void> {
  return recordMany(tx, [event as NewEvent])
}

/** The same for several, in this order. */
export async function recordMany(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return
  for (const { type, data } of events) {
    const wrong = checked ? problemsOf(type, JSON.parse(JSON.stringify(data))) : ''
    if (wrong !== '') throw new Error(`The event ${type} is not as the catalogue says: ${wrong}`)
  }
  await tx.query(
    `insert into events (id, org_id, deployment_id, type, data, at)
     select id, org_id, deployment_id, type, data::jsonb, at
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
       as told (id, org_id, deployment_id, type, data, at, place) order by place`,
    [
      events.map(() => newId('evt')),
      events.map(({ orgId }) => orgId),
      events.map(({ deploymentId }) => deploymentId),
      events.map(({ type }) => type),
      events.map(({ data }) => JSON.stringify(data)),
      events.map(({ at }) => at),
    ],
  )
}

export interface EventFilter {
  type?: string
  /** From this moment on. */
  since?: Date
  /** Before this moment. */
  until?: Date
}

/** Events of a deployment before `beforeSeq` (newest first), at most `limit`. */
export async function eventsOf(
  db: Database | Tx,
  deploymentId: string,
  beforeSeq: number | null,
  limit: number,
  filter: EventFilter = {},
): Promise<StoredEvent[]> {
  const rows = await db.query<StoredEvent>(
    `select seq, id, type, at, data from events
     where deployment_id = $1 and ($2::bigint is null or seq < $2) and ($4::text is null or type = $4)
       and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
     order by seq desc limit $3`,
    [deploymentId, beforeSeq, limit, filter.type ?? null, filter.since ?? null, filter.until ?? null],
  )
  return rows.map((row) => ({ ...row, seq: Number(row.seq) }))
}
