/** What every answer says of itself, whether it is one or a refusal: its id, its replica, what took how long. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { answerWell, type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const messages = [{ role: 'user', content: 'Hi' }]
const engine = new MockEngine()
const replica = () => `rep_${engine.port}`
let bench: Bench
before(async () => {
  await engine.listen()
  bench = await startBench({
    routes: [
      routeOf({ replicas: [replicaOf(engine.port)] }),
      routeOf({ deploymentId: 'dep_2', name: 'empty', phase: 'starting' }),
      routeOf({ deploymentId: 'dep_3', name: 'stopped', phase: 'stopped' }),
    ],
    over: { 'hold.max_seconds': 0.15, 'hold.comment_seconds': 0.05, 'gateway.max_body_bytes': 2_000 },
  })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})

/** Ms by name, in order. */
function timingOf(response: Response): Record<string, number> {
  const header = response.headers.get('server-timing') ?? ''
  const parts = header.split(', ').map((part) => /^(auth|queue|route|ttft);dur=(\d+\.\d\d)$/.exec(part))
  assert.ok(
    parts.every((part) => part !== null),
    `server-timing: ${header}`,
  )
  return Object.fromEntries(parts.map((part) => [part![1]!, Number(part![2])]))
}

async function heard(response: Response) {
  const text = await response.text()
  return {
    status: response.status,
    id: response.headers.get('x-request-id'),
    replica: response.headers.get('x-paddock-replica'),
    timing: timingOf(response),
    text,
  }
}

for (const stream of [false, true])
  test(`${stream ? 'a stream' : 'a plain answer'} names itself, its replica and its times`, async () => {
    engine.behave = answerWell
    const mine = await heard(await bench.chat({ messages, stream }, { headers: { 'x-request-id': 'mine-1' } }))
    assert.deepEqual([mine.status, mine.id, mine.replica], [200, 'mine-1', replica()])
    assert.deepEqual(Object.keys(mine.timing), ['auth', 'queue', 'route', 'ttft'])
    const { auth, queue, route, ttft } = mine.timing as Record<'auth' | 'queue' | 'route' | 'ttft', number>
    assert.ok(ttft + 0.02 >= auth + queue + route, JSON.stringify(mine.timing))
    const made = await heard(await bench.chat({ messages, stream }))
    assert.match(made.id!, /^req_/)
    assert.equal(bench.settled.at(-1)!.requestId, made.id)
  })

test('a refusal names itself and its times wherever it comes from, and its replica when one was asked', async () => {
  const refusals: [string, number, string | null, () => Promise<Response>][] = [
    ['no key', 401, null, () => bench.chat({ messages }, { key: null })],
    ['no right', 403, null, () => bench.chat({ messages }, { key: 'viewer' })],
    ['no model', 404, null, () => bench.chat({ messages, model: 'nobody' })],
    ['a field that is not passed', 400, null, () => bench.chat({ messages, id_slot: 1 })],
    ['no JSON', 400, null, () => bench.send('/v1/chat/completions', { method: 'POST', body: '{' })],
    ['too large', 413, null, () => bench.chat({ messages, filling: 'x'.repeat(3_000) })],
    ['stopped', 503, null, () => bench.chat({ messages, model: 'stopped' })],
    ['refused by the engine', 400, replica(), () => bench.chat({ messages, stream: true })],
    ['failed in the engine', 500, replica(), () => bench.chat({ messages })],
  ]
  engine.behave = (asked, response) => {
    response.writeHead(asked.body.stream ? 400 : 500).end('{"error":{"message":"no"}}')
  }
  for (const [what, status, asked, send] of refusals) {
    const said = await heard(await send())
    assert.deepEqual([said.status, said.replica], [status, asked], what)
    assert.match(said.id!, /^req_/, what)
    assert.ok(said.text.includes(said.id!), what)
    assert.deepEqual(Object.keys(said.timing), ['auth', 'queue', 'route'], what)
  }
})

test('held in vain: the time held is told; a stream that began while it was held has no replica and no first token', async () => {
  const plain = await heard(await bench.chat({ messages, model: 'empty' }))
  assert.deepEqual([plain.status, plain.replica], [503, null])
  assert.ok(plain.timing.queue! >= 100, JSON.stringify(plain.timing))
  const stream = await heard(await bench.chat({ messages, model: 'empty', stream: true }))
  assert.deepEqual([stream.status, stream.replica], [200, null])
  assert.deepEqual(Object.keys(stream.timing), ['auth', 'queue', 'route'])
  assert.match(stream.text, /"code":"starting"/)
})

test('what is no inference has an id as well', async () => {
  for (const [path, method, status] of [
    ['/v1/models', 'GET', 200],
    ['/v1/models/nobody', 'GET', 404],
    ['/v1/chat/completions', 'GET', 405],
    ['/elsewhere', 'GET', 404],
  ] as const) {
    const response = await bench.send(path, { method, headers: { 'x-request-id': 'mine-2' } })
    await response.text()
    assert.deepEqual([response.status, response.headers.get('x-request-id')], [status, 'mine-2'], path)
  }
})

test('what is no HTTP has an id as well', async () => {
  const socket = connect(bench.gateway.port, '127.0.0.1')
  socket.end('POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n')
  let said = ''
  for await (const piece of socket) said += piece
  const id = /x-request-id: (req_\w+)\r\n/.exec(said)?.[1]
  assert.ok(id !== undefined && said.includes(`"request_id":"${id}"`), said)
})
