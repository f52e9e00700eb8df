/** Every route with an engine that has it: names, bytes, counts and failures in the words of the route. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import OpenAI, { APIError } from 'openai'
import type { EngineType, InferenceRoute } from '../engines/contract.ts'
import { type Count, eventsOf, type Speech, speeches } from './speech.fixture.ts'
import {
  type Behaviour,
  type Bench,
  dialect,
  keyOf,
  MockEngine,
  replicaOf,
  routeOf,
  startBench,
  streamHead,
} from './testing.ts'

const all = Object.entries(speeches) as [InferenceRoute, Speech][]
const streaming = all.filter(([, { stream }]) => stream !== null)
const count: Count = { prompt: 21, cached: 4, completion: 3, reasoning: 0 }

let engine: MockEngine
let bench: Bench
/** Waits hardly at all for the first byte. */
let hasty: Bench
before(async () => {
  engine = await new MockEngine().listen()
  const everything = { ...dialect, routes: new Set(all.map(([route]) => route)) }
  const engines = new Map<EngineType, typeof dialect>([['vllm', everything]])
  bench = await startBench({
    routes: [
      routeOf({ engine: 'vllm', replicas: [replicaOf(engine.port)] }),
      routeOf({ deploymentId: 'dep_2', name: 'bare', replicas: [replicaOf(engine.port)] }),
      routeOf({
        deploymentId: 'dep_3',
        name: 'emulated',
        engine: 'vllm',
        emulated: true,
        servedBy: 'paddock/starter',
        replicas: [replicaOf(engine.port)],
      }),
    ],
    engines,
  })
  hasty = await startBench({
    routes: [routeOf({ engine: 'vllm', replicas: [replicaOf(engine.port)] })],
    over: { 'gateway.first_byte_timeout_seconds': 0.2 },
    engines,
  })
  bench.keyring.apply([keyOf({ secret: 'other', orgId: 'org_b' })])
})
after(async () => {
  for (const { gateway } of [bench, hasty]) await gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  bench.settled.length = 0
  engine.asked.length = 0
})

const ask = (route: string, body: object, init: Parameters<Bench['send']>[1] = {}) =>
  bench.send(route.startsWith('/') ? route : `/v1/${route}`, { method: 'POST', body: JSON.stringify(body), ...init })

const wellOf =
  ({ plain, stream, usage }: Speech): Behaviour =>
  (asked, response) => {
    const model = String(asked.body.model)
    if (asked.body.stream !== true || stream === null) {
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(plain(model, 'Hello', usage(count))))
      return
    }
    response.writeHead(200, streamHead)
    response.write(stream.begin(model, count))
    for (const piece of ['Hel', 'lo ', 'Grüße']) response.write(stream.piece(model, piece))
    response.end(stream.end(model, count))
  }

async function counted(): Promise<unknown[]> {
  const [{ status, usage, stream }] = (await bench.settledUntil(1)) as [Bench['settled'][0]]
  return [
    status,
    stream,
    usage?.promptTokens,
    usage?.completionTokens,
    usage?.cachedTokens ?? 0,
    usage?.estimated ?? false,
  ]
}

for (const [route, speech] of all) {
  const vectors = speech.stream === null
  test(`${route}: a plain answer, under the client's name for the model, counted`, async () => {
    engine.behave = wellOf(speech)
    const answer = await ask(route, { model: 'mine', ...speech.ask })
    assert.equal(answer.status, 200)
    assert.deepEqual(await answer.json(), speech.plain('mine', 'Hello', speech.usage(count)))
    assert.deepEqual(engine.asked[0]!.body, { model: 'served-1', ...speech.ask })
    assert.equal(engine.asked[0]!.path, `/v1/${route}`)
    assert.deepEqual(await counted(), [200, false, 21, vectors ? 0 : 3, vectors ? 0 : 4, false])
    assert.equal(bench.settled[0]!.route, route)
  })

  test(`${route}: by the paths of a deployment and of its organisation`, async () => {
    engine.behave = wellOf(speech)
    for (const path of ['deployments/dep_1', 'deployments/mine/v1', 'orgs/org_a/deployments/dep_1']) {
      const answer = await ask(`/api/v1/public/${path}/${route}`, speech.ask)
      assert.deepEqual([answer.status, ((await answer.json()) as { model: string }).model], [200, 'mine'])
    }
    const other = await ask(`/api/v1/public/orgs/org_a/deployments/dep_1/${route}`, speech.ask, { key: 'other' })
    assert.deepEqual([other.status, await codeOf(other)], [404, 'not_found'])
  })

  test(`${route}: an engine that does not have it is named, before it is asked and when it says so itself`, async () => {
    const unknown = await ask(route, { model: 'nobody', ...speech.ask })
    assert.deepEqual([unknown.status, await codeOf(unknown)], [404, 'model_not_found'])
    if (!route.endsWith('completions')) {
      const bare = await ask(route, { model: 'bare', ...speech.ask })
      const { error } = (await bare.json()) as { error: { code: string; message: string } }
      assert.deepEqual([bare.status, error.code], [400, 'engine_unsupported'])
      assert.match(error.message, new RegExp(`llamacpp does not serve ${route}`))
      assert.equal(engine.asked.length, 0)
    }
    for (const [status, text] of [
      [404, '{"detail":"Not Found"}'],
      [405, ''],
      [501, '{"error":{"code":501,"message":"Start it with --embeddings","type":"not_supported_error"}}'],
    ] as const) {
      engine.behave = (_asked, response) => void response.writeHead(status).end(text)
      const refused = await ask(route, { model: 'mine', ...speech.ask })
      const { error } = (await refused.json()) as { error: { code: string; message: string } }
      assert.deepEqual([refused.status, error.code], [400, 'engine_unsupported'])
      assert.match(error.message, new RegExp(`vllm does not serve ${route}${status === 501 ? '.*--embeddings' : ''}`))
    }
    engine.behave = (_asked, response) =>
      void response
        .writeHead(404)
        .end('{"error":{"message":"The model x does not exist","type":"NotFoundError","param":"model"}}')
    const ours = await ask(route, { model: 'mine', ...speech.ask })
    assert.deepEqual([ours.status, await codeOf(ours)], [500, 'engine_failed'])
  })
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code
}

