/** Simulated engines over HTTP: what the gateway and the reconciler find there. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { systemClock, until } from '../../runtime/clock.ts'
import type { Launch } from '../contract.ts'
import { simulated } from './driver.ts'
import { EngineRoom } from './room.ts'

const room = new EngineRoom(systemClock)
const server = createServer(room.serve)
await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
after(() => {
  server.close()
  server.closeAllConnections()
})

let engines = 0

/** An engine that is ready at once unless its arguments say otherwise. */
function open(args: string[] = [], maxNumSeqs = 2) {
  const apiKey = `key-${(engines += 1)}`
  const quick = ['--load-seconds=0', '--warmup-seconds=0', '--first-token-ms=5', '--tokens-per-second=1000']
  const spec = { type: 'simulated' as const, maxNumSeqs, additionalArgs: [...quick, ...args] }
  const model = { modelId: 'm', format: 'gguf' as const, path: '', sizeBytes: 0, contextSize: 100 }
  const host = { address: '', port: 0, threads: 1, gpuIds: [], modelPath: '', node: '', packageRoot: '' }
  const launch: Launch = simulated.launch({ spec, model, host, servedName: 'served', apiKey })
  const fate = room.foresee(launch, systemClock.now(), 1)
  room.open(launch, fate)
  const ask = (path: string, body?: object, signal?: AbortSignal) =>
    fetch(url + path, {
      headers: { authorization: `Bearer ${apiKey}` },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
  const chat = (body: object = {}, signal?: AbortSignal) =>
    ask('/v1/chat/completions', { messages: [{ role: 'user', content: 'one two' }], ...body }, signal)
  const load = async () => simulated.metrics(await (await ask('/metrics')).text())
  return { launch, fate, ask, chat, load }
}

const readiness = async (answer: Response) => simulated.readiness(answer.status, await answer.text())

test('a plain answer: the same words for the same question, exact usage, the reason of its end', async () => {
  const { chat, ask } = open(['--answer-tokens=12'])
  const first = (await (await chat()).json()) as Answer
  const again = (await (await chat()).json()) as Answer
  const { message } = first.choices[0]!
  assert.match(message.content, /^This answer is simulated: no model has read the question\. \w+ \w+$/)
  assert.equal(again.choices[0]!.message.content, message.content)
  assert.deepEqual(
    [first.model, first.choices[0]!.finish_reason, first.usage.prompt_tokens, first.usage.completion_tokens],
    ['served', 'stop', 4, 12],
  )
  const short = (await (await chat({ max_tokens: 3 })).json()) as Answer
  assert.deepEqual([short.choices[0]!.finish_reason, short.usage.completion_tokens], ['length', 3])
  const text = (await (await ask('/v1/completions', { prompt: 'a b c', max_tokens: 2 })).json()) as {
    object: string
    choices: { text: string }[]
  }
  assert.deepEqual([text.object, text.choices[0]!.text], ['text_completion', 'This answer'])
})

interface Answer {
  model: string
  choices: { message: { content: string }; finish_reason: string }[]
  usage: { prompt_tokens: number; completion_tokens: number }
}

test('a stream: one event a token, usage with every chunk when asked, then the end', async () => {
  const { chat } = open()
  const options = { include_usage: true, continuous_usage_stats: true }
  const answer = await chat({ stream: true, stream_options: options, max_tokens: 5 })
  assert.equal(answer.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const events = (await answer.text()).trim().split('\n\n')
  assert.equal(events.at(-1), 'data: [DONE]')
  const parsed = events.slice(0, -1).map((event) => JSON.parse(event.slice(6)))
  assert.deepEqual(
    parsed.map(({ choices, usage }) => [choices[0]?.delta.content, usage.completion_tokens]),
    [
      ['', 0],
      ['This', 1],
      [' answer', 2],
      [' is', 3],
      [' simulated:', 4],
      [' no', 5],
      [undefined, 5],
      [undefined, 5],
    ],
  )
  assert.ok(!(await (await chat({ stream: true, max_tokens: 1 })).text()).includes('usage'))
})

test('as many at once as it has sequences, the others in line; whoever leaves makes room', async () => {
  const { chat, load } = open(['--first-token-ms=60000'], 1)
  const gone = new AbortController()
  const running = chat({}, gone.signal).catch(() => 'left')
  await until(systemClock, 'one runs', 5_000, async () => (await load()).running === 1)
  const leaves = new AbortController()
  const waiting = chat({}, leaves.signal).catch(() => 'left')
  const last = new AbortController()
  const third = chat({}, last.signal).catch(() => 'left')
  await until(systemClock, 'two wait', 5_000, async () => (await load()).waiting === 2)
  leaves.abort()
  await until(systemClock, 'one waits', 5_000, async () => (await load()).waiting === 1)
  gone.abort()
  await until(systemClock, 'the third runs', 5_000, async () => {
    const { running: now, waiting: then } = await load()
    return now === 1 && then === 0
  })
  last.abort()
  assert.deepEqual(await Promise.all([running, waiting, third]), ['left', 'left', 'left'])
})

test('it loads, warms up, and is ready; until then it refuses work', async () => {
  const { ask, chat, fate } = open(['--load-seconds=1000'])
  assert.deepEqual(await readiness(await ask('/health')), { state: 'not_ready', phase: 'load', detail: 'loading' })
  assert.equal((await chat()).status, 503)
  fate.loadedAt = systemClock.now() - 1
  fate.readyAt = fate.loadedAt + 60_000
  assert.deepEqual(await readiness(await ask('/health')), { state: 'not_ready', phase: 'warmup', detail: 'loading' })
  fate.readyAt = systemClock.now()
  assert.deepEqual(await readiness(await ask('/health')), { state: 'ready' })
})

test('an engine that ends breaks what it has, in line and in mid-stream, and takes nothing new', async () => {
  const { chat, launch, fate, load } = open(['--tokens-per-second=5'], 1)
  const stream = await chat({ stream: true, max_tokens: 50 })
  const waiting = chat().catch((error: Error) => error)
  await until(systemClock, 'one waits', 5_000, async () => (await load()).waiting === 1)
  fate.end = { at: systemClock.now(), code: 1, signal: null, lines: [] }
  room.changed(launch)
  await assert.rejects(stream.text())
  assert.ok((await waiting) instanceof Error)
  await assert.rejects(chat())
})

test('one that hangs says nothing to anybody, also to its probe, and goes on when it comes back', async () => {
  const { ask, chat, launch, fate } = open()
  const now = systemClock.now()
  fate.hang = { from: now, to: null }
  await assert.rejects(ask('/health', undefined, AbortSignal.timeout(100)))
  const patient = chat()
  await assert.rejects(chat({}, AbortSignal.timeout(100)))
  fate.hang = { from: now, to: systemClock.now() }
  room.changed(launch)
  assert.equal((await patient).status, 200)
})

test('closed, unknown and wrong: the connection breaks, or the answer says what is wrong', async () => {
  const { launch, ask, chat } = open()
  assert.equal((await ask('/v1/embeddings', {})).status, 404)
  assert.equal((await chat({ messages: [] })).status, 400)
  assert.equal((await chat({ max_tokens: 0 })).status, 400)
  assert.equal((await chat({ n: 2 })).status, 400)
  const long = await chat({ messages: [{ role: 'user', content: 'word '.repeat(200) }] })
  assert.deepEqual(
    [long.status, ((await long.json()) as { error: { code: string } }).error.code],
    [400, 'context_length_exceeded'],
  )
  room.close(launch)
  await assert.rejects(chat())
  await assert.rejects(fetch(`${url}/health`))
  assert.throws(() => room.foresee({ ...launch, argv: ['/bin/sh'] }, 0, 1), /runs paddock-simulated-engine only/)
})

test('arguments that a deployment adds are checked by name', () => {
  const problems = (...additionalArgs: string[]) =>
    simulated.validate({ type: 'simulated', additionalArgs }, { format: 'gguf', contextSize: 10 })
  assert.deepEqual(problems('--tokens-per-second=3', '--say', 'bye'), [])
  assert.match(problems('--tokens-per-second=fast')[0]!, /--tokens-per-second must be a number/)
  assert.match(problems('--rm')[0]!, /--rm.*The simulated engine takes --tokens-per-second/)
  assert.match(problems('--sequences=9')[0]!, /--sequences is set by the deployment itself/)
  assert.match(problems('--fail-at=dawn')[0]!, /--fail-at must be one of start, load, warmup/)
  assert.equal(
    simulated.validate(
      { type: 'simulated', version: '9', maxModelLen: 11, additionalArgs: [] },
      { format: 'gguf', contextSize: 10 },
    ).length,
    2,
  )
})
