/** Where one request ends and the next begins: one reading, the standard's, or none. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { systemClock, until } from '../runtime/clock.ts'
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
  bench = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })] })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  engine.behave = answerWell
  engine.asked.length = 0
})

const body = JSON.stringify({ model: 'mine', messages: [] })
const streamed = JSON.stringify({ model: 'mine', messages: [], stream: true })
const hex = body.length.toString(16)
const length = `content-length: ${body.length}`
const start = 'POST /v1/chat/completions HTTP/1.1'
const lines = (...all: string[]) => `${all.join('\r\n')}\r\n\r\n`
const post = (...fields: string[]) => lines(start, 'host: x', 'authorization: Bearer a', ...fields)
const whole = post(length) + body
const inChunks = (text: string) => post('transfer-encoding: chunked') + text
const wholeInChunks = `${hex}\r\n${body}\r\n0\r\n\r\n`

interface Wire {
  socket: Socket
  text: string
  closed: boolean
}
function open(): Wire {
  const socket = connect(bench.gateway.port, '127.0.0.1')
  const wire: Wire = { socket, text: '', closed: false }
  socket.setEncoding('latin1').on('data', (piece) => {
    wire.text += piece
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    wire.closed = true
  })
  return wire
}
const waitFor = (what: string, is: () => boolean) => until(systemClock, what, 20_000, is)
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))

/** Refused, closed, and nothing of it has reached an engine. A second request behind it is never answered. */
const refused: Record<string, [text: string, status: number]> = {
  'both lengths': [post(length, 'transfer-encoding: chunked') + wholeInChunks, 400],
  'both lengths, the other way round': [post('transfer-encoding: chunked', length) + wholeInChunks, 400],
  'two lengths': [post(length, 'content-length: 5') + body, 400],
  'the same length twice': [post(length, length) + body, 400],
  'a list of lengths': [post(`${length}, ${body.length}`) + body, 400],
  'a length with a sign': [post(`content-length: +${body.length}`) + body, 400],
  'a length below nothing': [post('content-length: -5') + body, 400],
  'a length in hex': [post(`content-length: 0x${hex}`) + body, 400],
  'an empty length': [post('content-length:') + body, 400],
  'a length in two': [post('content-length: 1 2') + body, 400],
  'a length beyond numbers': [post(`content-length: ${'9'.repeat(30)}`) + body, 400],
  'an unknown coding before chunked': [post('transfer-encoding: gzip, chunked') + wholeInChunks, 400],
  'a coding after chunked': [post('transfer-encoding: chunked, identity') + wholeInChunks, 400],
  'a coding that looks like chunked': [post('transfer-encoding: xchunked') + wholeInChunks, 400],
  'chunked behind a control character': [post('transfer-encoding: \x0bchunked') + wholeInChunks, 400],
  'chunked twice': [post('transfer-encoding: chunked', 'transfer-encoding: chunked') + wholeInChunks, 400],
  'identity and a length': [post('transfer-encoding: identity', length) + body, 400],
  'chunked in HTTP/1.0': [post('transfer-encoding: chunked').replace('1.1', '1.0') + wholeInChunks, 400],
  'a chunk size that is none': [inChunks('g\r\n'), 400],
  'a chunk size below nothing': [inChunks('-1\r\n'), 400],
  'a chunk size with 0x': [inChunks(`0x${hex}\r\n${body}\r\n0\r\n\r\n`), 400],
  'a chunk size beyond numbers': [inChunks('FFFFFFFFFFFFFFFFF\r\n'), 400],
  'a chunk size that ends in a line feed alone': [inChunks(`${hex}\n${body}\r\n0\r\n\r\n`), 400],
  'a chunk size behind a space': [inChunks(` ${wholeInChunks}`), 400],
  'a chunk size before a space': [inChunks(`${hex} \r\n${body}\r\n0\r\n\r\n`), 400],
  'a chunk longer than its size': [inChunks(`${hex}\r\n${body}x\r\n0\r\n\r\n`), 400],
  'a chunk extension with a line feed': [inChunks(`${hex};a\nb\r\n${body}\r\n0\r\n\r\n`), 400],
  'a chunk extension without end': [inChunks(`${hex};a=${'b'.repeat(20_000)}\r\n${body}\r\n0\r\n\r\n`), 400],
  'a trailer with a space in its name': [inChunks(`${hex}\r\n${body}\r\n0\r\nx trailer: 1\r\n\r\n`), 400],
  'a length among the trailers': [inChunks(`${hex}\r\n${body}\r\n0\r\ncontent-length: 3\r\n\r\n`), 400],
  'a folded field': [post('x-a: b\r\n c', length) + body, 400],
  'a folded field with a tab': [post('x-a: b\r\n\tc', length) + body, 400],
  'line feeds alone': [post(length).replaceAll('\r\n', '\n') + body, 400],
  'one line feed alone': [post(length).replace('host: x\r\n', 'host: x\n') + body, 400],
  'a carriage return alone': [post('x-a: b\rc: d', length) + body, 400],
  'a space before the colon': [post(`content-length : ${body.length}`) + body, 400],
  'a space in a name': [post('x a: b', length) + body, 400],
  'a field without a name': [post(': b', length) + body, 400],
  'a field without a colon': [post('no colon', length) + body, 400],
  'a space before the first field': [post(length).replace('host: x', ' host: x') + body, 400],
  'a NUL in a value': [post('x-a: b\0c', length) + body, 400],
  'a control character in a value': [post('x-a: b\x01c', length) + body, 400],
  'two hosts': [post('host: y', length) + body, 400],
  'the same host twice': [post('Host: x', length) + body, 400],
  'no host': [whole.replace('host: x\r\n', ''), 400],
  'a host with a path': [whole.replace('host: x', 'host: x/../y'), 400],
  'a host with a user': [whole.replace('host: x', 'host: a@x'), 400],
  'two keys': [post('authorization: Bearer b', length) + body, 400],
  'a whole address with another host': [whole.replace(' /v1', ' http://y/v1'), 400],
  'a whole address with a user': [whole.replace(' /v1', ' http://a@x/v1'), 400],
  'a whole address of another kind': [whole.replace(' /v1', ' ftp://x/v1'), 400],
  'the server as a whole': ['OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n', 400],
  'a target that is no path': [whole.replace(' /v1', ' v1'), 400],
  'a control character in the path': [whole.replace('/v1', '/v1\x01'), 400],
  'a fold after the request line': [whole.replace('HTTP/1.1\r\n', 'HTTP/1.1\r\n x: y\r\n'), 400],
  'a method in small letters': [whole.replace('POST', 'post'), 400],
  'an unknown method': [whole.replace('POST', 'BREW'), 400],
  'an unknown version': [whole.replace('HTTP/1.1', 'HTTP/1.2'), 400],
  'HTTP/2 said in HTTP/1': [whole.replace('HTTP/1.1', 'HTTP/2.0'), 505],
  'HTTP/0.9': ['GET /healthz\r\n\r\n', 505],
  'HTTP/2 itself': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  TLS: ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
  'a tunnel': ['CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n', 405],
  'a head that is too large': [post(length, `x-large: ${'x'.repeat(20_000)}`) + body, 431],
  'very many fields': [post(length, ...Array.from({ length: 5000 }, (_, n) => `x${n}: y`)) + body, 431],
  'a path that is too long': [whole.replace('/v1', `/${'v'.repeat(20_000)}`), 431],
  'an unknown expectation': [post(length, 'expect: 200-maybe') + body, 417],
}

