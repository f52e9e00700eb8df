/** Requests in line for a limit: limits that change meanwhile, and the lines of all workers of a host. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { Limits } from '../access/limits.ts'
import type { Route } from '../deployments/routes.ts'
import { embedded } from '../engines/llamacpp/embedded.ts'
import { systemClock, until } from '../runtime/clock.ts'
import type { Config } from '../runtime/settings.ts'
import { makeCounterBoard } from './counter-board.ts'
import { type Counters, LaneCounters } from './counters.ts'
import { answerWell, type Bench, keyOf, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
const one: Limits = { rpm: null, tpm: null, concurrency: 1 }
const engines = new Map([['llamacpp', embedded] as const])
/** Nobody is refused for the time that it waits. */
const patient = { 'limits.queue_seconds': 120 }

/** An engine that answers when it is told to. */
async function startEngine() {
  const engine = await new MockEngine().listen()
  const waiting: (() => void)[] = []
  engine.behave = async (...asked) => {
    await new Promise<void>((go) => waiting.push(go))
    await answerWell(...asked)
  }
  const asks = (count: number) => until(systemClock, `${count} asked`, 20_000, () => engine.asked.length === count)
  const release = () => {
    engine.behave = answerWell
    for (const go of waiting) go()
  }
  ends.push(async () => {
    release()
    await engine.close()
  })
  return { engine, asks, release }
}

async function startFront(port: number, limits?: Limits, over: Partial<Config> = {}, counters?: Counters) {
  const route = routeOf({ replicas: [replicaOf(port)], ...(limits && { limits }) })
  const bench = await startBench({ routes: [route], over: { ...patient, ...over }, counters, engines })
  ends.push(() => bench.gateway.close({ drainMs: 0 }))
  return { bench, route }
}

let numbers = 1_000_000
const inLine = (bench: Bench, count: number) =>
  until(systemClock, `${count} in line`, 20_000, () => (bench.gateway.queued().dep_1 ?? 0) === count)

const changes: Record<string, Limits | undefined> = {
  'a higher limit': { ...one, concurrency: 2 },
  'no limit': undefined,
}
for (const [what, limits] of Object.entries(changes))
  for (const owner of ['deployment', 'key', 'adapter'])
    test(`${what} of the ${owner} lets in who waits, though nobody else comes`, async () => {
      const { engine, asks, release } = await startEngine()
      const { bench, route } = await startFront(engine.port, owner === 'deployment' ? one : undefined)
      const key = keyOf({ secret: 'a', limits: owner === 'key' ? one : null })
      bench.keyring.apply([key])
      const change = (over: Partial<Route>) =>
        bench.routes.apply([{ ...bench.routes.byId(route.deploymentId)!, ...over, version: numbers++ }])
      const [first] = route.replicas
      const replicas = [{ ...first!, adapters: { a: 'ada_1' } }]
      if (owner === 'adapter') change({ replicas, adapters: { a: { failed: null, limits: one } } })
      const ask = () => bench.chat({ model: owner === 'adapter' ? 'mine:a' : 'mine' })
      const answers = [ask(), ask()]
      await asks(1)
      await inLine(bench, 1)
      if (owner === 'key') bench.keyring.apply([{ ...key, limits: limits ?? null, version: key.version + 1_000 }])
      else if (owner === 'adapter') change({ adapters: { a: { failed: null, ...(limits && { limits }) } } })
      else change({ limits })
      await asks(2)
      release()
      for (const answer of answers) assert.equal((await answer).status, 200)
      assert.deepEqual(bench.gateway.queued(), {})
    })

test('an adapter that is removed while requests wait in line for it: they are told', async () => {
  const { engine, asks, release } = await startEngine()
  const { bench, route } = await startFront(engine.port)
  const replicas = [{ ...route.replicas[0]!, adapters: { a: 'ada_1' } }]
  bench.routes.apply([{ ...route, replicas, adapters: { a: { failed: null, limits: one } }, version: numbers++ }])
  const answers = [bench.chat({ model: 'mine:a' }), bench.chat({ model: 'mine:a' })]
  await asks(1)
  await inLine(bench, 1)
  bench.routes.apply([{ ...route, adapters: {}, version: numbers++ }])
  const told = await answers[1]!
  assert.equal(told.status, 404)
  assert.match(await told.text(), /has no adapter \\"a\\" any more/)
  release()
  assert.equal((await answers[0]!).status, 200, 'what is under way runs to its end')
})

for (const over of [{ 'limits.queue_requests': 2 }, { 'limits.queue_bytes': 4_500 }])
  test(`workers of a host have no more in line together than ${Object.entries(over)[0]}`, async () => {
    const { engine, asks, release } = await startEngine()
    const board = makeCounterBoard({ lanes: 2 })
    const { bench: here } = await startFront(engine.port, one, over, new LaneCounters(board, 0))
    const { bench: there } = await startFront(engine.port, one, over, new LaneCounters(board, 1))
    const send = (bench: Bench) => bench.chat({ user: 'x'.repeat(2_000) })
    const answers = [send(here)]
    await asks(1)
    for (const bench of [here, there]) {
      answers.push(send(bench))
      await inLine(bench, 1)
    }
    for (const bench of [here, there]) {
      const refused = await send(bench)
      assert.equal(refused.status, 429)
      assert.equal(((await refused.json()) as { error: { code: string } }).error.code, 'concurrency_limited')
    }
    release()
    for (const answer of answers) assert.equal((await answer).status, 200)
    const after = new LaneCounters(board, 0)
    for (const what of ['queued dep_1', 'KiB queued dep_1']) assert.equal(after.total(after.slot(what)), 0)
  })
