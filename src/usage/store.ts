/** The ledger of requests and its sums per minute. */
import { type Database, errorCode, type Tx } from '../store/database.ts'
import type { Day } from './days.ts'
import { columns } from './journal/record.ts'

const names = columns.map(([name]) => name)
const fields = columns.map(([name, type], at) =>
  type === 'ms' ? `to_timestamp((line->>${at})::bigint / 1000.0) as ${name}` : `(line->>${at})::${type} as ${name}`,
)
const keys = ['org_id', 'deployment_id', 'key_id', 'model', 'adapter']
const sums = ['prompt_tokens', 'cached_tokens', 'completion_tokens', 'reasoning_tokens']
const counts = ['requests', 'estimated', ...sums]

/**
 * One statement, so that a line is in the ledger and in its minute, or in neither. Minutes are taken in the same order
 * by everybody, so that gateways wait for each other and never in a circle.
 */
const recordStatement = `
with fresh as (
  insert into usage_requests (${names.join(', ')})
  select ${fields.join(', ')} from jsonb_array_elements($1::jsonb) as line
  on conflict (received_at, request_id) do nothing
  returning *
), counted as (
  insert into usage_minutes as known (minute, ${keys.join(', ')}, status, charged, ${counts.join(', ')})
  select date_trunc('minute', settled_at, 'UTC'), ${keys.map((name) => `coalesce(${name}, '')`).join(', ')}, status,
    bool_and(charged), count(*), count(*) filter (where estimated), ${sums.map((name) => `sum(${name})`).join(', ')}
  from fresh
  group by 1, 2, 3, 4, 5, 6, status
  order by 1, 2, 3, 4, 5, 6, status
  on conflict (deployment_id, minute, key_id, model, adapter, status, org_id)
  do update set ${counts.map((name) => `${name} = known.${name} + excluded.${name}`).join(', ')}
)
select count(*)::integer as fresh from fresh`

/** check_violation: the rows that have no other place would have to move. */
const requestsOfThatDay = '23514'

/** Takes lines of the journal, all or none; those that are known already change nothing. Gives how many were new. */
export async function recordLines(db: Database | Tx, lines: readonly string[]): Promise<number> {
  if (lines.length === 0) return 0
  const [row] = await db.query<{ fresh: number }>(recordStatement, [`[${lines.join(',')}]`])
  return row!.fresh
}

/** What an adapter, or a mixture, was asked for: every request that ended, whatever it ended as. */
export interface AdapterUsage {
  /** As the ledger has it: its name, those of a mixture with a plus between them. */
  adapter: string
  requests: number
  promptTokens: number
  cachedTokens: number
  completionTokens: number
}

/** Of one deployment in the minutes from `since` on, the one that it is in included; the most asked for first. */
export async function adapterUsage(db: Database, deploymentId: string, since: number): Promise<AdapterUsage[]> {
  return db.query<AdapterUsage>(
    `select adapter, sum(requests)::float8 as requests, sum(prompt_tokens)::float8 as "promptTokens",
       sum(cached_tokens)::float8 as "cachedTokens", sum(completion_tokens)::float8 as "completionTokens"
     from usage_minutes
     where deployment_id = $1 and minute >= date_trunc('minute', $2::timestamptz, 'UTC') and adapter <> ''
     group by adapter order by 2 desc, adapter limit 100`,
    [deploymentId, new Date(since)],
  )
}

/** True when the values themselves are wrong, so that the same lines will never be taken. */
export function isRefused(error: unknown): boolean {
  return /^(22|23)...$/.test(errorCode(error) ?? '')
}

export async function partitions(db: Database): Promise<string[]> {
  const rows = await db.query<{ name: string }>(
    `select relid::regclass::text as name from pg_partition_tree('usage_requests') where isleaf order by 1`,
  )
  return rows.map(({ name }) => name)
}

/** Does nothing when requests of that day have come before it was made: they stay where they are. */
export async function addDay(db: Database, { partition, from, to }: Day): Promise<void> {
  const bounds = `from ('${new Date(from).toISOString()}') to ('${new Date(to).toISOString()}')`
  await db
    .run(`create table if not exists ${partition} partition of usage_requests for values ${bounds}`)
    .catch((error) => {
      if (errorCode(error) !== requestsOfThatDay) throw error
    })
}

export async function dropDay(db: Database, partition: string): Promise<void> {
  await db.run(`drop table if exists ${partition}`)
}

/** Those that no day was made for. */
export async function forgetOthers(db: Database, before: number): Promise<void> {
  await db.run('delete from usage_requests_other where received_at < $1', [new Date(before)])
}
