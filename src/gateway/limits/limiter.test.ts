/** What the limiter promises, on a clock that moves by hand, against random traffic; and limiters that break it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Limits } from '../../access/limits.ts'
import type { Fault } from '../../kernel/fault.ts'
import { makeCounterBoard } from '../counter-board.ts'
import { type Counters, LaneCounters, soloCounters } from '../counters.ts'
import { ClientGone } from '../exchange.ts'
import type { Admission } from './admission.ts'
import type { Estimate } from './estimate.ts'
import { Limiter } from './limiter.ts'
import { ask, codeOf, finish, HandTime, queueLimits as limits, none, type Request, settled } from './testing.ts'
import { windowMs } from './window.ts'

function setUp(counters: Counters = soloCounters()) {
  const time = new HandTime()
  const limiter = new Limiter({ counters, clock: time.clock, deadlines: time.deadlines, limits })
  return { time, limiter, counters }
}

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

test('what nobody uses any more is forgotten', () => {
  const { limiter, time } = setUp()
  for (let i = 0; i < 3_000; i++) {
    const one = ask(limiter, `k${i}`, { key: { ...none, rpm: 5, concurrency: 1 } })
    finish(limiter, one)
    time.pass(100)
  }
  assert.ok(limiter.subjects().length < 2_100)
})

const traffic = fc.record({
  deployment: fc.record({
    rpm: fc.option(fc.integer({ min: 1, max: 12 }), { freq: 1 }),
    tpm: fc.option(fc.integer({ min: 20, max: 400 })),
    concurrency: fc.option(fc.integer({ min: 1, max: 4 }), { freq: 1 }),
  }),
  key: fc.option(
    fc.record({
      rpm: fc.option(fc.integer({ min: 1, max: 6 })),
      tpm: fc.option(fc.integer({ min: 20, max: 200 })),
      concurrency: fc.option(fc.integer({ min: 1, max: 2 })),
    }),
  ),
  steps: fc.array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('ask' as const),
          key: fc.nat(2),
          prompt: fc.integer({ min: 1, max: 60 }),
          answer: fc.oneof(fc.nat(60), fc.constant(500)),
          priority: fc.nat(4),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('finish' as const),
          at: fc.nat(5),
          share: fc.oneof(fc.nat(100), fc.constant(100)),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), at: fc.nat(5) }) },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.oneof(fc.nat(200), fc.nat(30_000)) }),
      },
    ),
    { maxLength: 80, size: 'max' },
  ),
})

interface Seen extends Request {
  size: Estimate
  inAt: number
}

/** What counts of somebody (null: the deployment), added up apart from the limiter. */
interface Counted {
  who: string | null
  at: number
  tokens: number
  of: Seen | null
}

/** All requests of one run, and what counts of each, held against the limits at every moment that matters. */
class Books {
  readonly all: Seen[] = []
  readonly #counted: Counted[] = []
  readonly #now: () => number
  readonly #bounds: (who: string | null) => Limits | null
  constructor(now: () => number, bounds: (who: string | null) => Limits | null) {
    this.#now = now
    this.#bounds = bounds
  }

  came(one: Seen, { first, second }: Admission): void {
    one.inAt = this.#now()
    for (const [who, entered] of [
      [null, first],
      [one.keyId, second],
    ] as const) {
      const bounds = this.#bounds(who)
      if (bounds === null) continue
      const owes = bounds.tpm !== null && this.#tokens(who) + one.size.prompt > bounds.tpm
      assert.ok(!owes, 'nobody comes before what is owed is repaid')
      this.#counted.push({ who, at: one.inAt, tokens: entered!.tokens, of: one })
      const requests = this.#lately(who).filter(({ of }) => of !== null).length
      assert.ok(requests <= (bounds.rpm ?? Number.POSITIVE_INFINITY), 'requests in 60 s')
    }
  }

  ended(one: Seen, tokens: number): void {
    for (const was of this.#counted.filter(({ of }) => of === one)) {
      const { who } = was
      if (tokens > was.tokens) this.#counted.push({ who, at: this.#now(), tokens: tokens - was.tokens, of: null })
      else was.tokens = tokens
    }
  }

