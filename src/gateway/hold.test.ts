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
async function bench(replicas: RouteReplica[], over: Partial<Config> = {}, phase = 'serving' as const): Promise<Bench> {
  const one = await startBench({ routes: [routeOf({ replicas, phase })], over })
  ends.push(() => one.gateway.close({ drainMs: 0 }))
  return one
}
const settle = (b: Bench, replicas: RouteReplica[]) => b.routes.apply([routeOf({ replicas })])
const held = (b: Bench, count: number, id = 'dep_1') =>
  until(systemClock, `${count} are held`, 2_000, () => b.gateway.held()[id] === count)
const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code

test('held while it starts, answered when a replica is ready', async () => {
  const up = await engine()
  const b = await bench([], {}, 'starting' as never)
  const plain = b.chat({})
  const stream = b.chat({ stream: true })
  await held(b, 2)
  settle(b, [replicaOf(up.port)])
  assert.equal((await plain).status, 200)
  assert.match(await (await stream).text(), /"content":"Hel"[\s\S]*\[DONE\]/)
  assert.equal((await plain).headers.get('x-should-retry'), null)
  assert.ok(b.settled.every((one) => one.status === 200 && one.timings.queue > 0))
})

test('a held stream gets comments, and then its answer', async () => {
  const up = await engine()
  const b = await bench([], { 'hold.comment_seconds': 0.1 }, 'asleep' as never)
  const response = await b.chat({ stream: true })
  assert.equal(response.status, 200)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  assert.match((await reader.read()).value!, /^: /)
  settle(b, [replicaOf(up.port)])
  let text = ''
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) text += piece.value
  assert.match(text, /"content":"Hel"[\s\S]*\[DONE\]/)
})

test('the comments keep their pace however often it is held anew', async () => {
  const b = await bench([], { 'hold.comment_seconds': 0.4 }, 'starting' as never)
  const response = await Promise.race([b.chat({ stream: true }), bounce(b)])
  assert.ok(response, 'the first comment comes although it was never held for so long without a break')
  await response.body!.cancel()
})

/** A replica comes that nobody can connect to, and another one: each time the request is sent, and held again. */
async function bounce(b: Bench): Promise<null> {
  const away = await engine()
  await away.close()
  for (let i = 0; i < 40; i++) {
    settle(b, [replicaOf(away.port, { id: `rep_${i}` })])
    await systemClock.sleep(100)
  }
  return null
}

test('past the bound: 503 with its reason, or the last event of a stream that has begun', async () => {
  const b = await bench([], { 'hold.max_seconds': 0.4, 'hold.comment_seconds': 0.1 }, 'starting' as never)
  const [plain, stream] = await Promise.all([b.chat({}), b.chat({ stream: true })])
  assert.equal(plain.status, 503)
  assert.equal(plain.headers.get('x-should-retry'), 'true')
  assert.ok(Number(plain.headers.get('retry-after')) <= 60)
  assert.equal(await codeOf(plain), 'starting')
  const text = await stream.text()
  assert.match(text, /"code":"starting"[\s\S]*"retry_after":15/)
  assert.ok(text.endsWith('data: [DONE]\n\n'))
  assert.deepEqual(
    b.settled.map((one) => [one.status, one.usage]),
    [
      [503, null],
      [503, null],
    ],
  )
})

test('the hold is bounded in number and bytes, and whoever leaves makes room', async () => {
  const body = JSON.stringify({ model: 'mine', user: 'x'.repeat(1_000) })
  for (const over of [{ 'hold.max_requests': 2 }, { 'hold.max_bytes': body.length * 2 + 10 }]) {
    const b = await bench([], over, 'starting' as never)
    const send = (signal?: AbortSignal) => b.send('/v1/chat/completions', { method: 'POST', body, signal })
    const leaving = new AbortController()
    const left = assert.rejects(send(leaving.signal))
    const staying = send()
    await held(b, 2)
    const refused = await send()
    assert.deepEqual([refused.status, await codeOf(refused)], [503, 'hold_full'])
    assert.equal(refused.headers.get('x-should-retry'), 'true')
    assert.ok(Number(refused.headers.get('retry-after')) >= 1 && Number(refused.headers.get('retry-after')) <= 60)
    leaving.abort()
    await left
    await held(b, 1)
    const next = send()
    await held(b, 2)
    assert.equal(await codeOf(await send()), 'hold_full')
    const up = await engine()
    settle(b, [replicaOf(up.port)])
    assert.deepEqual([(await staying).status, (await next).status], [200, 200])
    assert.deepEqual(b.gateway.held(), {})
  }
})

test('nothing is held where hold.max_seconds is 0', async () => {
  const b = await bench([], { 'hold.max_seconds': 0 }, 'starting' as never)
  const answers = await Promise.all([b.chat({}), b.chat({ stream: true })])
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [503])
  assert.equal(await codeOf(answers[0]!), 'starting')
})

