/** Clients that read slowly, not at all, or leave: what they cost, and how soon their engines hear of it. */
import assert from 'node:assert/strict'
import { subscribe } from 'node:diagnostics_channel'
import { connect, type Socket } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { type Bench, chunkEvent, MockEngine, replicaOf, routeOf, startBench, streamHead } from './testing.ts'

let engine: MockEngine
/** With all the time in the world, and with hardly any for a client that does not read. */
const benches = {} as Record<'patient' | 'hasty', Bench>
before(async () => {
  engine = await new MockEngine().listen()
  const routes = [routeOf({ replicas: [replicaOf(engine.port)] })]
  benches.patient = await startBench({ routes })
  benches.hasty = await startBench({ routes, over: { 'gateway.chunk_timeout_seconds': 2.5 } })
})
after(async () => {
  for (const { gateway } of Object.values(benches)) await gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  ends.clear()
  engine.asked.length = 0
  for (const { settled } of Object.values(benches)) settled.length = 0
})

/** The gateways' ends of their clients' connections. */
const ends = new Set<Socket>()
subscribe('net.server.socket', (message) => {
  const { socket } = message as { socket: Socket }
  if (socket.localPort !== engine.port) ends.add(socket)
})

const readers = 8
const eventBytes = 32 * 1024
/** Of one stream, in the gateway: a few events, whatever the engine would send. */
const keptBytesMaximum = 512 * 1024
const body = JSON.stringify({ model: 'mine', stream: true, messages: [] })
const request = [
  'POST /v1/chat/completions HTTP/1.1',
  'host: x',
  'authorization: Bearer a',
  `content-length: ${body.length}`,
  '',
  body,
].join('\r\n')

/** Asks for a stream and reads no further than its head. */
function asksAndStops({ gateway }: Bench): Socket {
  const socket = connect(gateway.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.once('data', () => socket.pause())
  socket.write(request)
  return socket
}

/** An engine that never ends and writes as fast as it may; counts its bytes. */
function endless(): { sent: number } {
  const count = { sent: 0 }
  const text = 'z'.repeat(eventBytes)
  engine.behave = async (asked, response) => {
    response.writeHead(200, streamHead)
    let goOn = () => {}
    for (const sign of ['drain', 'close']) response.on(sign, () => goOn())
    for (let n = 1; !response.destroyed; n++) {
      const event = chunkEvent(asked, text, n)
      count.sent += event.length
      if (response.write(event)) continue
      await new Promise<void>((resolve) => {
        goOn = resolve
      })
    }
  }
  return count
}

/** The engine has not been able to write for a while: every buffer on the way is full. */
async function stalled(count: { sent: number }): Promise<void> {
  let last = -1
  let same = 0
  await until(systemClock, 'the engine is held back', 30_000, () => {
    same = count.sent === last ? same + 1 : 0
    last = count.sent
    return last > 0 && same >= 30
  })
}

test('clients that stop reading hold back their engines, and cost the gateway a few events each', async (t) => {
  const count = endless()
  const sockets = Array.from({ length: readers }, () => asksAndStops(benches.patient))
  await until(systemClock, 'all streams have begun', 20_000, () => engine.asked.length === readers)
  await stalled(count)
  const kept = [...ends].map((end) => end.writableLength)
  t.diagnostic(`the engine wrote ${count.sent >> 20} MiB, the gateway keeps ${Math.max(...kept) >> 10} KiB of one`)
  assert.equal(kept.length, readers)
  assert.ok(Math.max(...kept) < keptBytesMaximum && Math.min(...kept) > 0, `${kept}`)
  // Another client is served meanwhile.
  engine.behave = (asked, response) =>
    void response.writeHead(200, streamHead).end(`${chunkEvent(asked, 'x', 1)}data: [DONE]\n\n`)
  assert.match(await (await benches.patient.chat({ stream: true, messages: [] })).text(), /\[DONE\]/)
  for (const socket of sockets) socket.destroy()
  const settled = await benches.patient.settledUntil(readers + 1)
  assert.deepEqual(settled.map(({ status }) => status).sort(), [200, ...Array(readers).fill(499)])
  await until(systemClock, 'the engines are let go', 20_000, () =>
    engine.asked.slice(0, readers).every((one) => one.aborted),
  )
})

test('a client that never reads again is cut off, and charged what it was sent', async () => {
  endless()
  const socket = asksAndStops(benches.hasty)
  const [one] = await benches.hasty.settledUntil(1)
  assert.equal(one!.status, 499)
  assert.ok(one!.usage!.completionTokens > 0 && !one!.usage!.estimated)
  await until(systemClock, 'the engine is let go', 20_000, () => engine.asked[0]!.aborted)
  socket.destroy()
})

test('an engine hears within 20 ms that the client of its stream has left', async (t) => {
  const took: number[] = []
  for (let n = 0; n < 15; n++) {
    let heardAt = 0
    engine.behave = (asked, response) => {
      response.on('close', () => {
        heardAt = performance.now()
      })
      response.writeHead(200, streamHead).write(chunkEvent(asked, 'x', 1))
    }
    const socket = connect(benches.patient.gateway.port, '127.0.0.1')
    let text = ''
    socket
      .on('error', () => {})
      .on('data', (piece) => {
        text += String(piece)
      })
    socket.write(request)
    await until(systemClock, 'the first event', 20_000, () => text.includes('"x"'))
    const leftAt = performance.now()
    socket.destroy()
    await until(systemClock, 'the engine hears it', 20_000, () => heardAt > 0)
    took.push(heardAt - leftAt)
  }
  took.sort((a, b) => a - b)
  const ms = (at: number) => took[at]!.toFixed(1)
  t.diagnostic(`ms: fastest ${ms(0)}, median ${ms(7)}, slowest ${ms(14)}`)
  // What a busy machine adds now and then is not ours.
  assert.ok(took[7]! <= 20, `${took}`)
})