  check(who: string | null): void {
    const bounds = this.#bounds(who)
    if (bounds === null) return
    const of = this.all.filter(({ keyId }) => who === null || keyId === who)
    const inside = of.filter(({ state }) => state === 'in')
    assert.ok(inside.length <= (bounds.concurrency ?? Number.POSITIVE_INFINITY), 'at once')
    const largest = Math.max(0, ...of.map(({ size: { most, prompt } }) => most - prompt))
    assert.ok(bounds.tpm === null || this.#tokens(who) <= bounds.tpm + largest, 'one true-up over')
  }

  #lately(who: string | null): Counted[] {
    return this.#counted.filter((one) => one.who === who && one.at > this.#now() - windowMs)
  }

  #tokens(who: string | null): number {
    return this.#lately(who).reduce((sum, { tokens }) => sum + tokens, 0)
  }
}

/** Everything that is promised, checked after every step, and of what is let in, at that moment. */
async function keepsItsPromises(make: () => ReturnType<typeof setUp>, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(traffic, async ({ deployment, key, steps }) => {
      const { limiter, time } = make()
      const books = new Books(
        () => time.now,
        (who) => (who === null ? deployment : key),
      )
      const { all } = books
      for (const step of steps) {
        if (step.do === 'ask') {
          const keyId = `k${step.key}`
          const asked = { prompt: step.prompt, most: step.prompt + step.answer }
          const { priority } = step
          const one: Seen = { exchange: null as never, keyId, state: 'waits', why: null, size: asked, inAt: 0 }
          const enter = (admission: Admission) => books.came(one, admission)
          ask(limiter, keyId, { deployment, ...(key ? { key } : {}), size: asked, priority, enter, request: one })
          all.push(one)
        } else if (step.do === 'finish') {
          const one = all.filter(({ state }) => state === 'in')[step.at]
          if (one === undefined) continue
          const tokens = Math.max(1, Math.round((one.size.most * step.share) / 100))
          one.state = 'over'
          books.ended(one, tokens)
          finish(limiter, one, tokens)
        } else if (step.do === 'leave') {
          const one = all.filter(({ state }) => state === 'waits')[step.at]
          one?.exchange.interrupted?.(new ClientGone())
        } else time.pass(step.ms)
        await settled()
        for (const who of [null, 'k0', 'k1', 'k2']) books.check(who)
      }
      time.pass(5_000)
      await settled()
      assert.ok(
        all.every(({ state }) => state !== 'waits'),
        'nobody waits longer than is allowed',
      )
      for (const one of all) if (one.state === 'in') finish(limiter, one)
      assert.deepEqual(limiter.waiting(), {})
      assert.equal(time.armed, 0, 'no deadline is left')
      time.pass(windowMs)
      for (const subject of limiter.subjects()) {
        subject.window.slide(time.now)
        assert.ok(subject.isIdle, 'nothing is left behind')
      }
    }),
    { numRuns },
  )
}

test('property: limits hold in any 60 seconds, debts are repaid, nobody waits for ever, nothing is left', () =>
  keepsItsPromises(setUp, 300))

test('planted: a limiter to which nobody owes anything is found', async () => {
  const make = () => {
    const parts = setUp()
    const leave = parts.limiter.leave.bind(parts.limiter)
    parts.limiter.leave = (id, admission) => leave(id, admission, null)
    return parts
  }
  await assert.rejects(keepsItsPromises(make, 300), /Property failed/)
})

test('planted: a limiter that lets several in that may turn out larger is found', async () => {
  const make = () => {
    const parts = setUp()
    const enter = parts.limiter.enter.bind(parts.limiter)
    parts.limiter.enter = (exchange, route, principal, { prompt }) =>
      enter(exchange, route, principal, { prompt, most: prompt })
    return parts
  }
  await assert.rejects(keepsItsPromises(make, 500), /Property failed/)
})

test('planted: a count of those at once that is one too high is found', async () => {
  const make = () => {
    const counters = soloCounters()
    const total = counters.total.bind(counters)
    counters.total = (slot) => Math.max(0, total(slot) - 1)
    return setUp(counters)
  }
  await assert.rejects(keepsItsPromises(make, 300), /Property failed/)
})
