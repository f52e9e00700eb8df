/**
 * GET …/metrics over the real app, fed by real gateways in front of engines that misbehave on demand: what is shown is
 * what was sent, request by request.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { report } from '../access/gateways.ts'
import { QuickResponse } from '../gateway/door/quick-response.ts'
import {
  type Behaviour,
  type Bench,
  chunkEvent,
  lastEvents,
  MockEngine,
  plainAnswer,
  replicaOf,
  routeOf,
  startBench,
  streamHead,
} from '../gateway/testing.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { newId } from '../runtime/ids.ts'
import { silentLog } from '../runtime/log.ts'
import { MetricsReporter } from '../usage/metrics/reporter.ts'
import { saveBatch } from '../usage/metrics/store.ts'
import { type Answer, makeWorld, type World, wish } from './testing.ts'

const messages = [{ role: 'user', content: 'Hi' }]
let world: World
/** Engines that linger need not any more. */
let mayEnd = false
const engine = new MockEngine()
const closing: (() => Promise<void>)[] = []
before(async () => {
  world = await makeWorld()
  await engine.listen()
})
after(async () => {
  mayEnd = true
  for (const close of closing) await close()
  await engine.close()
  await world.close()
})

let made = 0
async function create(): Promise<string> {
  const answer = await world.call('POST', '/deployments', { body: wish(`metrics-${(made += 1)}`) })
  assert.equal(answer.status, 201, answer.text)
  return answer.json.id
}

/** A gateway with this deployment on one replica; `told` brings what it measured to the database. */
async function gatewayOf(deploymentId: string): Promise<Bench & { told(): Promise<void> }> {
  const bench = await startBench({ routes: [routeOf({ deploymentId, replicas: [replicaOf(engine.port)] })] })
  closing.push(() => bench.gateway.close({ drainMs: 0 }))
  const reporter = new MetricsReporter({
    source: newId('gw'),
    save: (batch) => saveBatch(world.db, batch),
    clock: systemClock,
    log: silentLog,
  })
  const told = async () => {
    for (const one of bench.settled.splice(0)) reporter.settled(one)
    await reporter.pass()
  }
  return { ...bench, told }
}

const register = (
  id: string,
  over: { inFlight?: Record<string, number>; demand?: object; queued?: Record<string, number>; seen?: number } = {},
) =>
  report(
    world.db,
    {
      id,
      keyringVersion: 1e9,
      routesVersion: 1e9,
      inFlight: over.inFlight ?? {},
      demand: { ...over.demand },
      queued: over.queued,
    },
    over.seen ?? systemClock.now(),
  )
const metricsOf = (id: string, query = ''): Promise<Answer> => world.call('GET', `/deployments/${id}/metrics${query}`)

/** Ends as the message says. */
const behave: Behaviour = async (asked, response, request) => {
  const how = (asked.body.messages as { content: string }[])[0]!.content
  const streams = asked.body.stream === true
  if (how === 'refuse') {
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}')
    return
  }
  if (streams) {
    response.writeHead(200, streamHead)
    response.write(chunkEvent(asked, 'Hel', 1))
    await systemClock.sleep(5)
    response.write(chunkEvent(asked, 'lo', 2))
  } else response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
  if (how === 'die') request.socket.resetAndDestroy()
  if (how === 'linger') await until(systemClock, 'the client leaves', 20_000, () => mayEnd || asked.aborted, 5)
  if (response.destroyed) return
  response.end(streams ? `${lastEvents(asked, 2)}data: [DONE]\n\n` : plainAnswer(asked))
}

/** Clients that left before the end of their answer, as far as the gateways have heard. */
let left = 0
const { closed } = QuickResponse.prototype
QuickResponse.prototype.closed = function (this: QuickResponse): void {
  if (!this.writableEnded) left += 1
  closed.call(this)
}

