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
export async function record<T extends EventType>(tx: Tx, event: NewEvent<T>): Promise<void> {
  const wrong = checked ? problemsOf(event.type, JSON.parse(JSON.stringify(event.data))) : ''
  if (wrong !== '') throw new Error(`The event ${event.type} is not as the catalogue says: ${wrong}`)
  await tx.query('insert into events (id, org_id, deployment_id, type, data, at) values ($1, $2, $3, $4, $5, $6)', [
    newId('evt'),
    event.orgId,
    event.deploymentId,
    event.type,
    JSON.stringify(event.data),
    event.at,
  ])
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
