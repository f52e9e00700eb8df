/** Engines that give an answer up with status 200: it is no answer, on any route, and never ends as one. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import type { EngineType, InferenceRoute } from '../engines/contract.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { type Count, eventsOf, speeches } from './speech.fixture.ts'
import {
  type Asked,
  answerWell,
  type Behaviour,
  type Bench,
  dialect,
  MockEngine,
  replicaOf,
  routeOf,
  startBench,
  streamHead,
} from './testing.ts'

const routes = ['chat/completions', 'completions', 'responses', 'messages'] as const
const count: Count = { prompt: 9, cached: 0, completion: 2, reasoning: 0 }
const routeAsked = ({ path }: Asked) => path.slice('/v1/'.length) as (typeof routes)[number]

/** As vLLM words it on each route. */
const inItsWords = (text: string) =>
  text
    .replaceAll(/"finish_reason":"stop"/g, '"finish_reason":"abort"')
    .replaceAll(/"stop_reason":"end_turn"/g, '"stop_reason":null')
    .replace(/("response":\{.*?|^\{.*?)"status":"completed"/, '$1"status":"cancelled"')

const givesUp: Behaviour = (asked, response) => {
  const { plain, usage, stream } = speeches[routeAsked(asked)]
  const model = String(asked.body.model)
  if (asked.body.stream !== true) {
    const text = inItsWords(JSON.stringify(plain(model, 'half', usage(count))))
    response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    return
  }
  response.writeHead(200, streamHead)
  response.write(stream!.begin(model, count) + stream!.piece(model, 'one ') + stream!.piece(model, 'two '))
  // Event by event, as their servers write.
  for (const event of stream!.end(model, count).split(/(?<=\n\n)/)) response.write(inItsWords(event))
  response.end()
}

const everything = { ...dialect, routes: new Set<InferenceRoute>(routes) }
const engines = [new MockEngine(), new MockEngine()] as const
const [bad, good] = engines
let alone: Bench
let both: Bench
const bench = (ports: number[]) =>
  startBench({
    routes: [routeOf({ engine: 'vllm', replicas: ports.map((port) => replicaOf(port)) })],
    engines: new Map<EngineType, typeof dialect>([['vllm', everything]]),
  })
before(async () => {
  for (const engine of engines) await engine.listen()
  alone = await bench([bad.port])
  both = await bench([bad.port, good.port])
})
after(async () => {
  for (const bench of [alone, both]) await bench.gateway.close({ drainMs: 0 })
  for (const engine of engines) await engine.close()
})
beforeEach(() => {
  bad.behave = givesUp
  bad.healthy = true
  good.behave = answerWell
  for (const engine of engines) engine.asked.length = 0
  alone.settled.length = 0
  both.settled.length = 0
})

const saying = (route: (typeof routes)[number], text: string): object =>
  JSON.parse(JSON.stringify(speeches[route].ask).replace('Hi', text))

async function ask(bench: Bench, route: (typeof routes)[number], over: object = {}) {
  const body = JSON.stringify({ model: 'mine', ...speeches[route].ask, ...over })
  const response = await bench.send(`/v1/${route}`, { method: 'POST', body })
  return { status: response.status, text: await response.text(), replica: response.headers.get('x-paddock-replica') }
}

for (const route of routes) {
  test(`${route}, plain: nobody else is there, so it failed and nothing is charged`, async () => {
    const { status, text } = await ask(alone, route)
    assert.equal(status, 500, text)
    assert.match(text, /"message":"The engine broke off its answer\./)
    const [settled] = await alone.settledUntil(1)
    assert.deepEqual([settled!.status, settled!.code], [500, 'engine_failed'])
  })

  test(`${route}, a stream: it ends with an error, whatever came before, and nothing is charged`, async () => {
    const { status, text } = await ask(alone, route, { stream: true })
    assert.equal(status, 200)
    const events = eventsOf(text)
    assert.equal(speeches[route].stream!.textOf(events.filter((event) => !('error' in event))), 'one two ', text)
    assert.match(JSON.stringify(events.at(-1)), /"message":"The engine broke off its answer\./, text)
    assert.equal(text.endsWith('data: [DONE]\n\n'), route.endsWith('completions'))
    assert.ok(!/message_stop|response\.completed/.test(text), text)
    const [settled] = await alone.settledUntil(1)
    assert.deepEqual([settled!.status, settled!.code], [500, 'engine_failed'])
    assert.equal(settled!.usage?.completionTokens, 2)
  })
}

test('a plain answer comes from another replica', async () => {
  good.behave = (asked, response) => {
    const { plain, usage } = speeches[routeAsked(asked)]
    response.end(JSON.stringify(plain(String(asked.body.model), 'whole', usage(count))))
  }
  // Which replica is asked first depends on the prompt.
  for (const route of routes)
    for (let n = 0; n < 10; n++) {
      const { status, text, replica } = await ask(both, route, saying(route, `Hi ${n}`))
      assert.deepEqual([status, replica, text.includes('whole')], [200, `rep_${good.port}`, true], text)
    }
  assert.ok(bad.asked.length >= 1)
  assert.deepEqual(new Set(both.settled.map((one) => one.status)), new Set([200]))
})

test('one that gave an answer up is out of turn until it answers its probe', async (t) => {
  const fresh = await bench([bad.port, good.port])
  t.after(() => fresh.gateway.close({ drainMs: 0 }))
  bad.healthy = false
  const chat = (n: number) => ask(fresh, 'chat/completions', { stream: true, ...saying('chat/completions', `Hi ${n}`) })
  for (let n = 0; n < 30; n++) await chat(n)
  const failed = () => fresh.settled.filter(({ status }) => status === 500).length
  assert.deepEqual([failed(), bad.asked.length], [1, 1])
  bad.behave = answerWell
  bad.healthy = true
  await until(systemClock, 'it is asked again', 30_000, async () => {
    await chat(fresh.settled.length)
    return bad.asked.length > 1
  })
  assert.equal(failed(), 1)
})

test('an answer that only speaks of it is an answer', async () => {
  const words = 'said: "finish_reason":"abort", "status":"cancelled", "stop_reason":null'
  bad.behave = (asked, response) => {
    const { plain, usage, stream } = speeches[routeAsked(asked)]
    const model = String(asked.body.model)
    if (asked.body.stream === true)
      response.writeHead(200, streamHead).end(stream!.piece(model, words) + stream!.end(model, count))
    else response.end(JSON.stringify(plain(model, words, usage(count))))
  }
  for (const route of routes)
    for (const over of [{}, { stream: true }]) {
      const { status, text } = await ask(alone, route, over)
      assert.equal(status, 200, text)
      assert.ok(!text.includes('broke off'), text)
    }
  assert.ok(alone.settled.every((one) => one.status === 200))
})