async function leave(bench: Bench, stream: boolean): Promise<void> {
  const leaving = new AbortController()
  const asked = engine.asked.length
  const answer = bench.chat({ messages: [{ role: 'user', content: 'linger' }], stream }, { signal: leaving.signal })
  if (stream) {
    let text = ''
    const decoder = new TextDecoder()
    const reader = (await answer).body!.getReader()
    while (!text.includes('"lo"')) text += decoder.decode((await reader.read()).value, { stream: true })
  } else await until(systemClock, 'the engine is asked', 10_000, () => engine.asked.length > asked, 5)
  const leftBefore = left
  const over = answer.then((one) => one.text()).catch(() => {})
  leaving.abort()
  await until(systemClock, 'the gateway hears it', 10_000, () => left > leftBefore, 5)
  await over
}

test('counts are what was sent: plain and stream, finished, left, died, refused; over two gateways', async () => {
  engine.behave = behave
  const id = await create()
  const gateways = [await gatewayOf(id), await gatewayOf(id)] as const
  await register('gw_1')
  const ask = async (bench: Bench, content: string, stream: boolean) => {
    const answer = await bench.chat({ messages: [{ role: 'user', content }], stream })
    await answer.text().catch(() => {})
  }
  for (const stream of [false, true]) {
    for (let n = 0; n < 3; n += 1) await ask(gateways[0], 'well', stream)
    await ask(gateways[1], 'well', stream)
    await ask(gateways[1], 'die', stream)
    for (let n = 0; n < 2; n += 1) await ask(gateways[0], 'refuse', false)
    await leave(gateways[0], stream)
  }
  mayEnd = true
  await gateways[0].chat({ messages, id_slot: 3 })
  await gateways[0].chat({ model: 'nobody', messages })
  await gateways[0].settledUntil(6 + 4 + 2 + 2)
  await gateways[1].settledUntil(2 + 2)
  for (const gateway of gateways) await gateway.told()
  const { json } = await metricsOf(id)
  assert.deepEqual(json.status, { 200: 8, 400: 5, 499: 2, 500: 2 })
  assert.deepEqual(json.errors, { engine_failed: 2, engine_parameter_refused: 1, invalid_request: 4 })
  assert.equal(json.requests, 17)
  assert.equal(json.end_to_end_ms.count, 8)
  assert.deepEqual([json.ttft_ms.count, json.inter_token_ms.count], [5, 5], 'four streams and the one that was left')
  assert.ok(json.inter_token_ms.p50 >= 4 && json.longest_pause_ms.p50 >= 4, JSON.stringify(json))
  assert.ok(json.tokens.output >= 8 * 2 && json.tokens.cached === null && json.cache_hit_share === null)
})

test('tokens, cache and rates are those of the answers', async () => {
  const id = await create()
  const gateway = await gatewayOf(id)
  engine.behave = (asked, response) => {
    const cached = asked.body.user === 'known' ? { prompt_tokens_details: { cached_tokens: 60 } } : {}
    const usage = { prompt_tokens: 80, completion_tokens: 20, total_tokens: 100, ...cached }
    const choices = [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }]
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ choices, usage }))
  }
  for (const user of ['known', 'known', 'new']) await (await gateway.chat({ messages, user })).text()
  await gateway.settledUntil(3)
  await gateway.told()
  const { json } = await metricsOf(id, '?window=1h')
  const seconds = (Date.parse(json.to) - Date.parse(json.from)) / 1000
  assert.deepEqual(json.tokens, {
    input: 240,
    output: 60,
    reasoning: 0,
    cached: 120,
    input_per_second: json.tokens.input_per_second,
    output_per_second: json.tokens.output_per_second,
    estimated_requests: 0,
  })
  assert.equal(json.cache_hit_share, 0.75, 'of the two that said')
  const perSecond = (count: number) => Number((count / Math.max(seconds, 1)).toFixed(4))
  assert.deepEqual(
    [json.rps, json.tokens.input_per_second, json.tokens.output_per_second],
    [3, 240, 60].map(perSecond),
    'since the deployment was made, which is not an hour ago',
  )
  assert.deepEqual(
    [json.ttft_ms, json.inter_token_ms, json.held_ms],
    [null, null, null],
    'nothing was streamed or held',
  )
})

