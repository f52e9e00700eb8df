/** What several workers of one host count together, as a client meets it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { makeCounterBoard } from './counter-board.ts'
import { LaneCounters } from './counters.ts'
import { answerWell, type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

test('workers of a host see each other’s requests when they pick, and report their own', async () => {
  const engines = [await new MockEngine().listen(), await new MockEngine().listen()]
  const waiting: (() => void)[] = []
  for (const engine of engines)
    engine.behave = async (...asked) => {
      await new Promise<void>((resolve) => waiting.push(resolve))
      await answerWell(...asked)
    }
  const replicas = engines.map(({ port }) => replicaOf(port))
  const board = makeCounterBoard({ lanes: 2 })
  const start = (lane: number, known: typeof replicas) =>
    startBench({ routes: [routeOf({ replicas: known })], counters: new LaneCounters(board, lane) })
  const [near, far] = [await start(0, replicas.slice(0, 1)), await start(1, replicas)]
  const answers: Promise<Response>[] = []
  const ask = async (bench: Bench, times: number) => {
    for (let time = 0; time < times; time++) {
      answers.push(bench.chat({ messages: [] }))
      await until(systemClock, 'it is with an engine', 10_000, () => waiting.length === answers.length)
    }
    return engines.map(({ asked }) => asked.length)
  }
  try {
    assert.deepEqual(await ask(far, 2), [1, 1])
    assert.deepEqual(await ask(near, 2), [3, 1])
    // Alone it would send one to each.
    assert.deepEqual(await ask(far, 2), [3, 3])
    const [first, second] = replicas.map(({ id }) => id) as [string, string]
    assert.deepEqual(near.gateway.inFlight(), { [first]: 2 })
    assert.deepEqual(far.gateway.inFlight(), { [first]: 1, [second]: 3 })
  } finally {
    for (const go of waiting) go()
    for (const answer of await Promise.all(answers)) await answer.text()
    for (const { gateway } of [near, far]) await gateway.close({ drainMs: 5_000 })
    for (const engine of engines) await engine.close()
  }
  const after = new LaneCounters(board, 0)
  for (const { id } of replicas) assert.equal(after.total(after.slot(`requests ${id}`)), 0)
})

for (const over of [{ 'hold.max_requests': 2 }, { 'hold.max_bytes': 4_500 }])
  test(`workers of a host hold no more together than ${Object.entries(over)[0]}`, async () => {
    const board = makeCounterBoard({ lanes: 2 })
    const routes = [routeOf({ replicas: [], phase: 'starting' })]
    const start = (lane: number) => startBench({ routes, over, counters: new LaneCounters(board, lane) })
    const [one, two] = [await start(0), await start(1)]
    const leaving = new AbortController()
    const send = async (bench: Bench, signal?: AbortSignal) => {
      const answer = await bench.chat({ user: 'x'.repeat(2_000) }, { signal })
      return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code]
    }
    const heldBy = (bench: Bench, count: number) =>
      until(systemClock, `${count} held`, 10_000, () => (bench.gateway.held().dep_1 ?? 0) === count)
    const left = assert.rejects(send(one, leaving.signal))
    const kept = send(two)
    await Promise.all([heldBy(one, 1), heldBy(two, 1)])
    for (const bench of [one, two]) assert.deepEqual(await send(bench), [503, 'hold_full'])
    leaving.abort()
    await left
    await heldBy(one, 0)
    const next = send(two)
    await heldBy(two, 2)
    await Promise.all([one, two].map(({ gateway }) => gateway.close({ drainMs: 0 })))
    assert.deepEqual([(await kept)[1], (await next)[1]], ['shutting_down', 'shutting_down'])
  })