for (const [name, [text, status]] of Object.entries(refused))
  test(`refused: ${name}`, async () => {
    const wire = open()
    wire.socket.write(Buffer.from(text + whole, 'latin1'))
    await waitFor('the end of the connection', () => wire.closed)
    assert.deepEqual(statuses(wire.text), [status], wire.text)
    assert.match(wire.text, /connection: close\r\n/i)
    const { error } = JSON.parse(wire.text.slice(wire.text.indexOf('\r\n\r\n') + 4)) as { error: { message: string } }
    assert.ok(error.message.length > 10)
    assert.equal(engine.asked.length, 0)
  })

/** Answered, whatever it looks like; and so is what comes behind it on the same connection. */
const taken: Record<string, string> = {
  'a length': whole,
  chunks: inChunks(wholeInChunks),
  'chunks with extensions and trailers': inChunks(
    `${hex};a=b\r\n${body}\r\n0\r\nx-checksum: 1\r\nauthorization: Bearer b\r\n\r\n`,
  ),
  'chunked in capitals': post('Transfer-Encoding: Chunked') + wholeInChunks,
  'blank lines before': `\r\n\r\n${whole}`,
  'the whole address': whole.replace(' /v1', ' HTTP://X/v1'),
  'a host with a port': whole.replace('host: x', 'host: [::1]:8080'),
  'an empty host': whole.replace('host: x', 'host:'),
  'a value beyond ASCII': post('x-a: \xff', length) + body,
}

for (const [name, text] of Object.entries(taken))
  test(`taken: ${name}`, async () => {
    const wire = open()
    wire.socket.write(Buffer.from(text + whole, 'latin1'))
    await waitFor('two answers', () => wire.text.split('"usage"').length === 3)
    assert.deepEqual(statuses(wire.text), [200, 200])
    assert.equal(engine.asked.length, 2)
    assert.ok(engine.asked.every((asked) => asked.headers['x-checksum'] === undefined))
    wire.socket.destroy()
  })

test('an offer of another protocol is not taken up; the connection goes on as it is', async () => {
  const wire = open()
  wire.socket.write(post(length, 'connection: upgrade, http2-settings', 'upgrade: h2c', 'http2-settings: AAAA') + body)
  await waitFor('the answer', () => wire.text.includes('"usage"'))
  wire.socket.write(whole)
  await waitFor('the next answer', () => wire.text.split('"usage"').length === 3)
  assert.deepEqual(statuses(wire.text), [200, 200])
  wire.socket.destroy()
})

