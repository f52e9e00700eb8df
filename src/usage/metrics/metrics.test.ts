/** From gateways to the database and out of it: nothing twice, nothing backwards, whatever comes twice, late or not. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Clock } from '../../runtime/clock.ts'
import { type Log, silentLog } from '../../runtime/log.ts'
import { type TestDatabase, testDatabase } from '../../store/testing.ts'
import { requestOf } from '../journal/testing.ts'
import type { SettledRequest } from '../request.ts'
import { keepMetricsOnce } from './keeping.ts'
import { MetricsReporter } from './reporter.ts'
import { type Batch, lastSeqs, samplesAfter, samplesSince, saveBatch } from './store.ts'
import { otherDeployments, Totals } from './totals.ts'
import { measuredOf } from './view.ts'

let db: TestDatabase
before(async () => {
  db = await testDatabase()
})
after(() => db.close())

const noon = Date.UTC(2026, 10, 21, 12)
/** Moves by hand. */
class HandClock implements Clock {
  at = noon
  now = () => this.at
  monotonicMs = () => this.at
  sleep = async (): Promise<void> => {}
}

let made = 0
const newName = (what: string) => `${what}_${(made += 1)}`

function gatewayOf(clock: Clock, log: Log = silentLog) {
  const sent: Batch[] = []
  const gateway = {
    sent,
    isAway: false,
    /** The database takes it and the answer is lost. */
    isDeaf: false,
    reporter: new MetricsReporter({
      source: newName('gw'),
      save: async (batch) => {
        if (gateway.isAway) throw new Error('away')
        sent.push(batch)
        await saveBatch(db, batch)
        if (gateway.isDeaf) throw new Error('no answer')
      },
      clock,
      log,
    }),
    serve: (deploymentId: string | null, times = 1, over: Partial<SettledRequest> = {}) => {
      for (let n = 0; n < times; n += 1) gateway.reporter.settled(requestOf({ deploymentId, ...over }))
    },
  }
  return gateway
}

const totalsOf = (maximum?: number) =>
  new Totals({ lastSeqs: () => lastSeqs(db), samplesAfter: (seen) => samplesAfter(db, seen) }, maximum)

async function requestsIn(clock: Clock, deploymentId: string, windowMs: number): Promise<number> {
  const lines = await samplesSince(db, deploymentId, clock.now() - windowMs, windowMs)
  return measuredOf(lines, windowMs / 1000).requests
}

const countedIn = (totals: Totals, deploymentId: string) =>
  totals
    .entries()
    .filter((entry) => entry.deploymentId === deploymentId)
    .reduce((sum, { sample }) => sum + sample.requests, 0)

const keep = (clock: Clock, totals = totalsOf()) => keepMetricsOnce({ db, clock, beforehand: () => totals.catchUp() })

test('two gateways add up; a window ends where it ends', async () => {
  const clock = new HandClock()
  const [a, b, id] = [gatewayOf(clock), gatewayOf(clock), newName('dep')]
  a.serve(id, 3, { timings: { auth: 0, queue: 0, ttft: 5, streaming: 0, longestPause: 0, total: 100 } })
  b.serve(id, 1, { timings: { auth: 0, queue: 0, ttft: 5, streaming: 0, longestPause: 0, total: 9_000 } })
  b.serve(id, 2, { status: 499, code: 'client_closed' })
  b.serve(newName('dep'), 7)
  clock.at += 2_000
  await Promise.all([a.reporter.pass(), b.reporter.pass()])
  const lines = await samplesSince(db, id, clock.now() - 60_000, 60_000)
  const { status, endToEnd, requestsPerSecond } = measuredOf(lines, 60)
  assert.deepEqual(status, { 200: 4, 499: 2 })
  assert.equal(requestsPerSecond, 0.1)
  assert.ok(Math.abs(endToEnd!.p50 - 100) < 1 && Math.abs(endToEnd!.p99 - 9_000) < 90, JSON.stringify(endToEnd))
  clock.at += 59_000
  assert.equal(await requestsIn(clock, id, 60_000), 6)
  clock.at += 2_000
  assert.equal(await requestsIn(clock, id, 60_000), 0)
  assert.equal(await requestsIn(clock, id, 300_000), 6)
})

test('nothing asked, nothing written; a batch that is sent again changes nothing', async () => {
  const clock = new HandClock()
  const [gateway, id] = [gatewayOf(clock), newName('dep')]
  await gateway.reporter.pass()
  assert.equal(gateway.sent.length, 0)
  gateway.serve(id, 2)
  gateway.isDeaf = true
  await assert.rejects(gateway.reporter.pass(), /no answer/)
  gateway.serve(id, 1)
  gateway.isDeaf = false
  await gateway.reporter.pass()
  assert.deepEqual(
    gateway.sent.map(({ seq }) => seq),
    [1, 1],
  )
  await gateway.reporter.pass()
  assert.equal(await requestsIn(clock, id, 60_000), 3)
})

test('many deployments go in several batches', async () => {
  const clock = new HandClock()
  const gateway = gatewayOf(clock)
  const ids = Array.from({ length: 1_201 }, () => newName('dep'))
  for (const id of ids) gateway.serve(id)
  await gateway.reporter.pass()
  assert.deepEqual(
    gateway.sent.map(({ entries }) => entries.length),
    [500, 500, 201],
  )
  assert.equal(await requestsIn(clock, ids.at(-1)!, 60_000), 1)
})

