/** Samples in the database: written by gateways, read by window, put together by the minute. */
import { type Database, json, type Tx } from '../../store/database.ts'
import type { Entry } from './counts.ts'
import type { SampleLine } from './sample.ts'

/** What one source measured between two moments, at most `entriesMaximum` entries of it. */
export interface Batch {
  source: string
  /** Ascending within the source: a batch is one line of its history, written once however often it is sent. */
  seq: number
  /** Ms since epoch. */
  beganAt: number
  at: number
  entries: readonly Entry[]
}

export interface StoredSample extends Entry {
  source: string
  seq: number
  beganAt: Date
  at: Date
}

/** The source of lines that stand for several, a minute each. */
export const minuteSource = 'minute'

const columns = `source, seq, deployment_id as "deploymentId", operation, began_at as "beganAt", at, sample`
const insert = `
insert into metric_samples (source, seq, began_at, at, deployment_id, operation, sample)
select $1, $2, $3, $4, entry."deploymentId", entry.operation, entry.sample
from jsonb_to_recordset($5::jsonb) as entry("deploymentId" text, operation text, sample jsonb)
on conflict (source, seq, deployment_id, operation)`

const values = ({ source, seq, beganAt, at, entries }: Batch) => [
  source,
  seq,
  new Date(beganAt),
  new Date(at),
  json(entries),
]

/** A batch that is there already changes nothing. */
export async function saveBatch(db: Database | Tx, batch: Batch): Promise<void> {
  await db.run(`${insert} do nothing`, values(batch))
}

/** Takes the place of what is there. */
export async function replaceBatch(tx: Tx, batch: Batch): Promise<void> {
  await tx.run(`${insert} do update set began_at = $3, at = $4, sample = excluded.sample`, values(batch))
}

/** Of one deployment, from the moment on; without lines that reach further back than the window is long. */
export async function samplesSince(
  db: Database | Tx,
  deploymentId: string,
  since: number,
  windowMs: number,
): Promise<SampleLine[]> {
  const rows = await db.query<{ sample: SampleLine }>(
    `select sample from metric_samples
     where deployment_id = $1 and at > $2 and at - began_at <= make_interval(secs => $3)`,
    [deploymentId, new Date(since), windowMs / 1000],
  )
  return rows.map(({ sample }) => sample)
}

/** Every source there is, found by skipping from one to the next. */
const sources = `
with recursive sources (source) as (
  (select min(source) from metric_samples)
  union all
  select (select min(next.source) from metric_samples next where next.source > sources.source)
  from sources where sources.source is not null
)`

/** What each source has come to. */
export async function lastSeqs(db: Database | Tx): Promise<{ source: string; seq: number }[]> {
  return db.query(
    `${sources}
     select source, (select max(seq) from metric_samples m where m.source = sources.source) as seq
     from sources where source is not null and source <> $1`,
    [minuteSource],
  )
}

/** Lines of gateways that came after those of `seen` (source → seq), each source's in its order. */
export async function samplesAfter(db: Database | Tx, seen: ReadonlyMap<string, number>): Promise<StoredSample[]> {
  return db.query(
    `${sources}
     select ${columns} from sources join metric_samples using (source)
     where source <> $1 and seq > coalesce(($2::jsonb ->> source)::bigint, 0)
     order by source, seq`,
    [minuteSource, json(Object.fromEntries(seen))],
  )
}

/** Takes lines of gateways from before that moment out of the table, at most so many. */
export async function takeBefore(tx: Tx, before: number, limit: number): Promise<StoredSample[]> {
  return tx.query(
    `delete from metric_samples where (source, seq, deployment_id, operation) in (
       select source, seq, deployment_id, operation from metric_samples
       where at < $1 and source <> $2 order by at limit $3 for update skip locked)
     returning ${columns}`,
    [new Date(before), minuteSource, limit],
  )
}

/** Lines that stand for these minutes already. */
export async function minutesOf(tx: Tx, minutes: readonly number[]): Promise<StoredSample[]> {
  return tx.query(`select ${columns} from metric_samples where source = $1 and seq = any($2)`, [minuteSource, minutes])
}

export async function forgetBefore(db: Database | Tx, before: number): Promise<void> {
  await db.run('delete from metric_samples where at < $1', [new Date(before)])
}

/** Only one of several at a time: two of them would each write the same minute without the other's part. */
export async function lockMinutes(tx: Tx): Promise<void> {
  await tx.run(`select pg_advisory_xact_lock(hashtext('paddock metric minutes'))`)
}