for (const [route, speech] of streaming) {
  const { begin, piece, end, failure, textOf } = speech.stream!
  const openAi = route.endsWith('completions')
  const streamed = async (body: object = {}) => {
    const response = await ask(route, { model: 'mine', stream: true, ...speech.ask, ...body })
    return { response, text: await response.text() }
  }

  test(`${route}: a stream, under the client's name, counted; all else as the engine wrote it`, async () => {
    engine.behave = wellOf(speech)
    const { text } = await streamed()
    const written = begin('mine', count) + ['Hel', 'lo ', 'Grüße'].map((one) => piece('mine', one)).join('')
    assert.equal(text, written + end('mine', openAi ? null : count))
    assert.equal(textOf(eventsOf(text)), 'Hello Grüße')
    assert.ok(!text.includes('served-1'))
    assert.deepEqual(await counted(), [200, true, 21, 3, 4, false])
    assert.ok(bench.settled[0]!.timings.ttft !== null)
    assert.equal('stream_options' in engine.asked[0]!.body, openAi)
  })

  test(`${route}: another model answers, and the stream says so`, async () => {
    engine.behave = wellOf(speech)
    const text = await (await ask(route, { model: 'emulated', stream: true, ...speech.ask })).text()
    assert.match(text, /"model":"emulated","emulated":true,"served_by":"paddock\/starter"/)
    for (const event of eventsOf(text)) assert.ok(JSON.stringify(event))
  })

  test(`${route}: one that ends in the middle ends with an error of the route's kind, uncharged`, async () => {
    engine.behave = (asked, response) => {
      response.writeHead(200, streamHead)
      response.end(begin(String(asked.body.model), count) + piece('x', 'Hel'))
    }
    const { text } = await streamed()
    errorAtEnd(text, route)
    assert.deepEqual((await counted())[0], 500)
  })

  test(`${route}: an engine that says that it failed`, async () => {
    for (const said of [failure('out of memory'), 'data: {"error":{"code":500,"message":"out of memory"}}\n\n']) {
      bench.settled.length = 0
      engine.behave = (_asked, response) => {
        response.writeHead(200, streamHead)
        response.end(begin('served-1', count) + piece('served-1', 'Hel') + said + (openAi ? '' : 'data: [DONE]\n\n'))
      }
      const { text } = await streamed()
      errorAtEnd(text, route)
      assert.match(text, /out of memory/)
      assert.equal((await counted())[0], 500)
    }
  })

  test(`${route}: an engine that does not begin: 504 in the words of the route`, async () => {
    engine.behave = () => {}
    const body = JSON.stringify({ model: 'mine', stream: true, ...speech.ask })
    const response = await hasty.send(`/v1/${route}`, { method: 'POST', body })
    const { type, error } = (await response.json()) as { type?: string; error: { code: string; type: string } }
    assert.deepEqual([response.status, error.code], [504, 'upstream_timeout'])
    assert.deepEqual(
      [type, error.type],
      route === 'messages' ? ['error', 'timeout_error'] : [undefined, 'server_error'],
    )
  })
}