test('what becomes of the deployment while a request is held', async () => {
  for (const [over, status, code, retry] of [
    [{ phase: 'stopped' }, 503, 'stopped', 'false'],
    [{ phase: 'failed' }, 503, 'failed', 'false'],
    [{ phase: 'stopping' }, 503, 'stopping', 'true'],
    [{ phase: 'deleted', removed: true }, 404, 'not_found', null],
  ] as const) {
    const b = await bench([], {}, 'starting' as never)
    const waiting = b.chat({})
    await held(b, 1)
    b.routes.apply([routeOf(over)])
    const response = await waiting
    assert.deepEqual([response.status, response.headers.get('x-should-retry')], [status, retry])
    assert.equal(await codeOf(response), code)
  }
})

test('a client that leaves while it is held', async () => {
  const b = await bench([], {}, 'starting' as never)
  const leaving = new AbortController()
  const waiting = b.chat({}, { signal: leaving.signal })
  await held(b, 1)
  leaving.abort()
  await assert.rejects(waiting)
  const [record] = await b.settledUntil(1)
  assert.deepEqual([record!.status, record!.usage, record!.replicaId], [499, null, null])
})

test('refused by one replica, answered by the other; the first comes back when it answers its probe', async () => {
  const up = await engine()
  const gone = await engine()
  await gone.close()
  const b = await bench([replicaOf(gone.port), replicaOf(up.port)])
  for (let i = 0; i < 4; i++) assert.equal((await b.chat({})).status, 200)
  assert.equal(up.asked.length, 4)
  const back = await engine(gone.port)
  await until(systemClock, 'the first is asked again', 5_000, async () => {
    await (await b.chat({})).text()
    return back.asked.length > 0
  })
  assert.ok(b.settled.every((one) => one.status === 200))
})

test('all refuse: held, and answered when one is back', async () => {
  const away = await engine()
  const { port } = away
  await away.close()
  const b = await bench([replicaOf(port)])
  const waiting = b.chat({})
  await held(b, 1)
  await engine(port)
  assert.equal((await waiting).status, 200)
})

test('an engine that is not ready after all (503) is passed over until its probe says so', async () => {
  const late = await engine()
  late.healthy = false
  late.behave = (_asked, response) => {
    response.writeHead(503).end('{"error":{"message":"Loading model"}}')
  }
  const b = await bench([replicaOf(late.port)])
  const waiting = b.chat({})
  await held(b, 1)
  assert.equal(late.asked.length, 1)
  late.behave = answerWell
  late.healthy = true
  assert.equal((await waiting).status, 200)
})

test('an engine that is full is not taken for a broken one: the others wait until it has room', async () => {
  const small = await engine()
  let [open, most] = [0, 0]
  small.behave = async (asked, response, request) => {
    if (open === 3) {
      response.writeHead(503).end('{"error":{"message":"The engine is busy"}}')
      return
    }
    most = Math.max(most, ++open)
    await systemClock.sleep(20)
    open -= 1
    await answerWell(asked, response, request)
  }
  const b = await bench([replicaOf(small.port)])
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => b.chat({ stream: i % 2 === 0 })))
  for (const answer of answers) await answer.text()
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200])
  assert.equal(most, 3)
  assert.equal(small.probed, 0)
  // Turned away once each at first, then hardly ever: not again at every answer.
  assert.ok(small.asked.length < 60 * 3, `asked ${small.asked.length} times for 60 answers`)
  assert.deepEqual(b.gateway.held(), {})
})

test('full, and then gone: those that wait go elsewhere', async () => {
  const small = await engine()
  const other = await engine()
  let finish = () => {}
  small.behave = (asked, response) => {
    if (small.asked.length > 1) response.writeHead(503).end('{}')
    else finish = () => void answerWell(asked, response, undefined as never)
  }
  const b = await bench([replicaOf(small.port)])
  const first = b.chat({})
  await until(systemClock, 'it works', 2_000, () => small.asked.length === 1)
  const waiting = b.chat({})
  await held(b, 1)
  settle(b, [replicaOf(small.port, { state: 'draining' }), replicaOf(other.port)])
  assert.equal((await waiting).headers.get('x-paddock-replica'), `rep_${other.port}`)
  finish()
  assert.equal((await first).status, 200)
})

test('while it rolls to another model each replica is told the name that it serves', async () => {
  const [old, fresh] = [await engine(), await engine()]
  const b = await bench([], {}, 'waking' as never)
  const waiting = b.chat({})
  await held(b, 1)
  const replicas = [replicaOf(old.port, { servedName: 'served-1' })]
  b.routes.apply([routeOf({ servedName: 'served-2', replicas })])
  const answer = (await (await waiting).json()) as { model: string }
  assert.equal(old.asked[0]!.body.model, 'served-1')
  assert.equal(answer.model, 'mine')
  b.routes.apply([routeOf({ servedName: 'served-2', replicas: [replicaOf(fresh.port)] })])
  await (await b.chat({ stream: true })).text()
  assert.equal(fresh.asked[0]!.body.model, 'served-2')
})

