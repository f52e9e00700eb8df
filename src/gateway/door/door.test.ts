/** Clients that speak bytes: one after the other, all at once, cut anywhere, ordinary and odd on one connection. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { systemClock, until } from '../../runtime/clock.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from '../testing.ts'

const engine = new MockEngine()
const well = engine.behave
let bench: Bench
before(async () => {
  await engine.listen()
  bench = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })] })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})

const wait = (what: string, probe: () => boolean | Promise<boolean>) => until(systemClock, what, 20_000, probe, 5)
const ask = (content: string, more: object = {}) =>
  JSON.stringify({ model: 'mine', messages: [{ role: 'user', content }], ...more })
const post = (body: string, fields = '', path = '/v1/chat/completions') =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\r\n${fields}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

/** A client that keeps what it reads. */
class Client {
  text = ''
  closed = false
  readonly socket: Socket

  constructor(t: TestContext, of: Bench = bench) {
    this.socket = connect({ port: of.gateway.port, host: '127.0.0.1', noDelay: true })
    this.socket.setEncoding('latin1')
    this.socket.on('data', (piece: string) => (this.text += piece))
    this.socket.on('error', () => {})
    this.socket.on('close', () => (this.closed = true))
    t.after(() => void this.socket.destroy())
  }

  /** Status and body of each answer so far that is whole. */
  get answers(): [number, string][] {
    const found: [number, string][] = []
    let at = 0
    for (;;) {
      const head = /^HTTP\/1\.1 (\d+) [\s\S]*?\r\n\r\n/.exec(this.text.slice(at))
      if (head === null) return found
      const start = at + head[0].length
      const length = /\r\ncontent-length: (\d+)/i.exec(head[0])?.[1]
      const end = length === undefined ? this.text.indexOf('0\r\n\r\n', start) + 5 : start + Number(length)
      if (end === 4 || end > this.text.length) return found
      found.push([Number(head[1]), this.text.slice(start, end)])
      at = end
    }
  }

  get statuses(): number[] {
    return this.answers.map(([status]) => status)
  }

  until(count: number): Promise<unknown> {
    return wait(`${count} answers`, () => this.answers.length >= count)
  }
}

const contentOf = (body: string) => JSON.parse(body).choices[0].message.content
const echo: typeof engine.behave = (asked, response) => {
  const { content } = (asked.body.messages as { content: string }[])[0]!
  const answer = { choices: [{ message: { content } }], usage: { prompt_tokens: 1, completion_tokens: 1 } }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}

test('the head of an answer: what clients and people between need', async (t) => {
  engine.behave = well
  const client = new Client(t)
  client.socket.write(post(ask('x')))
  await client.until(1)
  const head = client.text.slice(0, client.text.indexOf('\r\n\r\n'))
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n/)
  for (const field of [
    /content-type: application\/json/,
    /content-length: \d+/,
    /x-request-id: req_/,
    /server-timing: auth/,
  ])
    assert.match(head, field)
  assert.match(head, /\r\nconnection: keep-alive/)
  const date = Date.parse(/\r\ndate: (.*)/.exec(head)![1]!)
  assert.ok(Math.abs(date - Date.now()) < 10_000)
})

test('wherever the network cuts it, and however many come at once, each request is answered in its turn', async (t) => {
  engine.behave = echo
  const property = fc.asyncProperty(
    fc.array(fc.string({ maxLength: 40, unit: 'binary' }), { minLength: 1, maxLength: 4 }),
    fc.array(fc.nat(), { maxLength: 8 }),
    async (contents, cuts) => {
      const client = new Client(t)
      const bytes = Buffer.from(contents.map((content) => post(ask(content))).join(''))
      const at = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b)
      for (const [i, end] of [...at, bytes.length].entries()) {
        client.socket.write(bytes.subarray(at[i - 1] ?? 0, end))
        await new Promise(setImmediate)
      }
      await client.until(contents.length)
      client.socket.destroy()
      const said = client.answers.map(([, body]) => contentOf(Buffer.from(body, 'latin1').toString('utf8')))
      assert.deepEqual(said, contents)
    },
  )
  await fc.assert(property, { numRuns: 60 })
})

