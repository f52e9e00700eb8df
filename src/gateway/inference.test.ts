import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import {
  answerWell,
  type Bench,
  chunkEvent,
  lastEvents,
  MockEngine,
  plainAnswer,
  replicaOf,
  routeOf,
  startBench,
  streamHead,
} from './testing.ts'

let engine: MockEngine
let bench: Bench
before(async () => {
  engine = await new MockEngine().listen()
  bench = await startBench({
    routes: [
      routeOf({ replicas: [replicaOf(engine.port)] }),
      routeOf({ deploymentId: 'dep_b', orgId: 'org_b', name: 'theirs', replicas: [replicaOf(engine.port)] }),
    ],
    over: { 'gateway.max_body_bytes': 100_000, 'gateway.chunk_timeout_seconds': 0.5 },
  })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  engine.behave = answerWell
  engine.asked.length = 0
  bench.settled.length = 0
})
afterEach(() => assert.deepEqual(bench.gateway.inFlight(), {}))

const messages = [{ role: 'user', content: 'Hi' }]
const errorOf = async (response: Response) => ((await response.json()) as { error: Record<string, unknown> }).error

test('a plain answer: the model under the name that was asked for, exact usage, one settlement', async () => {
  const response = await bench.chat({ messages }, { headers: { 'x-request-id': 'client-7' } })
  assert.equal(response.status, 200)
  const body = (await response.json()) as { model: string; usage: object }
  assert.equal(body.model, 'mine')
  assert.deepEqual(body.usage, { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 })
  assert.equal(response.headers.get('x-request-id'), 'client-7')
  assert.equal(response.headers.get('x-paddock-replica'), `rep_${engine.port}`)
  assert.match(response.headers.get('server-timing') ?? '', /^auth;dur=.*queue;dur=/)
  const [asked] = engine.asked
  assert.equal(asked!.body.model, 'served-1')
  assert.equal(asked!.headers.authorization, 'Bearer engine-secret')
  const [record] = bench.settled
  assert.equal(bench.settled.length, 1)
  assert.deepEqual(record!.usage, { promptTokens: 5, completionTokens: 3 })
  assert.deepEqual(
    [record!.status, record!.deploymentId, record!.orgId, record!.keyId, record!.stream, record!.clientRequestId],
    [200, 'dep_1', 'org_a', 'key_a', false, 'client-7'],
  )
})

test('a stream: no usage for a client that did not ask, [DONE] once, tokens known all the same', async () => {
  const response = await bench.chat({ messages, stream: true })
  const text = await response.text()
  assert.match(response.headers.get('content-type')!, /^text\/event-stream/)
  assert.equal(text.includes('usage'), false)
  assert.equal(text.split('data: [DONE]').length, 2)
  assert.ok(text.endsWith('data: [DONE]\n\n'))
  assert.deepEqual(engine.asked[0]!.body.stream_options, { include_usage: true, continuous_usage_stats: true })
  assert.deepEqual(bench.settled[0]!.usage, { promptTokens: 5, completionTokens: 3 })
  assert.ok(bench.settled[0]!.timings.ttft! > 0)
})

test('the path names the deployment; the operator reaches any org by its own path', async () => {
  const init = { method: 'POST', body: JSON.stringify({ messages }) }
  const own = await bench.send('/api/v1/public/deployments/dep_1/chat/completions', init)
  assert.equal(((await own.json()) as { model: string }).model, 'mine')
  const path = '/api/v1/public/orgs/org_a/deployments/dep_1/completions'
  assert.equal((await bench.send(path, init)).status, 200)
  assert.equal((await bench.send(path, { ...init, key: 'operator' })).status, 200)
  assert.equal(engine.asked[1]!.path, '/v1/completions')
})

for (const [what, key, body, status, code] of [
  ['no key', null, {}, 401, 'missing_key'],
  ['unknown key', 'nobody', {}, 401, 'invalid_key'],
  ['revoked key', 'revoked', {}, 401, 'invalid_key'],
  ['no right', 'viewer', {}, 403, 'forbidden'],
  ['another org by name', 'a', { model: 'theirs' }, 404, 'model_not_found'],
  ['another org by id', 'a', { model: 'dep_b' }, 404, 'model_not_found'],
  ['unknown model', 'a', { model: 'nothing' }, 404, 'model_not_found'],
  ['a field that steers the engine', 'a', { id_slot: 1 }, 400, 'engine_parameter_refused'],
] as const)
  test(`refused: ${what}`, async () => {
    const response = await bench.chat({ messages, ...body }, { key })
    const error = await errorOf(response)
    assert.deepEqual([response.status, error.code], [status, code])
    assert.equal(typeof error.message, 'string')
    assert.equal(engine.asked.length, 0)
    assert.deepEqual(
      bench.settled.map((one) => [one.status, one.code, one.usage]),
      [[status, code, null]],
    )
  })

