/** The ledger on the real database: every request once, its minute in the same step. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { type TestDatabase, testDatabase } from '../store/testing.ts'
import { dayMs, dayOf, daysWanted, partitionsOver, takenFrom } from './days.ts'
import { encodeRequest } from './journal/record.ts'
import { requestOf } from './journal/testing.ts'
import { keepOnce } from './loop.ts'
import type { SettledRequest } from './request.ts'
import { isRefused, partitions, recordLines } from './store.ts'

let db: TestDatabase
before(async () => {
  db = await testDatabase()
})
after(() => db.close())

const lines = (requests: SettledRequest[]) => requests.map(encodeRequest)
const noon = Date.UTC(2026, 10, 21, 12)

/** The sums, as they are and as the ledger's rows add up to. */
async function sums(deploymentId: string) {
  const columns = 'prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens'
  const added = columns.replace(/\w+/g, (name) => `sum(${name})::bigint as ${name}`)
  const kept = await db.query(
    `select minute, org_id, key_id, model, adapter, status, charged, requests, estimated, ${columns}
     from usage_minutes where deployment_id = $1 order by 1, 2, 3, 4, 5, 6`,
    [deploymentId],
  )
  const rows = await db.query(
    `select date_trunc('minute', settled_at, 'UTC') as minute, org_id, coalesce(key_id, '') as key_id, model,
       coalesce(adapter, '') as adapter, status, bool_and(charged) as charged, count(*) as requests,
       count(*) filter (where estimated) as estimated, ${added}
     from usage_requests where deployment_id = $1 group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6`,
    [deploymentId],
  )
  assert.deepEqual(kept, rows)
  return kept as { minute: Date; status: number; adapter: string; requests: number; completion_tokens: number }[]
}

test('a line becomes a row and counts in the minute in which it was settled', async () => {
  const at = {
    receivedAt: noon + 59_000,
    timings: { auth: 0, queue: 0, ttft: 5, streaming: 0, longestPause: 0, total: 2_000 },
  }
  const usage = { promptTokens: 10, completionTokens: 4, cachedTokens: 8, reasoningTokens: 2 }
  const request = requestOf({ deploymentId: 'dep_row', ...at, usage, model: 'naïve "\u{1F600}\u0000' })
  assert.equal(await recordLines(db, lines([request])), 1)
  const [row] = await db.query<Record<string, unknown>>('select * from usage_requests where deployment_id = $1', [
    'dep_row',
  ])
  assert.deepEqual(row, {
    request_id: request.requestId,
    received_at: new Date(noon + 59_000),
    settled_at: new Date(noon + 61_000),
    org_id: 'org_a',
    key_id: 'key_a',
    deployment_id: 'dep_row',
    replica_id: 'rep_1',
    model: 'paddock/starter',
    adapter: null,
    asked_model: 'naïve "😀',
    route: 'chat/completions',
    stream: false,
    status: 200,
    code: null,
    charged: true,
    prompt_tokens: 10,
    cached_tokens: 8,
    completion_tokens: 4,
    reasoning_tokens: 2,
    estimated: false,
    queue_ms: 0,
    ttft_ms: 5,
    total_ms: 2000,
    bytes_in: 100,
    bytes_out: 400,
    client_request_id: null,
  })
  const [minute] = await sums('dep_row')
  assert.deepEqual([minute!.minute, minute!.requests], [new Date(noon + 60_000), 1])
})

test('batches that come twice, overlap, or come in another order change nothing', async () => {
  const all = Array.from({ length: 60 }, (_, n) =>
    requestOf({
      deploymentId: 'dep_twice',
      keyId: `key_${n % 3}`,
      adapter: n % 5 === 0 ? 'tone' : null,
      status: n % 7 === 0 ? 499 : 200,
      receivedAt: noon + n * 5_000,
      usage: { promptTokens: n, completionTokens: 2 * n, ...(n % 4 === 0 ? { estimated: true } : {}) },
    }),
  )
  const batches = [all.slice(0, 30), all.slice(20, 60), all.slice(0, 60), [...all, ...all].reverse()]
  const fresh = [] as number[]
  for (const batch of batches) fresh.push(await recordLines(db, lines(batch)))
  assert.deepEqual(fresh, [30, 30, 0, 0])
  const kept = await sums('dep_twice')
  assert.equal(
    kept.reduce((sum, { requests }) => sum + requests, 0),
    60,
  )
  assert.equal(
    kept.reduce((sum, { completion_tokens }) => sum + completion_tokens, 0),
    59 * 60,
  )
})

