/** Limits on the real gateway, over HTTP. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { Limits } from '../access/limits.ts'
import { systemClock, until } from '../runtime/clock.ts'
import type { Config } from '../runtime/settings.ts'
import {
  type Asked,
  answerWell,
  type Bench,
  keyOf,
  MockEngine,
  plainAnswer,
  replicaOf,
  routeOf,
  startBench,
} from './testing.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
const none: Limits = { rpm: null, tpm: null, concurrency: null }

/** An engine that answers when it is told to, and a gateway before it. */
async function start(limits: Limits | undefined, over: Partial<Config> = {}) {
  const engine = await new MockEngine().listen()
  ends.push(() => engine.close())
  const b = await startBench({
    routes: [routeOf({ replicas: [replicaOf(engine.port)], ...(limits && { limits }) })],
    over,
  })
  ends.push(() => b.gateway.close({ drainMs: 0 }))
  const held: (() => void)[] = []
  const hold = () => {
    engine.behave = (asked, response, request) =>
      new Promise((done) => held.push(() => done(answerWell(asked, response, request))))
  }
  const asks = (count: number) =>
    until(systemClock, `${count} are with the engine`, 5_000, () => engine.asked.length >= count)
  return { engine, b, hold, release: () => held.shift()?.(), asks }
}
const errorOf = async (response: Response) => ((await response.json()) as { error: Record<string, unknown> }).error
const contents = (asked: Asked[]) =>
  asked.map(({ body }) => (body.messages as { content: string }[] | undefined)?.[0]?.content)
const say = (b: Bench, content: string, init: Parameters<Bench['chat']>[1] = {}) =>
  b.chat({ messages: [{ role: 'user', content }] }, init)

test('without limits there are no headers, and nothing waits', async () => {
  const { b } = await start(undefined)
  const { headers } = await b.chat({})
  assert.ok(![...headers.keys()].some((name) => name.startsWith('x-ratelimit')))
})

test('at once: two are with the engine, the third waits in line and is answered', async () => {
  const { b, hold, release, asks, engine } = await start({ ...none, concurrency: 2 })
  hold()
  const answers = [b.chat({}), b.chat({}), b.chat({})]
  await asks(2)
  await systemClock.sleep(100)
  assert.equal(engine.asked.length, 2)
  release()
  await asks(3)
  release()
  release()
  for (const answer of answers) assert.equal((await answer).status, 200)
  const settled = await b.settledUntil(3)
  assert.ok(
    settled.some(({ timings }) => timings.queue > 50),
    'its wait is told',
  )
})

test('who waits in line is told by number, as long as they do', async () => {
  const { b, hold, release, asks } = await start({ ...none, concurrency: 1 })
  hold()
  assert.deepEqual(b.gateway.queued(), {})
  const answers = [b.chat({}), b.chat({}), b.chat({})]
  await until(systemClock, 'two wait', 5_000, () => b.gateway.queued().dep_1 === 2)
  for (const count of [1, 2, 3]) {
    await asks(count)
    release()
  }
  for (const answer of answers) assert.equal((await answer).status, 200)
  assert.deepEqual(b.gateway.queued(), {})
})

test('at once: after its time in line 429, Retry-After, and not charged', async () => {
  const { b, hold, release, asks } = await start({ ...none, concurrency: 1 }, { 'limits.queue_seconds': 0.2 })
  hold()
  const first = b.chat({})
  await asks(1)
  const refused = await b.chat({})
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '1'])
  const error = await errorOf(refused)
  assert.deepEqual([error.code, error.type], ['concurrency_limited', 'rate_limit_error'])
  assert.match(String(error.message), /This deployment takes 1 requests at once/)
  const [record] = await b.settledUntil(1)
  assert.deepEqual([record!.status, record!.code, record!.usage], [429, 'concurrency_limited', null])
  release()
  assert.equal((await first).status, 200)
})