test('another org’s path is masked as not there', async () => {
  const init = { method: 'POST', body: JSON.stringify({ messages }) }
  for (const path of ['deployments/dep_b', 'orgs/org_b/deployments/dep_b', 'orgs/org_a/deployments/dep_b']) {
    const response = await bench.send(`/api/v1/public/${path}/chat/completions`, init)
    assert.deepEqual([response.status, (await errorOf(response)).code], [404, 'not_found'])
  }
})

test('routes the engine does not have are named', async () => {
  const response = await bench.send('/v1/rerank', { method: 'POST', body: JSON.stringify({ model: 'mine' }) })
  const error = await errorOf(response)
  assert.deepEqual([response.status, error.code], [400, 'engine_unsupported'])
  assert.match(String(error.message), /llamacpp does not serve rerank/)
})

test('malformed bodies', async () => {
  for (const body of ['{"model":', '[]', '', '{"model":7}']) {
    const response = await bench.send('/v1/chat/completions', { method: 'POST', body })
    assert.equal(response.status, 400, body)
    await response.body?.cancel()
  }
})

test('the engine’s refusal passes with its own words and our codes', async () => {
  const say = (status: number, error: object) => {
    engine.behave = (_asked, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
    }
  }
  say(400, { message: 'too long: 9 of 8', code: 'context_length_exceeded', param: 'messages' })
  let error = await errorOf(await bench.chat({ messages, stream: true }))
  assert.deepEqual([error.code, error.param], ['context_length_exceeded', 'messages'])
  assert.match(String(error.message), /too long: 9 of 8/)
  say(401, { message: 'bad engine key' })
  const response = await bench.chat({ messages })
  assert.equal(response.status, 500)
  error = await errorOf(response)
  assert.equal(error.code, 'engine_failed')
  assert.equal(JSON.stringify(error).includes('bad engine key'), false)
  assert.deepEqual(
    bench.settled.map((one) => one.status),
    [400, 500],
  )
})

test('an emulated deployment says so in every answer, and what really answered', async () => {
  bench.routes.apply([
    routeOf({
      deploymentId: 'dep_e',
      name: 'big',
      emulated: true,
      servedBy: 'paddock/starter',
      replicas: [replicaOf(engine.port)],
    }),
  ])
  const marks = { model: 'big', emulated: true, served_by: 'paddock/starter' }
  const marksOf = (body: Record<string, unknown>) => ({
    model: body.model,
    emulated: body.emulated,
    served_by: body.served_by,
  })
  const plain = await (await bench.chat({ model: 'big', messages })).json()
  assert.deepEqual(marksOf(plain as Record<string, unknown>), marks)
  const text = await (await bench.chat({ model: 'big', messages, stream: true })).text()
  const events = text.split('\n\n').filter((line) => line.startsWith('data: {'))
  assert.ok(events.length >= 3)
  for (const event of events) assert.deepEqual(marksOf(JSON.parse(event.slice(6))), marks)
  const one = (await (await bench.send('/v1/models/big')).json()) as Record<string, unknown>
  assert.deepEqual([one.emulated, one.served_by], [true, 'paddock/starter'])
  bench.routes.apply([routeOf({ deploymentId: 'dep_e', name: 'big', phase: 'deleted', removed: true })])
})

test('an engine that forgets [DONE]', async () => {
  engine.behave = (asked, response) => {
    response.writeHead(200, streamHead)
    response.end((chunkEvent(asked, 'x', 1) + lastEvents(asked, 1)).trimEnd())
  }
  const text = await (await bench.chat({ messages, stream: true })).text()
  assert.match(text, /"content":"x"/)
  assert.ok(text.endsWith('\n\ndata: [DONE]\n\n'))
  assert.equal(bench.settled[0]!.status, 200)
})

test('an engine that ends its stream in good order in the middle of the answer: an error event, never silence', async () => {
  engine.behave = (asked, response) => {
    response.writeHead(200, streamHead)
    response.end(chunkEvent(asked, 'x', 1).trimEnd())
  }
  const events = (await (await bench.chat({ messages, stream: true })).text()).trim().split('\n\n')
  assert.match(events.at(-3)!, /"content":"x"/)
  assert.match(events.at(-2)!, /"code":"engine_failed"/)
  assert.equal(events.at(-1), 'data: [DONE]')
  assert.deepEqual(
    bench.settled.map((one) => [one.status, one.code, one.usage?.completionTokens]),
    [[500, 'engine_failed', 1]],
  )
})

test('an engine that dies in mid-stream: an error event, then [DONE]; 500 in the ledger', async () => {
  engine.behave = async (asked, response, request) => {
    response.writeHead(200, streamHead)
    response.write(chunkEvent(asked, 'x', 1), () => request.socket.resetAndDestroy())
  }
  const response = await bench.chat({ messages, stream: true })
  assert.equal(response.status, 200)
  const events = (await response.text()).trim().split('\n\n')
  assert.match(events.at(-2)!, /"code":"engine_failed"/)
  assert.equal(events.at(-1), 'data: [DONE]')
  assert.deepEqual(
    bench.settled.map((one) => [one.status, one.code, one.usage?.completionTokens]),
    [[500, 'engine_failed', 1]],
  )
})

