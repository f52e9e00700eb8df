/** What the limiter does, case by case, on a clock that moves by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fault } from '../../kernel/fault.ts'
import { makeCounterBoard } from '../counter-board.ts'
import { LaneCounters } from '../counters.ts'
import { ask, codeOf, finish, none, settled, setUp } from './testing.ts'
import { windowMs } from './window.ts'

test('at once: the next waits, and comes when one has left', async () => {
  const { limiter, time } = setUp()
  const deployment = { ...none, concurrency: 2 }
  const [a, b, c] = [1, 2, 3].map(() => ask(limiter, 'k', { deployment }))
  assert.deepEqual([a!.state, b!.state, c!.state], ['in', 'in', 'waits'])
  time.pass(1_000)
  finish(limiter, a!)
  await settled()
  assert.equal(c!.state, 'in')
  assert.equal(c!.exchange.heldMs, 1_000)
  assert.deepEqual(limiter.waiting(), {})
})

test('at once: after its time in line, and beyond the line, it is refused', async () => {
  const { limiter, time } = setUp()
  const deployment = { ...none, concurrency: 1 }
  const all = Array.from({ length: 22 }, () => ask(limiter, 'k', { deployment }))
  assert.deepEqual([all[21]!.state, codeOf(all[21]!)], ['over', 'concurrency_limited'])
  time.pass(5_000)
  await settled()
  assert.ok(all.slice(1).every((one) => one.state === 'over' && codeOf(one) === 'concurrency_limited'))
  assert.equal((all[1]!.why as Fault).retryAfterSeconds, 1)
  assert.equal(time.armed, 0)
})

test('workers of one host share the places, and a line notices that another worker has left one', async () => {
  const board = makeCounterBoard({ lanes: 2 })
  const one = setUp(new LaneCounters(board, 0))
  const two = setUp(new LaneCounters(board, 1))
  const deployment = { ...none, concurrency: 1 }
  const a = ask(one.limiter, 'k', { deployment })
  const b = ask(two.limiter, 'k', { deployment })
  assert.deepEqual([a.state, b.state], ['in', 'waits'])
  finish(one.limiter, a)
  two.time.pass(60)
  await settled()
  assert.equal(b.state, 'in')
})

test('a key that floods a deployment does not keep another waiting behind all of it', async () => {
  const { limiter } = setUp()
  const deployment = { ...none, concurrency: 1 }
  const inside = ask(limiter, 'flood', { deployment })
  const flood = Array.from({ length: 15 }, () => ask(limiter, 'flood', { deployment }))
  const other = ask(limiter, 'other', { deployment })
  finish(limiter, inside)
  await settled()
  assert.equal(flood[0]!.state, 'in')
  finish(limiter, flood[0]!)
  await settled()
  assert.equal(other.state, 'in')
})

test('a key’s own limit holds over all deployments, and keeps nobody else', async () => {
  const { limiter } = setUp()
  const key = { ...none, concurrency: 1 }
  const a = ask(limiter, 'k', { key, id: 'dep_1' })
  const b = ask(limiter, 'k', { key, id: 'dep_2' })
  const other = ask(limiter, 'o', { deployment: { ...none, concurrency: 5 }, id: 'dep_2' })
  await settled()
  assert.deepEqual([a.state, b.state, other.state], ['in', 'waits', 'in'])
  finish(limiter, a)
  await settled()
  assert.equal(b.state, 'in')
})

test('requests: refused beyond the limit, with the seconds until the oldest has passed', () => {
  const { limiter, time } = setUp()
  const deployment = { ...none, rpm: 2 }
  const first = ask(limiter, 'k', { deployment })
  time.pass(10_000)
  ask(limiter, 'k', { deployment })
  const refused = ask(limiter, 'k', { deployment })
  assert.deepEqual([codeOf(refused), (refused.why as Fault).retryAfterSeconds], ['rate_limited', 50])
  assert.deepEqual(refused.exchange.rateHeaders, [
    'x-ratelimit-limit-requests',
    '2',
    'x-ratelimit-remaining-requests',
    '0',
    'x-ratelimit-reset-requests',
    '50s',
  ])
  finish(limiter, first)
  time.pass(49_999)
  assert.equal(ask(limiter, 'k', { deployment }).state, 'over')
  time.pass(1)
  assert.equal(ask(limiter, 'k', { deployment }).state, 'in')
})

test('tokens: reckoned with the longest answer, given back when it was shorter, owed when it was longer', () => {
  const { limiter, time } = setUp()
  const deployment = { ...none, tpm: 100 }
  const a = ask(limiter, 'k', { deployment, size: { prompt: 10, most: 90 } })
  const b = ask(limiter, 'k', { deployment, size: { prompt: 20, most: 50 } })
  assert.equal(codeOf(b), 'rate_limited')
  finish(limiter, a, 30)
  const open = ask(limiter, 'k', { deployment, size: { prompt: 20, most: 4_000 } })
  assert.equal(open.state, 'in', 'one may turn out larger than there is')
  assert.equal(ask(limiter, 'k', { deployment, size: { prompt: 5, most: 4_000 } }).state, 'over', 'but only one')
  assert.equal(ask(limiter, 'k', { deployment, size: { prompt: 5, most: 10 } }).state, 'in')
  finish(limiter, open, 3_020)
  time.pass(windowMs - 1)
  assert.equal(ask(limiter, 'k', { deployment, size: { prompt: 1, most: 1 } }).state, 'over', 'what is owed is repaid')
  time.pass(1)
  assert.equal(ask(limiter, 'k', { deployment, size: { prompt: 1, most: 1 } }).state, 'in')
})

test('a prompt that is larger than the limit is told that waiting does not help', () => {
  const { limiter } = setUp()
  const refused = ask(limiter, 'k', { deployment: { ...none, tpm: 100 }, size: { prompt: 101, most: 101 } })
  assert.match((refused.why as Fault).message, /this prompt alone has about 101/)
  assert.match((refused.why as Fault).action, /waiting does not help/)
})

test('the worse of deployment and key decides, and the message says whose limit it is', () => {
  const { limiter } = setUp()
  const both = { deployment: { ...none, rpm: 5 }, key: { ...none, rpm: 1 } }
  assert.equal(ask(limiter, 'k', both).state, 'in')
  assert.match((ask(limiter, 'k', both).why as Fault).message, /This API key may send 1 requests/)
})

test('an adapter’s limit counts beside that of its deployment, and the message names it', () => {
  const { limiter, time } = setUp()
  const adapters = { a: { ...none, rpm: 2 }, b: { ...none, rpm: 1 }, c: null }
  const say = (...names: string[]) => ask(limiter, 'k', { deployment: { ...none, rpm: 6 }, adapters, names })
  assert.deepEqual([say('a').state, say('b').state, say('c').state, say().state], ['in', 'in', 'in', 'in'])
  const full = say('b')
  assert.deepEqual([full.state, codeOf(full), (full.why as Fault).retryAfterSeconds], ['over', 'rate_limited', 60])
  assert.match((full.why as Fault).message, /The adapter b of this deployment takes 1 requests in 60 seconds/)
  assert.deepEqual(full.exchange.rateHeaders?.slice(0, 4), [
    'x-ratelimit-limit-requests',
    '1',
    'x-ratelimit-remaining-requests',
    '0',
  ])
  assert.match((say('a', 'b').why as Fault).message, /adapter b/, 'a mixture is kept out by either')
  assert.equal(say('a').state, 'in', 'and nobody has counted what was refused')
  assert.match((say('a', 'c').why as Fault).message, /adapter a/)
  assert.equal(say('c').state, 'in')
  assert.match((say('c').why as Fault).message, /This deployment takes 6/)
  time.pass(windowMs - 1)
  assert.equal(say('b').state, 'over')
  time.pass(1)
  assert.equal(say('b').state, 'in')
})

test('a mixture counts for each of its adapters; tokens, too', () => {
  const { limiter } = setUp()
  const adapters = { a: { ...none, tpm: 100 }, b: { ...none, tpm: 60 } }
  const say = (names: string[]) => ask(limiter, 'k', { adapters, names, size: { prompt: 10, most: 50 } })
  const mixed = say(['a', 'b'])
  assert.equal(mixed.state, 'in')
  finish(limiter, mixed, 20)
  assert.deepEqual([say(['a']).state, say(['b']).state], ['in', 'in'])
  const used = Object.fromEntries(limiter.subjects().map(({ name, window }) => [name, window.tokens]))
  assert.deepEqual(used, { 'ada/dep_1/a': 70, 'ada/dep_1/b': 30 })
})

test('who waits for an adapter keeps nobody waiting who asks for another, of the same key neither', async () => {
  const { limiter } = setUp()
  const adapters = { a: { ...none, concurrency: 1 }, b: { ...none, concurrency: 1 } }
  const say = (...names: string[]) => ask(limiter, 'k', { deployment: { ...none, concurrency: 9 }, adapters, names })
  const all = [say('a'), say('a'), say('a', 'b'), say('a'), say('b'), say('b'), say()]
  await settled()
  assert.deepEqual(
    all.map(({ state }) => state),
    ['in', 'waits', 'waits', 'waits', 'in', 'waits', 'in'],
  )
  finish(limiter, all[4]!)
  await settled()
  assert.equal(all[5]!.state, 'in', 'though others came before it')
  for (const at of [5, 0, 1, 2]) {
    finish(limiter, all[at]!)
    await settled()
  }
  assert.equal(all[3]!.state, 'in', 'and the others in the order in which they came')
})

test('a line that is full of those who wait for one adapter keeps out nobody who need not wait', async () => {
  const { limiter, time } = setUp()
  const adapters = { a: { ...none, concurrency: 1 } }
  const say = (...names: string[]) => ask(limiter, 'k', { deployment: { ...none, concurrency: 2 }, adapters, names })
  const flood = Array.from({ length: 22 }, () => say('a'))
  assert.equal(codeOf(flood[21]!), 'concurrency_limited')
  assert.equal(say().state, 'in')
  assert.equal(codeOf(say()), 'concurrency_limited', 'who would have to wait as well has no place')
  finish(limiter, flood[0]!)
  await settled()
  assert.equal(flood[1]!.state, 'in')
  time.pass(5_000)
  await settled()
  assert.deepEqual(limiter.waiting(), {})
})

test('what nobody uses any more is forgotten', () => {
  const { limiter, time } = setUp()
  for (let i = 0; i < 3_000; i++) {
    const one = ask(limiter, `k${i}`, { key: { ...none, rpm: 5, concurrency: 1 } })
    finish(limiter, one)
    time.pass(100)
  }
  assert.ok(limiter.subjects().length < 2_100)
})
