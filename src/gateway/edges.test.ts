import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const engine = await new MockEngine().listen()
const second = await new MockEngine().listen()
const benches: Bench[] = []
after(async () => {
  for (const { gateway } of benches) await gateway.close({ drainMs: 0 })
  await Promise.all([engine.close(), second.close()])
})
const well = engine.behave

async function start(options: Parameters<typeof startBench>[0] = {}): Promise<Bench> {
  engine.behave = well
  const bench = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })], ...options })
  benches.push(bench)
  return bench
}
const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code

test('an engine that takes nothing for a while (503) but is healthy: waited for, asked ever less often', async () => {
  const bench = await start()
  let declined = 0
  engine.behave = (asked, response, request) => {
    declined += 1
    if (declined > 6) return well(asked, response, request)
    response.writeHead(503).end('{}')
  }
  const from = performance.now()
  assert.equal((await bench.chat({})).status, 200)
  // Probes succeed at once each time: without the growing pause this would be a circle at full speed.
  assert.ok(performance.now() - from > 300)
})

test('an engine that declines for longer than a request may be held: 503 that is worth another try', async () => {
  const bench = await start({ over: { 'hold.max_seconds': 1 } })
  engine.behave = (_asked, response) => void response.writeHead(503).end('{}')
  const refused = await bench.chat({})
  assert.deepEqual([refused.status, refused.headers.get('x-should-retry')], [503, 'true'])
  assert.equal(await codeOf(refused), 'unavailable')
})

test('server-timing names what took how long', async () => {
  const bench = await start()
  const number = '\\d+\\.\\d\\d'
  const plain = (await bench.chat({})).headers.get('server-timing') ?? ''
  assert.match(plain, new RegExp(`^auth;dur=${number}, queue;dur=0\\.00, route;dur=${number}, ttft;dur=${number}$`))
  bench.routes.apply([routeOf({ replicas: [], phase: 'starting' })])
  const bare = await start({ over: { 'hold.comment_seconds': 0.1 }, routes: [routeOf({ phase: 'starting' })] })
  const stop = new AbortController()
  const held = await bare.chat({ stream: true }, { signal: stop.signal })
  assert.ok(!(held.headers.get('server-timing') ?? '').includes('ttft'))
  stop.abort()
})

test('engines that say what is wrong as a bare string are quoted', async () => {
  const bench = await start()
  engine.behave = (_asked, response) => void response.writeHead(422).end('{"error":"no such sampler"}')
  const refused = await bench.chat({})
  assert.equal(refused.status, 400)
  assert.match(await refused.text(), /no such sampler/)
})

test('a replica that moved to another port or key is followed', async () => {
  const bench = await start()
  const here = replicaOf(engine.port, { id: 'rep_x', key: 'one' })
  bench.routes.apply([routeOf({ replicas: [here] })])
  assert.equal((await bench.chat({})).status, 200)
  bench.routes.apply([routeOf({ replicas: [{ ...here, port: second.port, key: 'two' }] })])
  assert.equal((await bench.chat({})).status, 200)
  assert.equal(second.asked.at(-1)?.headers.authorization, 'Bearer two')
  await until(systemClock, 'nothing in flight', 1000, () => Object.keys(bench.gateway.inFlight()).length === 0)
})

test('tables that cannot be relied on: 503 for every key, and /readyz says so', async () => {
  const trouble: { why: string | null } = { why: 'keys and routes are 901 s old' }
  const bench = await start({ trust: () => trouble.why })
  for (const key of ['a', 'unknown']) {
    const refused = await bench.chat({}, { key })
    assert.deepEqual([refused.status, await codeOf(refused)], [503, 'unavailable'])
  }
  assert.equal((await bench.send('/v1/models')).status, 503)
  const ready = await bench.send('/readyz')
  assert.equal(ready.status, 503)
  assert.match(await ready.text(), /901 s old/)
  trouble.why = null
  assert.equal((await bench.chat({})).status, 200)
  assert.equal((await bench.settledUntil(3)).length, 3)
})