test('an engine that falls silent in mid-stream', async () => {
  engine.behave = (asked, response) => {
    response.writeHead(200, streamHead).write(chunkEvent(asked, 'x', 1))
  }
  const text = await (await bench.chat({ messages, stream: true })).text()
  assert.match(text, /engine_failed/)
  await until(systemClock, 'the engine is let go', 2_000, () => engine.asked[0]!.aborted)
})

test('a client that leaves a stream: the engine hears it at once, what was made is in the ledger', async () => {
  let leftAt = 0
  let heardAt = 0
  engine.behave = (asked, response) => {
    response.writeHead(200, streamHead)
    response.write(chunkEvent(asked, 'x', 1) + chunkEvent(asked, 'y', 2))
    response.on('close', () => {
      heardAt = performance.now()
    })
  }
  const leaving = new AbortController()
  const response = await bench.chat({ messages, stream: true }, { signal: leaving.signal })
  await response.body!.getReader().read()
  leftAt = performance.now()
  leaving.abort()
  const [record] = await bench.settledUntil(1)
  await until(systemClock, 'the engine hears it', 2_000, () => heardAt > 0)
  assert.ok(heardAt - leftAt < 100, `${heardAt - leftAt} ms`)
  assert.deepEqual([record!.status, record!.usage?.completionTokens], [499, 2])
})

test('a client that leaves a plain request: it is drained, its tokens are exact', async () => {
  let answer = () => {}
  engine.behave = (asked, response) => {
    answer = () => response.end(plainAnswer(asked))
  }
  const leaving = new AbortController()
  const request = bench.chat({ messages }, { signal: leaving.signal })
  await until(systemClock, 'the engine works', 2_000, () => engine.asked.length === 1)
  leaving.abort()
  await assert.rejects(request)
  await systemClock.sleep(20)
  assert.equal(engine.asked[0]!.aborted, false)
  assert.equal(bench.settled.length, 0)
  answer()
  const [record] = await bench.settledUntil(1)
  assert.deepEqual([record!.status, record!.usage?.completionTokens], [499, 3])
})

test('bodies over the limit: refused by their length, and by what arrives', async () => {
  const body = 'x'.repeat(200_000)
  const known = await bench.send('/v1/chat/completions', { method: 'POST', body })
  assert.deepEqual([known.status, (await errorOf(known)).code], [413, 'body_too_large'])
  const stream = new Blob([body]).stream()
  const chunked = await bench.send('/v1/chat/completions', { method: 'POST', body: stream, duplex: 'half' } as object)
  assert.deepEqual([chunked.status, (await errorOf(chunked)).code], [413, 'body_too_large'])
  assert.equal(bench.settled.length, 2)
})

test('methods', async () => {
  for (const method of ['GET', 'PUT', 'OPTIONS']) {
    const response = await bench.send('/v1/chat/completions', { method })
    assert.deepEqual([response.status, response.headers.get('allow')], [405, 'POST'])
    await response.body?.cancel()
  }
  assert.equal((await bench.send('/healthz', { method: 'HEAD' })).status, 200)
  assert.equal((await bench.send('/v1/models', { method: 'DELETE' })).status, 405)
})

test('models: the own org’s only', async () => {
  const list = (await (await bench.send('/v1/models')).json()) as { data: { id: string }[] }
  assert.deepEqual(
    list.data.map((one) => one.id),
    ['mine'],
  )
  assert.equal(((await (await bench.send('/v1/models/dep_1')).json()) as { id: string }).id, 'mine')
  assert.equal((await bench.send('/v1/models/theirs')).status, 404)
  assert.equal((await bench.send('/v1/models', { key: null })).status, 401)
})

test('a client that does not read holds back the engine, and gets every byte once it reads', async (t) => {
  // With the usual patience: a machine that is busy may be silent for longer than other tests here allow.
  const patient = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })] })
  t.after(() => patient.gateway.close({ drainMs: 0 }))
  const line = 'z'.repeat(64 * 1024)
  const count = 1000
  let sent = 0
  engine.behave = async (asked, response) => {
    response.writeHead(200, streamHead)
    for (; sent < count; sent++)
      if (!response.write(chunkEvent(asked, line, sent))) await new Promise((go) => response.once('drain', go))
    response.end('data: [DONE]\n\n')
  }
  const response = await patient.chat({ messages, stream: true })
  const reader = response.body!.getReader()
  await reader.read()
  await systemClock.sleep(200)
  const whileSlow = sent
  let bytes = 0
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) bytes += piece.value.length
  assert.ok(whileSlow < count, `${whileSlow} of ${count} chunks were taken`)
  assert.ok(bytes > count * line.length - 4 * 2 ** 20)
  assert.equal(patient.settled[0]!.status, 200)
})