/** The last event is an error that the route's clients understand; what came before has passed. */
function errorAtEnd(text: string, route: InferenceRoute): void {
  const events = eventsOf(text)
  const last = events.at(-1)!
  assert.match(JSON.stringify(events.slice(0, -1)), /Hel/)
  if (route.endsWith('completions')) {
    assert.ok(last.error !== undefined && text.endsWith('data: [DONE]\n\n'), text)
    return
  }
  assert.match(text, /event: error\ndata: [^\n]*\n\n$/)
  assert.equal(last.type, 'error')
  const message = route === 'messages' ? (last.error as { message: string }).message : last.message
  assert.equal(typeof message, 'string')
}

test("messages: the key in the header that Anthropic's clients use, theirs only", async () => {
  engine.behave = wellOf(speeches.messages)
  const body = { model: 'mine', ...speeches.messages.ask }
  const headers = { 'x-api-key': 'a', 'anthropic-version': '2023-06-01' }
  assert.equal((await ask('messages', body, { key: null, headers })).status, 200)
  assert.equal((await ask('messages', body, { key: null, headers: { 'x-api-key': 'a' } })).status, 401)
  const wrong = await ask('messages', body, { key: null, headers: { ...headers, 'x-api-key': 'nobody' } })
  const answer = (await wrong.json()) as { type: string; error: { type: string } }
  assert.deepEqual([wrong.status, answer.type, answer.error.type], [401, 'error', 'authentication_error'])
})

test('responses: what would stay in one engine after its answer is not passed', async () => {
  engine.behave = wellOf(speeches.responses)
  for (const [field, value, status] of [
    ['background', true, 400],
    ['previous_response_id', 'resp_1', 400],
    ['conversation', { id: 'conv_1' }, 400],
    ['background', false, 200],
    ['previous_response_id', null, 200],
  ] as const) {
    const response = await ask('responses', { model: 'mine', input: 'Hi', [field]: value })
    assert.equal(response.status, status, `${field} ${value}`)
    const { error } = (await response.json()) as { error?: { code: string; param: string } }
    if (status === 400) assert.deepEqual([error?.code, error?.param], ['engine_parameter_refused', field])
  }
})

test("llama-server's running count: a client that leaves is charged what was made, and never sees it", async () => {
  const timed = {
    ...dialect,
    usage: { streamOptions: { include_usage: true }, extraBody: { timings_per_token: true }, timings: true },
  }
  const own = await startBench({
    routes: [routeOf({ engine: 'llama-server', replicas: [replicaOf(engine.port)] })],
    engines: new Map<EngineType, typeof dialect>([['llama-server', timed]]),
  })
  try {
    engine.behave = (asked, response) => {
      assert.equal(asked.body.timings_per_token, true)
      response.writeHead(200, streamHead)
      for (const n of [1, 2, 3]) {
        const chunk = {
          choices: [{ index: 0, delta: { content: 'x' } }],
          model: 'served-1',
          timings: { cache_n: 8, prompt_n: 2, predicted_n: n },
        }
        response.write(`data: ${JSON.stringify(chunk)}\n\n`)
      }
    }
    const leaving = new AbortController()
    const response = await own.chat({ stream: true }, { signal: leaving.signal })
    let text = ''
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece
      if (eventsOf(text).length === 3) break
    }
    leaving.abort()
    assert.ok(!text.includes('timings') && !text.includes('usage'), text)
    const [{ status, usage }] = (await own.settledUntil(1)) as [Bench['settled'][0]]
    assert.deepEqual([status, usage], [499, { promptTokens: 10, completionTokens: 3, cachedTokens: 8 }])
  } finally {
    await own.gateway.close({ drainMs: 0 })
  }
})

test('the official client on responses and embeddings', async () => {
  const openai = new OpenAI({ apiKey: 'a', baseURL: `${bench.url}/v1`, maxRetries: 0 })
  engine.behave = wellOf(speeches.responses)
  const whole = await openai.responses.create({ model: 'mine', input: 'Hi' })
  assert.deepEqual([whole.model, whole.output_text, whole.usage?.output_tokens], ['mine', 'Hello', 3])
  let text = ''
  let completed = ''
  for await (const event of await openai.responses.create({ model: 'mine', input: 'Hi', stream: true })) {
    if (event.type === 'response.output_text.delta') text += event.delta
    if (event.type === 'response.completed') completed = event.response.model
  }
  assert.deepEqual([text, completed], ['Hello Grüße', 'mine'])
  engine.behave = (_asked, response) => {
    response.writeHead(200, streamHead)
    response.end(speeches.responses.stream!.begin('served-1', null))
  }
  await assert.rejects(
    async () => {
      for await (const event of await openai.responses.create({ model: 'mine', input: 'Hi', stream: true }))
        assert.ok(event)
    },
    (error: unknown) => error instanceof APIError && error.code === 'engine_failed',
  )
  engine.behave = wellOf(speeches.embeddings)
  const vector = await openai.embeddings.create({ model: 'mine', input: 'Hi', encoding_format: 'float' })
  assert.deepEqual([vector.model, vector.data[0]!.embedding], ['mine', [0.25, -1e-7]])
})