test('several gateways at once, in the same minutes', async () => {
  const batches = Array.from({ length: 12 }, (_, writer) =>
    Array.from({ length: 40 }, (_, n) =>
      requestOf({
        deploymentId: 'dep_many',
        keyId: `key_${(n * 7 + writer) % 9}`,
        receivedAt: noon + ((n * 13) % 5) * 60_000,
      }),
    ),
  )
  // Every batch by two at the same time.
  const fresh = await Promise.all([...batches, ...batches].map((batch) => recordLines(db, lines(batch))))
  assert.equal(
    fresh.reduce((sum, count) => sum + count),
    480,
  )
  assert.equal(
    (await sums('dep_many')).reduce((sum, { requests }) => sum + requests, 0),
    480,
  )
})

test('a batch with a line that cannot be is refused as a whole, and its error says so', async () => {
  const good = requestOf({ deploymentId: 'dep_bad' })
  const bad = [
    encodeRequest(requestOf({ deploymentId: 'dep_bad' })).replace(',200,', ',"many",'),
    encodeRequest(requestOf({ deploymentId: 'dep_bad' })).slice(0, 40),
    encodeRequest(requestOf({ deploymentId: 'dep_bad', usage: { promptTokens: -1, completionTokens: 0 } })),
  ]
  for (const line of bad)
    await assert.rejects(recordLines(db, [encodeRequest(good), line]), (error) => isRefused(error))
  assert.equal(await recordLines(db, lines([good])), 1)
  assert.equal((await sums('dep_bad')).length, 1)
})

test('nobody known: still a row', async () => {
  const none = { orgId: null, keyId: null, replicaId: null, modelId: null, model: null, usage: null }
  const request = requestOf({ deploymentId: null, status: 404, code: 'model_not_found', ...none })
  assert.equal(await recordLines(db, lines([request])), 1)
  const [minute] = await db.query("select status, requests from usage_minutes where deployment_id = '' and org_id = ''")
  assert.deepEqual(minute, { status: 404, requests: 1 })
})

test('days are made ahead and dropped when they are over; the sums stay', async () => {
  let now = noon
  const clock = { ...systemClock, now: () => now }
  const keep = () => keepOnce({ db, retentionDays: 3, clock, log: silentLog })
  await keep()
  // Requests of today came before anybody made today: they stay where they are, and nothing fails.
  assert.deepEqual(
    await partitions(db),
    [
      ...daysWanted(noon)
        .slice(1)
        .map(({ partition }) => partition),
      'usage_requests_other',
    ].sort(),
  )
  const tomorrow = requestOf({ deploymentId: 'dep_day', receivedAt: noon + dayMs })
  const today = requestOf({ deploymentId: 'dep_day', receivedAt: noon })
  assert.equal(await recordLines(db, lines([today, tomorrow])), 2)
  assert.equal(await recordLines(db, lines([today, tomorrow])), 0)
  const count = async () =>
    (await db.query<{ count: number }>("select count(*) from usage_requests where deployment_id = 'dep_day'"))[0]!.count
  now = noon + 4 * dayMs
  await keep()
  assert.equal(await count(), 1)
  now = noon + 4 * dayMs + dayMs / 2
  await keep()
  assert.equal(await count(), 0)
  const [kept] = await db.query(
    "select sum(requests)::integer as requests from usage_minutes where deployment_id = 'dep_day'",
  )
  assert.deepEqual(kept, { requests: 2 })
})

test('which days are over, and from when on nothing is taken again', () => {
  const names = [dayOf(noon), dayOf(noon - dayMs)].map(({ partition }) => partition)
  assert.deepEqual(names, ['usage_requests_20261121', 'usage_requests_20261120'])
  const midnight = Date.UTC(2026, 10, 21)
  assert.deepEqual(partitionsOver([...names, 'usage_requests_other'], midnight - 1), [])
  assert.deepEqual(partitionsOver([...names, 'usage_requests_other'], midnight), ['usage_requests_20261120'])
  assert.ok(takenFrom(noon, 3) > noon - 3 * dayMs)
})