test('held while it rolls to an engine that is not here: refused, as one that comes then', async () => {
  const up = await engine()
  const b = await bench([], {}, 'waking' as never)
  const waiting = b.chat({})
  await held(b, 1)
  b.routes.apply([routeOf({ engine: 'vllm', replicas: [replicaOf(up.port)] })])
  assert.equal(await codeOf(await waiting), 'engine_unsupported')
  assert.deepEqual([up.asked.length, b.gateway.inFlight()], [0, {}])
})

test('a draining replica gets nothing new and finishes what it has', async () => {
  const old = await engine()
  const fresh = await engine()
  let finish = () => {}
  old.behave = (asked, response) => {
    finish = () => void answerWell(asked, response, undefined as never)
  }
  const b = await bench([replicaOf(old.port)])
  const first = b.chat({})
  await until(systemClock, 'the old one works', 2_000, () => old.asked.length === 1)
  settle(b, [replicaOf(old.port, { state: 'draining' }), replicaOf(fresh.port)])
  assert.equal((await b.chat({})).headers.get('x-paddock-replica'), `rep_${fresh.port}`)
  assert.deepEqual(b.gateway.inFlight(), { [`rep_${old.port}`]: 1 })
  settle(b, [replicaOf(fresh.port)])
  assert.deepEqual(b.gateway.inFlight(), { [`rep_${old.port}`]: 1 })
  finish()
  assert.equal((await first).status, 200)
  await b.settledUntil(2)
  assert.deepEqual(b.gateway.inFlight(), {})
})

test('a replica that comes back elsewhere under its id', async () => {
  const before = await engine()
  const after = await engine()
  const b = await bench([replicaOf(before.port, { id: 'rep_x' })])
  assert.equal((await b.chat({})).status, 200)
  settle(b, [replicaOf(after.port, { id: 'rep_x', key: 'other' })])
  assert.equal((await b.chat({})).status, 200)
  assert.equal(after.asked[0]!.headers.authorization, 'Bearer other')
})

test('no answer begins in time: 504', async () => {
  const mute = await engine()
  mute.behave = () => {}
  const b = await bench([replicaOf(mute.port)], {
    'gateway.answer_timeout_seconds': 0.3,
    'gateway.first_byte_timeout_seconds': 0.3,
  })
  const [plain, stream] = await Promise.all([b.chat({}), b.chat({ stream: true })])
  assert.deepEqual([plain.status, stream.status], [504, 504])
  assert.deepEqual([await codeOf(plain), await codeOf(stream)], ['upstream_timeout', 'upstream_timeout'])
  await until(systemClock, 'the engine is let go', 2_000, () => mute.asked.every((one) => one.aborted))
})

test('closing: what is under way finishes, what is held is refused, and then nothing is open', async () => {
  const up = await engine()
  let finish = () => {}
  up.behave = (asked, response) => {
    finish = () => void answerWell(asked, response, undefined as never)
  }
  const b = await startBench({
    routes: [
      routeOf({ replicas: [replicaOf(up.port)] }),
      routeOf({ deploymentId: 'dep_2', name: 'cold', phase: 'starting' }),
    ],
  })
  const running = b.chat({})
  const waiting = b.chat({ model: 'cold' })
  await until(systemClock, 'the engine works', 2_000, () => up.asked.length === 1)
  await held(b, 1, 'dep_2')
  const closed = b.gateway.close({ drainMs: 3_000 })
  const refused = await waiting
  assert.deepEqual([refused.status, await codeOf(refused)], [503, 'shutting_down'])
  await assert.rejects(fetch(b.url))
  finish()
  assert.equal((await running).status, 200)
  await closed
  assert.equal(b.settled.length, 2)
})

test('closing waits for the engine of a client that has left', async () => {
  const up = await engine()
  let finish = () => {}
  up.behave = (asked, response) => {
    finish = () => void answerWell(asked, response, undefined as never)
  }
  const b = await startBench({ routes: [routeOf({ replicas: [replicaOf(up.port)] })] })
  const leaving = new AbortController()
  const left = b.chat({}, { signal: leaving.signal })
  await until(systemClock, 'the engine works', 2_000, () => up.asked.length === 1)
  leaving.abort()
  await assert.rejects(left)
  const closed = b.gateway.close({ drainMs: 3_000 })
  await systemClock.sleep(30)
  finish()
  await closed
  assert.deepEqual(
    b.settled.map((one) => [one.status, one.usage?.completionTokens]),
    [[499, 3]],
  )
})

test('closing ends what does not finish in time, and says so', async () => {
  const up = await engine()
  up.behave = (_asked, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': begun\n\n')
  }
  const b = await startBench({ routes: [routeOf({ replicas: [replicaOf(up.port)] })] })
  const response = await b.chat({ stream: true })
  const text = response.text()
  const from = performance.now()
  await b.gateway.close({ drainMs: 100 })
  assert.ok(performance.now() - from < 1_000)
  assert.match(await text, /shutting_down[\s\S]*\[DONE\]/)
  assert.deepEqual(
    b.settled.map((one) => one.status),
    [503],
  )
})
