/** Which replica gets what, over HTTP; and that what is counted in flight is counted out however a request ends. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { type Counters, soloCounters } from './counters.ts'
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

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function start(
  count: number,
  counters: Counters = soloCounters(),
): Promise<{ engines: MockEngine[]; bench: Bench }> {
  const engines = await Promise.all(Array.from({ length: count }, () => new MockEngine().listen()))
  const replicas = engines.map(({ port }) => replicaOf(port))
  const bench = await startBench({ routes: [routeOf({ replicas })], counters })
  ends.push(...engines.map((engine) => () => engine.close()))
  ends.push(() => bench.gateway.close({ drainMs: 0 }))
  return { engines, bench }
}

const words = (seed: string) => Array.from({ length: 300 }, (_, i) => `${seed}${i}`).join(' ')
const question = (name: string) => ({ role: 'user', content: words(name) })

test('conversations stay together, sessions too, and many are spread', async () => {
  const { bench } = await start(4)
  const where = async (body: object, headers = {}) => {
    const text = JSON.stringify({ model: 'mine', ...body })
    const answer = await bench.send('/v1/chat/completions', { method: 'POST', body: text, headers })
    await answer.text()
    return answer.headers.get('x-paddock-replica')
  }
  const homes = new Set<string | null>()
  for (let n = 0; n < 12; n++) {
    const messages: object[] = [question(`person ${n}`)]
    const home = await where({ messages })
    homes.add(home)
    for (let turn = 0; turn < 3; turn++) {
      messages.push({ role: 'assistant', content: words(`answer ${turn}`) }, { role: 'user', content: 'more' })
      assert.equal(await where({ messages, stream: turn === 1 }), home)
    }
  }
  assert.ok(homes.size >= 3, `12 conversations are with ${homes.size} replicas`)
  const session = { 'x-session-id': 'one' }
  const together = new Set<string | null>()
  for (let n = 0; n < 8; n++) together.add(await where({ messages: [question(`topic ${n}`)] }, session))
  assert.equal(together.size, 1)
})

test('tokens in flight: the prompt is counted until the first word, the answer to its end, and nothing remains', async () => {
  const counters = soloCounters()
  const { engines, bench } = await start(2, counters)
  const slots = engines.map(({ port }) => counters.slot(`tokens rep_${port}`))
  const tokens = () => slots.reduce((sum, slot) => sum + counters.total(slot), 0)
  const steps: (() => void)[] = []
  const step = () => new Promise<void>((resolve) => steps.push(resolve))
  for (const engine of engines)
    engine.behave = async (asked, response) => {
      await step()
      response.writeHead(200, streamHead).write(chunkEvent(asked, 'Hel', 1))
      await step()
      response.end(chunkEvent(asked, 'lo', 2))
    }
  const asking = bench.chat({ messages: [question('a')], stream: true, max_tokens: 100 })
  await until(systemClock, 'it is with an engine', 5_000, () => steps.length === 1)
  assert.ok(tokens() > 400, `${tokens()}`)
  steps[0]!()
  const answer = await asking
  await until(systemClock, 'the first word', 5_000, () => steps.length === 2 && tokens() === 100)
  steps[1]!()
  await answer.text()
  await until(systemClock, 'nothing is counted', 5_000, () => tokens() === 0)
})

test('tokens in flight: nothing remains of plain answers, refusals, clients that leave, and engines that break', async () => {
  const counters = soloCounters()
  const { engines, bench } = await start(3, counters)
  const names = engines.flatMap(({ port }) =>
    ['tokens', 'requests'].map((what) => counters.slot(`${what} rep_${port}`)),
  )
  for (const engine of engines)
    engine.behave = async (asked, response, request) => {
      const fate = String((asked.body.messages as { content: string }[])[0]!.content)
      if (fate.startsWith('reset')) request.socket.resetAndDestroy()
      else if (fate.startsWith('refuse')) response.writeHead(400).end('{"error":{"message":"no"}}')
      else if (fate.startsWith('hang')) response.writeHead(200, streamHead).write(chunkEvent(asked, 'Hel', 1))
      else if (fate.startsWith('break')) {
        response.writeHead(200, streamHead).write(chunkEvent(asked, 'Hel', 1), () => request.socket.resetAndDestroy())
      } else await answerWell(asked, response, request)
    }
  const fates = ['well', 'refuse', 'reset', 'break', 'well']
  const asked = Array.from({ length: 40 }, (_, n) =>
    bench.chat({ messages: [question(`${fates[n % 5]} ${n}`)], stream: n % 2 === 0 }).then((answer) => answer.text()),
  )
  const stop = new AbortController()
  const hanging = await bench.chat({ messages: [question('hang')], stream: true }, { signal: stop.signal })
  await Promise.all(asked)
  stop.abort()
  await hanging.text().catch(() => {})
  await bench.settledUntil(41)
  const left = () => names.map((slot) => counters.total(slot))
  await until(systemClock, 'nothing is counted', 5_000, () => left().every((count) => count === 0))
})