test('heads of any size that is allowed, with the body behind them in one piece', async (t) => {
  engine.behave = echo
  const client = new Client(t)
  const sizes = [1_800, 1_990, 2_010, 2_040, 2_048, 2_100, 5_000, 12_000]
  for (const [n, size] of sizes.entries()) {
    client.socket.write(post(ask(`request ${n}`), `x-long: ${'v'.repeat(size)}\r\n`))
    await client.until(n + 1)
  }
  const said = client.answers.map(([, body]) => contentOf(body))
  assert.deepEqual(
    said,
    sizes.map((_, n) => `request ${n}`),
  )
})

test('a request that is odd goes to the general server with its connection, and those after it', async (t) => {
  engine.behave = well
  const body = ask('x')
  const odd: Record<string, [string, number]> = {
    'another method': ['GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\r\n\r\n', 200],
    'another surface': ['GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n', 200],
    'a body in chunks': [
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      200,
    ],
    'a large body': [post(ask('y'.repeat(1_500_000))), 200],
    'two lengths': [post(body, 'content-length: 1\r\n'), 400],
  }
  for (const [what, [bytes, status]] of Object.entries(odd)) {
    for (const ahead of [true, false]) {
      const client = new Client(t)
      client.socket.write(post(body))
      if (!ahead) await client.until(1)
      client.socket.write(bytes)
      if (status === 200) client.socket.write(post(body))
      const statuses = status === 200 ? [200, 200, 200] : [200, status]
      await client.until(statuses.length)
      assert.deepEqual(client.statuses, statuses, what)
      client.socket.destroy()
    }
  }
})

