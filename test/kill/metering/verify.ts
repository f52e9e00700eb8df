/** The ledger against what the engine wrote down and what the clients were told. */
import type { Querier } from '../../../src/store/querier.ts'
import type { Told } from './clients.ts'
import type { ServedLog, Serving } from './engine.ts'

interface Row {
  request_id: string
  status: number
  charged: boolean
  estimated: boolean
  prompt_tokens: number
  cached_tokens: number
  completion_tokens: number
}

export interface Verdict {
  problems: string[]
  acknowledged: number
  /** Completion tokens of acknowledged requests: by the engine, and in the ledger. */
  served: number
  recorded: number
  rows: number
}

const shownMaximum = 12

export async function verify(db: Querier, log: ServedLog, told: readonly Told[]): Promise<Verdict> {
  const rows = await db.query<Row>('select * from usage_requests')
  const byId = Map.groupBy(rows, ({ request_id }) => request_id)
  const acknowledged = told.filter(({ outcome }) => outcome === 'acknowledged')
  const finished = acknowledged.map(({ requestId }) => log[requestId!]?.findLast((one) => one.finished))
  const problems = [
    ...[...byId].filter(([, same]) => same.length > 1).map(([id, same]) => `${id} is there ${same.length} times`),
    ...Object.keys(log)
      .filter((id) => !byId.has(id))
      .map((id) => `${id} was served and is not there`),
    ...acknowledged.flatMap(({ requestId }, n) => wrongly(requestId!, byId.get(requestId!)?.[0], finished[n])),
    ...rows.flatMap((row) => impossible(row, log[row.request_id] ?? [])),
    ...told.flatMap((one) => (one.outcome === 'left' ? tooLittle(one, byId.get(one.requestId ?? '')?.[0]) : [])),
    ...(await wrongSums(db)),
  ]
  return {
    problems:
      problems.length > shownMaximum
        ? [...problems.slice(0, shownMaximum), `and ${problems.length - shownMaximum} more`]
        : problems,
    acknowledged: acknowledged.length,
    served: sum(finished.map((one) => one?.completion ?? 0)),
    recorded: sum(acknowledged.map(({ requestId }) => byId.get(requestId!)?.[0]?.completion_tokens ?? 0)),
    rows: rows.length,
  }
}

/** An answer that came whole is charged with exactly what the engine served. */
function wrongly(id: string, row: Row | undefined, serving: Serving | undefined): string[] {
  if (serving === undefined) return [`${id} was answered and the engine knows nothing of it`]
  if (row === undefined) return [`${id} was answered and is not there`]
  const right =
    row.status === 200 &&
    row.charged &&
    !row.estimated &&
    row.prompt_tokens === serving.prompt &&
    row.cached_tokens === serving.cached &&
    row.completion_tokens === serving.completion
  return right ? [] : [`${id} was answered with ${JSON.stringify(serving)} and is there as ${JSON.stringify(row)}`]
}

/** Nobody is charged for more than was served, nor for guesses. */
function impossible(row: Row, servings: Serving[]): string[] {
  if (row.status !== 200 && row.status !== 499) {
    return row.charged ? [`${row.request_id} ended as ${row.status} and is charged`] : []
  }
  const tokens = row.completion_tokens + row.prompt_tokens
  const possible =
    tokens === 0 || servings.some((one) => row.completion_tokens <= one.completion && row.prompt_tokens === one.prompt)
  return possible && !row.estimated
    ? []
    : [`${row.request_id} was served ${JSON.stringify(servings)} and is there as ${JSON.stringify(row)}`]
}

/** Who left had seen tokens that were settled. Unless its gateway died: that is 500, and nothing is charged. */
function tooLittle({ requestId, tokens }: Told, row: Row | undefined): string[] {
  if (requestId === null) return []
  if (row === undefined) return [`${requestId}, whose client left, is not there`]
  return row.status !== 500 && row.completion_tokens < tokens
    ? [`${requestId} saw ${tokens} tokens, settled with ${row.completion_tokens}`]
    : []
}

async function wrongSums(db: Querier): Promise<string[]> {
  const sums = 'sum(prompt_tokens)::bigint p, sum(cached_tokens)::bigint c, sum(completion_tokens)::bigint k'
  const minutes = await db.query(
    `select status, sum(requests)::bigint n, ${sums} from usage_minutes group by 1 order by 1`,
  )
  const rows = await db.query(`select status, count(*) n, ${sums} from usage_requests group by 1 order by 1`)
  const [kept, added] = [JSON.stringify(minutes), JSON.stringify(rows)]
  return kept === added ? [] : [`the sums of the minutes are ${kept}, the rows add up to ${added}`]
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