test('nothing asked: counts of nothing, averages of none; no gateway heard of: nothing is known at all', async () => {
  await world.db.run('delete from gateways')
  const id = await create()
  const unknown = (await metricsOf(id)).json
  assert.deepEqual(
    [unknown.requests, unknown.status, unknown.rps, unknown.in_flight, unknown.held, unknown.tokens],
    [null, {}, null, null, null, null],
  )
  assert.deepEqual(unknown.gateways, { heard: 0, silent: 0 })
  await register('gw_1')
  const quiet = (await metricsOf(id)).json
  assert.deepEqual(
    [quiet.requests, quiet.status, quiet.rps, quiet.in_flight, quiet.held],
    [0, { 200: 0, 499: 0 }, 0, 0, 0],
  )
  for (const field of ['ttft_ms', 'inter_token_ms', 'longest_pause_ms', 'end_to_end_ms', 'held_ms', 'cache_hit_share'])
    assert.equal(quiet[field], null, field)
  assert.deepEqual([quiet.window, quiet.phase, quiet.emulated, quiet.simulated], ['60s', 'starting', false, false])
  await world.call('POST', `/deployments/${id}/sleep`, { body: {} })
  assert.equal((await metricsOf(id)).json.replicas.desired, 0)
})

test('what is under way is that of all gateways that are heard of; one that is silent is told', async () => {
  await world.db.run('delete from gateways')
  const [id, other] = [await create(), await create()]
  const at = new Date(systemClock.now())
  await world.db.run(
    `insert into replicas (id, deployment_id, revision_id, org_id, provider, phase, gpu_type, gpu_count, region,
       price_micro_usd_per_unit_hour, created_at, gone_at)
     select r.id, $1, v.id, $3, 'local', r.phase, 'cpu', 1, 'local', 0, $2::timestamptz,
       case r.phase when 'gone' then $2::timestamptz end
     from revisions v, (values ('rep_${made}_a', 'ready'), ('rep_${made}_b', 'draining'), ('rep_${made}_c', 'gone')) as r(id, phase)
     where v.deployment_id = $1`,
    [id, at, world.orgA],
  )
  const inFlight = { [`rep_${made}_a`]: 3, [`rep_${made}_b`]: 1, rep_of_others: 40 }
  await register('gw_1', { inFlight, demand: { [id]: { held: 2 }, [other]: { held: 9 } } })
  await register('gw_2', { inFlight, demand: { [id]: { held: 5 } }, queued: { [id]: 6, [other]: 9 } })
  await register('gw_3', { inFlight, demand: { [id]: { held: 5 } }, seen: systemClock.now() - 60_000 })
  const { json } = await metricsOf(id)
  assert.deepEqual([json.in_flight, json.held, json.queued], [8, 7, 6])
  assert.deepEqual(json.gateways, { heard: 2, silent: 1 })
  assert.deepEqual(json.replicas, { desired: 1, ready: 0, phases: { ready: 1, draining: 1 } })
})

test('by name as by id; a window that there is not, and fields that there are not, are refused by name', async () => {
  const id = await create()
  const { name } = (await metricsOf(id)).json
  assert.equal((await metricsOf(name)).json.deployment_id, id)
  for (const window of ['', '0s', '61s', '-5m', '24h', '60S', '60s%20', '%00', '٥m', '1e9', `${'9'.repeat(5000)}s`]) {
    const answer = await metricsOf(id, `?window=${window}`)
    assert.equal(answer.status, 400, window)
    assert.match(answer.json.error.message, /window: must be one of 60s, 5m, 1h/)
  }
  assert.match((await metricsOf(id, '?window=60s&window=1h')).text, /window/)
  assert.match((await metricsOf(id, '?since=now')).json.error.message, /since/)
  for (const strange of ['dep_nothing', '..', '%00', 'ü'.repeat(300)])
    assert.equal((await metricsOf(strange)).status, 404, strange)
})

test('whose deployment it is not sees nothing of it', async () => {
  const id = await create()
  const theirs = await world.call('GET', `/deployments/${id}/metrics`, { key: world.keys.ownerB })
  const nobodys = await world.call('GET', '/deployments/dep_0/metrics', { key: world.keys.ownerB })
  assert.deepEqual([theirs.status, nobodys.status], [404, 404])
  assert.equal(theirs.json.error.code, nobodys.json.error.code)
  assert.equal((await world.call('GET', `/deployments/${id}/metrics`, { key: world.keys.scopedA })).status, 403)
})