test('Expect: 100-continue is answered before the body, also after ordinary requests', async (t) => {
  engine.behave = well
  const client = new Client(t)
  client.socket.write(post(ask('x')))
  await client.until(1)
  client.text = ''
  const [head, body] = post(ask('x'), 'expect: 100-continue\r\n').split('\r\n\r\n') as [string, string]
  client.socket.write(`${head}\r\n\r\n`)
  await wait('it may go on', () => client.text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'))
  client.text = ''
  client.socket.write(body)
  await client.until(1)
  assert.deepEqual(client.statuses, [200])
})

test('a body that nobody reads is read over, and the connection goes on', async (t) => {
  engine.behave = well
  const client = new Client(t)
  const refused = post(ask('x'.repeat(20_000))).replace('Bearer a', 'Bearer wrong')
  client.socket.write(refused.slice(0, 1_000))
  await client.until(1)
  client.socket.write(refused.slice(1_000) + post(ask('x')))
  await client.until(2)
  assert.deepEqual(client.statuses, [401, 200])
})

test('a larger one ends the connection after the answer', async (t) => {
  const client = new Client(t)
  const refused = post(ask('x'.repeat(500_000))).replace('Bearer a', 'Bearer wrong')
  client.socket.write(refused.slice(0, 1_000))
  await client.until(1)
  assert.match(client.text, /\r\nconnection: close\r\n/)
  client.socket.write(refused.slice(1_000))
  await wait('it ends', () => client.closed)
  assert.deepEqual(client.statuses, [401])
})

test('streams: chunks in the order of the engine, and the next request on the same connection', async (t) => {
  engine.behave = well
  const client = new Client(t)
  client.socket.write(post(ask('x', { stream: true })) + post(ask('y')))
  await client.until(2)
  assert.match(
    client.text,
    /^HTTP\/1\.1 200 OK\r\ncontent-type: text\/event-stream[\s\S]*transfer-encoding: chunked\r\n/,
  )
  const [[, stream]] = client.answers as [[number, string]]
  let at = 0
  let events = ''
  while (!stream.startsWith('0\r\n\r\n', at)) {
    const size = /([0-9a-f]+)\r\n/y
    size.lastIndex = at
    const length = Number.parseInt(size.exec(stream)![1]!, 16)
    events += stream.slice(size.lastIndex, size.lastIndex + length)
    assert.equal(stream.slice(size.lastIndex + length, size.lastIndex + length + 2), '\r\n')
    at = size.lastIndex + length + 2
  }
  assert.deepEqual(
    [...events.matchAll(/"content":"(.*?)"/g)].map(([, word]) => word),
    ['Hel', 'lo ', 'you'],
  )
  assert.ok(events.endsWith('data: [DONE]\n\n'))
})

test('a client that reads slowly holds the engine back, and gets all of it', async (t) => {
  const event = `data: {"choices":[{"delta":{"content":"${'~'.repeat(16_000)}"}}]}\n\n`
  const events = 2_000
  let written = 0
  engine.behave = (_asked, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const more = (): void => {
      while (written < events) {
        written += 1
        if (!response.write(event)) return void response.once('drain', more)
      }
      response.end('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    }
    more()
  }
  const client = new Client(t)
  client.socket.pause()
  client.socket.write(post(ask('x', { stream: true })))
  let seen = -1
  await wait('the engine stands still', async () => {
    const still = written > 0 && written === seen
    seen = written
    await systemClock.sleep(60)
    return still && written === seen
  })
  assert.ok(written < events, 'it has not written all')
  let waves = 0
  let tail = ''
  client.socket.removeAllListeners('data')
  client.socket.on('data', (piece: string) => {
    for (let at = piece.indexOf('~'); at !== -1; at = piece.indexOf('~', at + 1)) waves += 1
    tail = (tail + piece).slice(-100)
  })
  client.socket.resume()
  await wait('the end', () => tail.endsWith('data: [DONE]\n\n\r\n0\r\n\r\n'))
  assert.equal(waves, events * 16_000)
})

test('a client that leaves, with a reset or in good order, ends its stream at the engine', async (t) => {
  engine.behave = async (asked, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
    await wait('the client is gone', () => asked.aborted)
  }
  for (const leave of ['destroy', 'resetAndDestroy', 'end'] as const) {
    const before = bench.settled.length
    const client = new Client(t)
    client.socket.write(post(ask('x', { stream: true })))
    await wait('it streams', () => client.text.includes('"content":"x"'))
    client.socket[leave]()
    await wait('it is settled', () => bench.settled.length > before)
    assert.equal(bench.settled.at(-1)!.status, 499)
    await wait('the engine hears it', () => engine.asked.at(-1)!.aborted)
  }
})

test('a client that leaves in the middle of its body', async (t) => {
  const before = bench.settled.length
  const client = new Client(t)
  client.socket.end(post(ask('x')).slice(0, -5))
  await wait('it is settled', () => bench.settled.length > before)
  assert.equal(bench.settled.at(-1)!.status, 499)
})

test('an engine cannot write into the head of an answer', async (t) => {
  engine.behave = (_asked, response) => {
    response.socket!.end('HTTP/1.1 200 OK\r\ncontent-type: a\rx-evil: 1\r\ncontent-length: 2\r\n\r\n{}')
  }
  const client = new Client(t)
  client.socket.write(post(ask('x')))
  await client.until(1)
  assert.ok(client.statuses[0]! >= 500)
  assert.ok(!client.text.includes('x-evil'))
})

test('a stop: idle connections end at once, answers under way come whole and are the last of their connection', async (t) => {
  const own = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })] })
  let goOn = () => {}
  engine.behave = async (asked, response, request) => {
    await new Promise<void>((resolve) => (goOn = resolve))
    await well(asked, response, request)
  }
  const [idle, busy] = [new Client(t, own), new Client(t, own)]
  await once(idle.socket, 'connect')
  const asked = engine.asked.length
  busy.socket.write(post(ask('x')))
  await wait('the engine is asked', () => engine.asked.length > asked)
  const closed = own.gateway.close({ drainMs: 20_000 })
  await wait('the idle one ends', () => idle.closed)
  goOn()
  await closed
  await wait('the other one ends', () => busy.closed)
  assert.deepEqual(busy.statuses, [200])
})