test('HTTP/1.0: answered and closed, a stream without chunks', async () => {
  for (const text of [body, streamed]) {
    const wire = open()
    wire.socket.write(post(`content-length: ${text.length}`).replace('1.1', '1.0') + text)
    await waitFor('the end of the connection', () => wire.closed)
    assert.deepEqual(statuses(wire.text), [200])
    assert.ok(!/transfer-encoding/i.test(wire.text))
    if (text === streamed) assert.ok(wire.text.endsWith('\n\ndata: [DONE]\n\n'), wire.text)
  }
})

/** As the door's own server reads them, and as node's does. */
const readers: Record<string, (text: string, id: string) => string> = {
  'of known length': (text, id) => post(`content-length: ${text.length}`, `x-request-id: ${id}`) + text,
  'in chunks': (text, id) =>
    `${post('transfer-encoding: chunked', `x-request-id: ${id}`)}${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
}

for (const [how, ask] of Object.entries(readers))
  test(`requests ${how} sent at once are answered in the order in which they came`, async () => {
    const release: (() => void)[] = []
    engine.behave = async (asked, response, request) => {
      await new Promise<void>((resolve) => release.push(resolve))
      await answerWell(asked, response, request)
    }
    const wire = open()
    wire.socket.write(ask(streamed, 'first') + ask(body, 'second') + ask(streamed, 'third'))
    for (let answered = 0; answered < 3; ) {
      await waitFor('one is with the engine', () => release.length > 0)
      // Whoever came last is ready first.
      for (const go of release.splice(0).toReversed()) {
        go()
        answered += 1
      }
    }
    await waitFor('three answers', () => wire.text.split('[DONE]').length === 3 && wire.text.endsWith('0\r\n\r\n'))
    assert.deepEqual(statuses(wire.text), [200, 200, 200])
    const ids = [...wire.text.matchAll(/x-request-id: (\w+)/g)].map((match) => match[1])
    assert.deepEqual(ids, ['first', 'second', 'third'])
    wire.socket.destroy()
  })

for (const [how, ask] of Object.entries(readers))
  test(`what is no HTTP behind a request ${how}: nothing is written into its stream`, async () => {
    let end = () => {}
    engine.behave = (asked, response) => {
      response.writeHead(200, streamHead).write(chunkEvent(asked, 'words', 1))
      end = () => response.end('data: [DONE]\n\n')
    }
    const wire = open()
    wire.socket.write(ask(streamed, 'first'))
    await waitFor('the stream has begun', () => wire.text.includes('words'))
    wire.socket.write('what is this\r\n\r\n')
    // Either it is cut off at once, or refused in its turn.
    await systemClock.sleep(50)
    end()
    await waitFor('the end of the connection', () => wire.closed)
    const [stream = '', refusal] = wire.text.split(/(?=HTTP\/1\.1 400)/)
    assert.deepEqual(statuses(stream), [200])
    assert.ok(!stream.includes('invalid_request'), stream)
    if (refusal !== undefined) assert.ok(stream.includes('[DONE]') && stream.endsWith('0\r\n\r\n'), stream)
  })

test('any pieces of any requests: as many answers, in order, as requests', async () => {
  const kinds = fc.constantFrom(whole, inChunks(wholeInChunks), `\r\n${whole}`)
  const run = fc.asyncProperty(
    fc.array(kinds, { minLength: 1, maxLength: 4 }),
    fc.array(fc.nat(), { maxLength: 8 }),
    async (requests, cuts) => {
      engine.asked.length = 0
      const bytes = requests.join('')
      const at = [0, ...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length]
      const wire = open()
      wire.socket.setNoDelay(true)
      for (let n = 1; n < at.length; n++) {
        await new Promise((sent) => wire.socket.write(bytes.slice(at[n - 1], at[n]), sent))
        await new Promise(setImmediate)
      }
      await waitFor('all answers', () => wire.text.split('"usage"').length === requests.length + 1)
      assert.deepEqual(
        statuses(wire.text),
        requests.map(() => 200),
      )
      assert.equal(engine.asked.length, requests.length)
      wire.socket.destroy()
    },
  )
  await fc.assert(run, { numRuns: 25 })
})

test('one byte changed in a request: answered once or refused, never two requests, and the next one is served', async () => {
  const run = fc.asyncProperty(fc.nat(), fc.nat({ max: 255 }), async (at, byte) => {
    engine.asked.length = 0
    const bytes = Buffer.from(whole)
    bytes[at % bytes.length] = byte
    const wire = open()
    wire.socket.end(bytes)
    await waitFor('the end of the connection', () => wire.closed)
    assert.ok(statuses(wire.text).length <= 1, wire.text)
    assert.ok(engine.asked.length <= 1)
    assert.ok(
      statuses(wire.text).every((status) => status === 200 || (status >= 400 && status < 600)),
      wire.text,
    )
  })
  await fc.assert(run, { numRuns: 100 })
  assert.equal((await bench.chat({ messages: [] })).status, 200)
})