test('who hangs up while waiting in line leaves it, and its place is not lost', async () => {
  const { b, hold, release, asks, engine } = await start({ ...none, concurrency: 1 })
  hold()
  const first = say(b, 'first')
  await asks(1)
  const stop = new AbortController()
  const leaves = say(b, 'leaves', { signal: stop.signal }).catch(() => 'gone')
  await systemClock.sleep(50)
  const last = say(b, 'last')
  stop.abort()
  assert.equal(await leaves, 'gone')
  await b.settledUntil(1)
  assert.deepEqual([b.settled[0]!.status, b.settled[0]!.usage], [499, null])
  release()
  await asks(2)
  release()
  assert.equal((await last).status, 200)
  await (await first).text()
  assert.deepEqual(contents(engine.asked), ['first', 'last'])
})

test('a server that stops does not wait for those in line', async () => {
  const { b, hold, asks } = await start({ ...none, concurrency: 1 })
  hold()
  const first = b.chat({}).catch(() => null)
  await asks(1)
  const waits = b.chat({})
  await systemClock.sleep(50)
  await b.gateway.close({ drainMs: 50 })
  assert.equal((await waits).status, 503)
  await first
})

test('a place is free again however a request ends: engine error, stream, client gone', async () => {
  const { b, engine } = await start({ ...none, concurrency: 1 }, { 'limits.queue_seconds': 0 })
  engine.behave = (_asked, response) => void response.writeHead(400).end('{"error":{"message":"no"}}')
  assert.equal((await b.chat({})).status, 400)
  engine.behave = answerWell
  await (await b.chat({ stream: true })).text()
  engine.behave = (_asked, response) =>
    void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': \n\n')
  const stop = new AbortController()
  await b.chat({ stream: true }, { signal: stop.signal })
  stop.abort()
  await b.settledUntil(3)
  engine.behave = answerWell
  assert.equal((await b.chat({})).status, 200)
})

test('requests a minute: headers count down, then 429 with the time to wait', async () => {
  const { b } = await start({ ...none, rpm: 2 })
  const [one, two, three] = [await b.chat({}), await b.chat({ stream: true }), await b.chat({})]
  const left = (response: Response) => response.headers.get('x-ratelimit-remaining-requests')
  assert.deepEqual([one.status, two.status, three.status], [200, 200, 429])
  assert.deepEqual([left(one), left(two), left(three)], ['1', '0', '0'])
  assert.equal(three.headers.get('x-ratelimit-limit-requests'), '2')
  const wait = Number(three.headers.get('retry-after'))
  assert.ok(wait > 30 && wait <= 60, String(wait))
  assert.match(three.headers.get('x-ratelimit-reset-requests')!, /^(\d+(\.\d+)?s|1m0s)$/)
  assert.equal((await errorOf(three)).code, 'rate_limited')
  await two.text()
})

test('tokens a minute: max_tokens bounds what a request counts, what it did not take is given back', async () => {
  const { b } = await start({ ...none, tpm: 200 })
  const first = await b.chat({ max_tokens: 100 })
  assert.equal(first.status, 200)
  // 5 + 3 tokens were really taken.
  const second = await b.chat({ max_tokens: 10 })
  assert.equal(second.headers.get('x-ratelimit-limit-tokens'), '200')
  const left = Number(second.headers.get('x-ratelimit-remaining-tokens'))
  assert.ok(left > 150 && left < 192, String(left))
  const large = await b.chat({ max_tokens: 10, messages: [{ role: 'user', content: 'x'.repeat(1_000) }] })
  assert.equal(large.status, 429)
  assert.match(String((await errorOf(large)).message), /this prompt alone has about/)
})

