/** Engines that take their time: who waits hears that the connection is alive, and nobody waits for ever. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import {
  type Bench,
  chunkEvent,
  lastEvents,
  MockEngine,
  replicaOf,
  routeOf,
  startBench,
  streamHead,
} from './testing.ts'

let engine: MockEngine
/** Hears comments often and waits long; waits long for the first byte only; waits hardly at all. */
const benches = {} as Record<'patient' | 'forFirst' | 'hasty', Bench>
before(async () => {
  engine = await new MockEngine().listen()
  const start = (firstByte: number, chunk: number) =>
    startBench({
      routes: [routeOf({ replicas: [replicaOf(engine.port)] })],
      over: {
        'hold.comment_seconds': 0.1,
        'gateway.first_byte_timeout_seconds': firstByte,
        'gateway.chunk_timeout_seconds': chunk,
      },
    })
  benches.patient = await start(30, 30)
  benches.forFirst = await start(30, 0.3)
  benches.hasty = await start(2, 0.3)
})
after(async () => {
  for (const { gateway } of Object.values(benches)) await gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  for (const { settled } of Object.values(benches)) settled.length = 0
})

const comment = /^: [^\n]*\n\n/gm
const ask = { stream: true, messages: [] }
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function settled(bench: Bench): Promise<unknown[]> {
  const [one] = await bench.settledUntil(1)
  return [one!.status, one!.code]
}

test('silence between events is bridged by comments; the events stay whole', async () => {
  engine.behave = async (asked, response) => {
    response.writeHead(200, streamHead)
    const event = chunkEvent(asked, 'Grüße', 1)
    // The first half of an event, and silence: the comment must not fall into it.
    response.write(event.slice(0, 30))
    await pause(250)
    response.write(event.slice(30))
    await pause(250)
    response.end(`${lastEvents(asked, 1)}data: [DONE]\n\n`)
  }
  const text = await (await benches.patient.chat(ask)).text()
  assert.ok((text.match(comment) ?? []).length >= 2, text)
  const events = text.replaceAll(comment, '').split('\n\n')
  assert.match(events[0]!, /^data: \{.*"content":"Grüße".*\}$/)
  assert.equal(events.at(-2), 'data: [DONE]')
  assert.deepEqual(await settled(benches.patient), [200, null])
})

test('an engine that sends its head and then thinks has the time of a first byte, not of a chunk', async () => {
  engine.behave = async (asked, response) => {
    response.writeHead(200, streamHead).flushHeaders()
    await pause(600)
    response.end(`${chunkEvent(asked, 'late', 1)}${lastEvents(asked, 1)}data: [DONE]\n\n`)
  }
  const text = await (await benches.forFirst.chat(ask)).text()
  assert.match(text, /late/)
  assert.ok((text.match(comment) ?? []).length >= 3, text)
  assert.deepEqual(await settled(benches.forFirst), [200, null])
})

test('one that sends its head and nothing else: an error event; 504, not charged', async () => {
  engine.behave = (_asked, response) => response.writeHead(200, streamHead).flushHeaders()
  const response = await benches.hasty.chat(ask)
  assert.equal(response.status, 200)
  const text = await response.text()
  assert.match(text, /data: \{"error":.*"code":"upstream_timeout".*\n\ndata: \[DONE\]\n\n$/)
  assert.deepEqual(await settled(benches.hasty), [504, 'upstream_timeout'])
  await until(systemClock, 'the engine is let go', 5_000, () => engine.asked.at(-1)!.aborted)
})

test('one that sends nothing at all: 504, and no comment that would have hidden it', async () => {
  engine.behave = () => {}
  const response = await benches.hasty.chat(ask)
  assert.deepEqual([response.status, response.headers.get('content-type')], [504, 'application/json'])
  assert.deepEqual(await settled(benches.hasty), [504, 'upstream_timeout'])
})

test('one that falls silent after its first words: an error event after the time of a chunk; 500', async () => {
  engine.behave = (asked, response) => void response.writeHead(200, streamHead).write(chunkEvent(asked, 'x', 1))
  const text = await (await benches.forFirst.chat(ask)).text()
  assert.match(text, /"code":"engine_failed"/)
  assert.deepEqual(await settled(benches.forFirst), [500, 'engine_failed'])
})

test('a stream that was held hears comments also while its engine thinks', async () => {
  const own = await startBench({
    routes: [routeOf({ phase: 'starting' })],
    over: { 'hold.comment_seconds': 0.1 },
  })
  try {
    engine.behave = async (asked, response) => {
      await pause(400)
      response.writeHead(200, streamHead)
      response.end(`${chunkEvent(asked, 'awake', 1)}${lastEvents(asked, 1)}data: [DONE]\n\n`)
    }
    const response = await own.chat(ask)
    own.routes.apply([routeOf({ replicas: [replicaOf(engine.port)] })])
    const text = await response.text()
    const [waiting, thinking] = [/waiting for a replica/g, /the engine is at work/g].map(
      (one) => text.match(one)?.length,
    )
    assert.ok(waiting! >= 1 && thinking! >= 2, text)
    assert.match(text, /awake/)
  } finally {
    await own.gateway.close({ drainMs: 0 })
  }
})
