/** What arrives on the socket is not always what a library would send. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

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

interface Raw {
  socket: Socket
  text(): string
  closed(): boolean
  sees(what: RegExp): Promise<unknown>
}
function open(): Raw {
  const socket = connect(bench.gateway.port, '127.0.0.1')
  let text = ''
  let closed = false
  socket.setEncoding('latin1').on('data', (piece) => {
    text += piece
  })
  socket.on('close', () => {
    closed = true
  })
  socket.on('error', () => {})
  const sees = (what: RegExp) => until(systemClock, `${what}, not ${text}`, 8_000, () => what.test(text))
  return { socket, text: () => text, closed: () => closed, sees }
}
const body = JSON.stringify({ model: 'mine', messages: [] })
const head = (line: string, ...headers: string[]) =>
  `${[line, 'host: x', 'authorization: Bearer a', ...headers].join('\r\n')}\r\n\r\n`
const post = (...headers: string[]) => head('POST /v1/chat/completions HTTP/1.1', ...headers)
const length = `content-length: ${body.length}`

test('Expect: 100-continue is answered once we want the body, and not before', async () => {
  const raw = open()
  raw.socket.write(post(length, 'expect: 100-continue'))
  await raw.sees(/^HTTP\/1.1 100 Continue\r\n\r\n$/)
  raw.socket.write(body)
  await raw.sees(/200 OK/)
  raw.socket.destroy()
  const large = open()
  large.socket.write(post('content-length: 99999999', 'expect: 100-continue'))
  await large.sees(/^HTTP\/1.1 413 [\s\S]*body_too_large/)
  large.socket.destroy()
  const unknown = open()
  unknown.socket.write(post(length, 'expect: 100-continue').replace('Bearer a', 'Bearer x'))
  await unknown.sees(/^HTTP\/1.1 401 /)
  unknown.socket.destroy()
})

test('a client that sends all of its 11 MB before it reads still sees the 413', async () => {
  const raw = open()
  raw.socket.pause()
  const size = 11 * 1024 * 1024
  raw.socket.write(post(`content-length: ${size}`))
  const piece = Buffer.alloc(1024 * 1024, 'x')
  // 7 MB are swallowed after the answer; then the connection may go.
  for (let i = 0; i < 7; i++) await new Promise((sent) => raw.socket.write(piece, sent))
  raw.socket.resume()
  await raw.sees(/^HTTP\/1.1 413 [\s\S]*connection: close[\s\S]*body_too_large/i)
  raw.socket.destroy()
})

test('the absolute form of a target, a query, HEAD', async () => {
  const raw = open()
  raw.socket.write(head('POST http://x/v1/chat/completions?a=1 HTTP/1.1', length) + body)
  await raw.sees(/200 OK/)
  raw.socket.destroy()
  const headed = open()
  headed.socket.write(head('HEAD /v1/models HTTP/1.1', 'connection: close'))
  await until(systemClock, 'the answer', 2_000, () => headed.closed())
  assert.match(headed.text(), /^HTTP\/1.1 200 OK[\s\S]*\r\n\r\n$/)
})

test('a client that goes away while it sends its body', async () => {
  const count = bench.settled.length
  const raw = open()
  raw.socket.write(post('content-length: 5000') + body)
  await systemClock.sleep(30)
  raw.socket.destroy()
  await bench.settledUntil(count + 1)
  const record = bench.settled.at(-1)!
  assert.deepEqual([record.status, record.usage], [499, null])
})