test('a key’s limits go with the key', async () => {
  const { b } = await start(undefined)
  b.keyring.apply([keyOf({ secret: 'limited', limits: { ...none, rpm: 1 } })])
  assert.equal((await b.chat({}, { key: 'limited' })).status, 200)
  const refused = await b.chat({}, { key: 'limited' })
  assert.equal(refused.status, 429)
  assert.match(String((await errorOf(refused)).message), /This API key may send 1 requests/)
  assert.equal((await b.chat({})).status, 200)
  b.keyring.apply([keyOf({ secret: 'limited', limits: null })])
  assert.equal((await b.chat({}, { key: 'limited' })).status, 200)
})

test('one key’s flood does not keep another key waiting behind all of it', async () => {
  const { b, hold, release, asks, engine } = await start({ ...none, concurrency: 1 })
  b.keyring.apply([keyOf({ secret: 'other' })])
  hold()
  const all = [say(b, 'flood')]
  await asks(1)
  for (let i = 0; i < 6; i++) all.push(say(b, 'flood'))
  await systemClock.sleep(100)
  all.push(say(b, 'other', { key: 'other' }))
  await systemClock.sleep(50)
  for (let i = 1; i <= 8; i++) {
    release()
    if (i < 8) await asks(i + 1)
  }
  for (const answer of all) assert.equal((await answer).status, 200)
  assert.ok(contents(engine.asked).indexOf('other') <= 2, contents(engine.asked).join())
})

test('the same holds for requests that are held until an engine has room', async () => {
  const { b, engine } = await start(undefined)
  b.keyring.apply([keyOf({ secret: 'other' })])
  let busy = 0
  const held: (() => void)[] = []
  const served: string[] = []
  engine.behave = async (asked, response) => {
    if (busy > 0) return void response.writeHead(503).end()
    busy += 1
    served.push(contents([asked])[0]!)
    await new Promise<void>((done) => held.push(done))
    busy -= 1
    response.writeHead(200, { 'content-type': 'application/json' }).end(plainAnswer(asked))
  }
  const all = [say(b, 'flood')]
  await until(systemClock, 'one is with the engine', 5_000, () => held.length === 1)
  for (let i = 0; i < 6; i++) all.push(say(b, 'flood'))
  await until(systemClock, 'the flood is held', 5_000, () => b.gateway.held().dep_1 === 6)
  all.push(say(b, 'other', { key: 'other' }))
  await until(systemClock, 'the other is held, too', 5_000, () => b.gateway.held().dep_1 === 7)
  for (let i = 1; i <= 8; i++) {
    await until(systemClock, `${i} were with the engine`, 5_000, () => held.length === i)
    held[i - 1]!()
  }
  for (const answer of all) assert.equal((await answer).status, 200)
  assert.ok(served.indexOf('other') <= 2, served.join())
})

test('x-priority: as much as the key may, and a bad one is refused by name', async () => {
  const { b, hold, release, asks, engine } = await start({ ...none, concurrency: 1 })
  b.keyring.apply([keyOf({ secret: 'high', priority: 4 }), keyOf({ secret: 'low' })])
  hold()
  const all = [say(b, 'first')]
  await asks(1)
  const first = { headers: { 'x-priority': '4' } }
  for (let i = 0; i < 4; i++) all.push(say(b, 'low', { key: 'low', ...first }))
  await systemClock.sleep(100)
  for (let i = 0; i < 4; i++) all.push(say(b, 'high', { key: 'high', ...first }))
  await systemClock.sleep(100)
  for (let i = 1; i <= 9; i++) {
    release()
    if (i < 9) await asks(i + 1)
  }
  for (const answer of all) assert.equal((await answer).status, 200)
  const order = contents(engine.asked).slice(1)
  assert.deepEqual(order.slice(0, 5), ['low', 'high', 'high', 'high', 'high'])
  for (const bad of ['-1', 'high', '1.5', '']) {
    const answer = await b.chat({}, { headers: { 'x-priority': bad } })
    assert.equal(answer.status, 400)
    assert.equal((await errorOf(answer)).param, 'x-priority')
  }
})
