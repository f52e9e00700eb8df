/** The official client, unmodified. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import OpenAI, {
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
} from 'openai'
import {
  answerWell,
  type Bench,
  chunkEvent,
  MockEngine,
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
      routeOf({ deploymentId: 'dep_s', name: 'stopped', phase: 'stopped' }),
    ],
  })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  engine.behave = answerWell
  engine.asked.length = 0
})
const client = (apiKey = 'a') => new OpenAI({ apiKey, baseURL: `${bench.url}/v1` })
const ask = { model: 'mine', messages: [{ role: 'user' as const, content: 'Hi' }] }

test('plain', async () => {
  const { data, request_id } = await client().chat.completions.create(ask).withResponse()
  assert.deepEqual([data.model, data.choices[0]!.message.content, data.usage?.total_tokens], ['mine', 'Hello', 8])
  assert.match(request_id!, /^req_/)
})

test('streams, without and with usage', async () => {
  const read = async (options: object) => {
    const chunks = []
    for await (const chunk of await client().chat.completions.create({ ...ask, stream: true, ...options }))
      chunks.push(chunk)
    return chunks
  }
  const bare = await read({})
  assert.equal(bare.map((one) => one.choices[0]!.delta.content ?? '').join(''), 'Hello you')
  assert.ok(bare.every((one) => one.usage === undefined && one.model === 'mine'))
  const full = await read({ stream_options: { include_usage: true } })
  assert.deepEqual(full.at(-1)!.choices, [])
  assert.equal(full.at(-1)!.usage?.completion_tokens, 3)
  assert.ok(full.slice(0, -1).every((one) => !one.usage))
})

test('completions and models', async () => {
  await client().completions.create({ model: 'mine', prompt: 'x' })
  assert.equal(engine.asked[0]!.path, '/v1/completions')
  const models = []
  for await (const model of client().models.list()) models.push(model.id)
  assert.deepEqual(models, ['mine', 'stopped'])
  assert.equal((await client().models.retrieve('mine')).id, 'mine')
})

test('errors are the client’s own classes', async () => {
  const create = (key: string, over: object = {}) => client(key).chat.completions.create({ ...ask, ...over } as never)
  await assert.rejects(create('revoked'), AuthenticationError)
  await assert.rejects(create('viewer'), PermissionDeniedError)
  await assert.rejects(create('b'), NotFoundError)
  await assert.rejects(create('a', { stream: 'yes' }), BadRequestError)
})

test('a stopped deployment is not tried again', async () => {
  const before = bench.settled.length
  await assert.rejects(
    client().chat.completions.create({ ...ask, model: 'stopped' }),
    (error) => error instanceof InternalServerError && error.code === 'stopped' && error.status === 503,
  )
  assert.equal(bench.settled.length, before + 1)
})

test('an engine that dies in mid-stream throws in the loop that reads', async () => {
  engine.behave = (asked, response, request) => {
    response.writeHead(200, streamHead).write(chunkEvent(asked, 'x', 1), () => request.socket.resetAndDestroy())
  }
  const stream = await client().chat.completions.create({ ...ask, stream: true })
  await assert.rejects(async () => {
    for await (const chunk of stream) assert.equal(chunk.choices[0]!.delta.content, 'x')
  }, /broke off/)
})
