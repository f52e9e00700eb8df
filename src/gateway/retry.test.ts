import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { RouteReplica } from '../deployments/routes.ts'
import { systemClock, until } from '../runtime/clock.ts'
import type { Config } from '../runtime/settings.ts'
import { answerWell, type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
async function engine(port = 0): Promise<MockEngine> {
  const one = await new MockEngine().listen(port)
  ends.push(() => one.close())
  return one
}
async function bench(replicas: RouteReplica[], over: Partial<Config> = {}): Promise<Bench> {
  const one = await startBench({ routes: [routeOf({ replicas })], over })
  ends.push(() => one.gateway.close({ drainMs: 0 }))
  return one
}
const settle = (b: Bench, replicas: RouteReplica[]) => b.routes.apply([routeOf({ replicas })])
const held = (b: Bench, count: number, id = 'dep_1') =>
  until(systemClock, `${count} are held`, 2_000, () => b.gateway.held()[id] === count)
const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code

test('a connection that is lost before the answer began is tried elsewhere', async () => {
  const bad = await engine()
  const good = await engine()
  bad.behave = (_asked, _response, request) => {
    request.socket.resetAndDestroy()
  }
  const b = await bench([replicaOf(bad.port), replicaOf(good.port)])
  for (let i = 0; i < 3; i++) assert.equal((await b.chat({ stream: i === 1 })).status, 200)
  assert.equal(good.asked.length, 3)
  assert.ok(bad.asked.length >= 1)
})

async function killers(count: number): Promise<MockEngine[]> {
  const engines = await Promise.all(Array.from({ length: count }, () => engine()))
  for (const one of engines)
    one.behave = (_asked, _response, request) => {
      request.socket.resetAndDestroy()
    }
  return engines
}

test('a request that kills every engine is sent to each once, to three at most', async () => {
  for (const [count, asked] of [
    [1, 1],
    [2, 2],
    [5, 3],
  ]) {
    const engines = await killers(count!)
    const b = await bench(engines.map(({ port }) => replicaOf(port)))
    const response = await b.chat({})
    assert.deepEqual([response.status, await codeOf(response)], [500, 'engine_failed'])
    const times = engines.map((one) => one.asked.length)
    assert.deepEqual([Math.max(...times), times.reduce((sum, one) => sum + one)], [1, asked])
    assert.equal(b.settled.length, 1)
    assert.deepEqual(b.gateway.inFlight(), {})
  }
})

test('what an engine has lost waits for another, not for the same', async () => {
  const [bad] = await killers(1)
  bad!.healthy = false
  const good = await engine()
  const b = await bench([replicaOf(bad!.port)])
  const waiting = b.chat({})
  await held(b, 1)
  settle(b, [replicaOf(bad!.port), replicaOf(good.port)])
  assert.equal((await waiting).headers.get('x-paddock-replica'), `rep_${good.port}`)
  assert.equal(bad!.asked.length, 1)
})

test('where everything is lost, little of it is sent again', async () => {
  const engines = await killers(3)
  const b = await bench(
    engines.map(({ port }) => replicaOf(port)),
    { 'gateway.retry_share': 0 },
  )
  for (let i = 0; i < 5; i++) assert.equal((await b.chat({})).status, 500)
  assert.equal(
    engines.reduce((sum, one) => sum + one.asked.length, 0),
    5,
  )
})

test('all were gone for a moment, one of them with the request: it waits for one that has not had it', async () => {
  const [bad] = await killers(1)
  const away = await engine()
  away.behave = (_asked, response) => void response.writeHead(503).end()
  away.healthy = false
  const b = await bench([replicaOf(bad!.port), replicaOf(away.port)])
  // Whichever is asked first: one loses it and is back at once, the other takes nothing for now.
  const waiting = Promise.all([b.chat({}), b.chat({}), b.chat({})])
  await until(systemClock, 'all wait for the second', 10_000, () => b.gateway.held().dep_1 === 3)
  away.behave = answerWell
  away.healthy = true
  for (const response of await waiting) assert.equal(response.headers.get('x-paddock-replica'), `rep_${away.port}`)
  assert.ok(bad!.asked.length <= 3)
})