test('while the database is away counting goes on in one place; afterwards no minute has the traffic of ten', async () => {
  const clock = new HandClock()
  const said: unknown[] = []
  const [gateway, id] = [gatewayOf(clock), newName('dep')]
  const totals = totalsOf()
  await totals.catchUp()
  gateway.isAway = true
  for (let n = 0; n < 300; n += 1) {
    gateway.serve(id, 4)
    clock.at += 2_000
    await gateway.reporter.pass().catch((error) => said.push(error))
  }
  assert.equal(said.length, 300)
  gateway.isAway = false
  await gateway.reporter.pass()
  await gateway.reporter.pass()
  assert.equal(gateway.sent.length, 2, 'the cut that failed, and one for all that came meanwhile')
  assert.equal(await requestsIn(clock, id, 60_000), 0)
  assert.equal(await requestsIn(clock, id, 300_000), 0)
  assert.equal(await requestsIn(clock, id, 3_600_000), 1_200)
  await totals.catchUp()
  assert.equal(countedIn(totals, id), 1_200)
})

test('the reporter reports in its own time and ends with its signal; a database that is away is told once', async () => {
  const stop = new AbortController()
  const said: string[] = []
  const clock = new HandClock()
  const gateway = gatewayOf(clock, { ...silentLog, warn: (_fields, text) => said.push(text) })
  gateway.isAway = true
  let turns = 0
  clock.sleep = async () => {
    gateway.serve('dep_looped')
    if ((turns += 1) === 4) gateway.isAway = false
    if (turns === 6) stop.abort()
  }
  await gateway.reporter.run(stop.signal)
  assert.deepEqual(said, ['metrics wait for the database'])
  assert.equal(gateway.sent.length > 0, true)
})

test('put together by the minute nothing is lost or doubled, also when lines come late; after an hour it goes', async () => {
  const clock = new HandClock()
  clock.at = noon + 24 * 3_600_000
  const [a, b, id] = [gatewayOf(clock), gatewayOf(clock), newName('dep')]
  const totals = totalsOf()
  await totals.catchUp()
  const tick = async () => {
    a.serve(id, 2)
    b.serve(id, 1, { route: 'embeddings' })
    clock.at += 2_000
    await a.reporter.pass()
    await b.reporter.pass().catch(() => {})
  }
  for (let n = 0; n < 90; n += 1) await tick()
  b.isAway = true
  for (let n = 0; n < 30; n += 1) await tick()
  const late = 30
  assert.equal(await requestsIn(clock, id, 3_600_000), 360 - late)
  clock.at += 7 * 60_000
  await keep(clock, totals)
  assert.equal(await requestsIn(clock, id, 3_600_000), 360 - late)
  b.isAway = false
  clock.at -= 7 * 60_000
  await b.reporter.pass()
  await b.reporter.pass()
  clock.at += 7 * 60_000
  assert.equal(await requestsIn(clock, id, 3_600_000), 360)
  await Promise.all([keep(clock, totals), keep(clock), keep(clock)])
  assert.equal(await requestsIn(clock, id, 3_600_000), 360)
  const [{ lines }] = (await db.query<{ lines: number }>(
    'select count(*) as lines from metric_samples where deployment_id = $1',
    [id],
  )) as [{ lines: number }]
  assert.ok(lines <= 2 * 5, `${lines} lines`)
  assert.equal(countedIn(totals, id), 360)
  clock.at += 3_600_000
  await keep(clock, totals)
  assert.equal(await requestsIn(clock, id, 3_600_000), 0)
  assert.equal(countedIn(totals, id), 360, 'counters never fall')
})

test('counters: a new control begins at nothing, a new gateway is added, and neither counts anything twice', async () => {
  const clock = new HandClock()
  const [before, id] = [gatewayOf(clock), newName('dep')]
  before.serve(id, 5)
  await before.reporter.pass()
  const first = totalsOf()
  await first.catchUp()
  assert.equal(countedIn(first, id), 0, 'what was before it began is not its own')
  before.serve(id, 2)
  await before.reporter.pass()
  await Promise.all([first.catchUp(), first.catchUp()])
  await first.catchUp()
  assert.equal(countedIn(first, id), 2)
  const second = totalsOf()
  await second.catchUp()
  const restarted = gatewayOf(clock)
  restarted.serve(id, 3)
  await restarted.reporter.pass()
  for (const totals of [first, second]) await totals.catchUp()
  assert.deepEqual([countedIn(first, id), countedIn(second, id)], [5, 3])
})

test('counters: so many deployments have a name, the others are one; those that are gone go', async () => {
  const clock = new HandClock()
  const [gateway, ids] = [gatewayOf(clock), [newName('dep'), newName('dep'), newName('dep'), newName('dep')]]
  const totals = totalsOf(2)
  await totals.catchUp()
  for (const id of ids) gateway.serve(id)
  await gateway.reporter.pass()
  await totals.catchUp()
  assert.deepEqual(
    totals.entries().map(({ deploymentId }) => deploymentId),
    [ids[0], ids[1], otherDeployments],
  )
  assert.equal(countedIn(totals, otherDeployments), 2)
  totals.keepOnly(new Set([ids[1]!]))
  assert.deepEqual(
    totals.entries().map(({ deploymentId }) => deploymentId),
    [ids[1], otherDeployments],
  )
})
