/** What the limiter promises, on a clock that moves by hand, against random traffic; and limiters that break it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Limits } from '../../access/limits.ts'
import { soloCounters } from '../counters.ts'
import { ClientGone } from '../exchange.ts'
import type { Admission } from './admission.ts'
import type { Estimate } from './estimate.ts'
import { ask, finish, type Request, settled, setUp } from './testing.ts'
import { windowMs } from './window.ts'

const own = fc.option(
  fc.record({
    rpm: fc.option(fc.integer({ min: 1, max: 6 })),
    tpm: fc.option(fc.integer({ min: 20, max: 200 })),
    concurrency: fc.option(fc.integer({ min: 1, max: 2 })),
  }),
)
const traffic = fc.record({
  deployment: fc.record({
    rpm: fc.option(fc.integer({ min: 1, max: 12 }), { freq: 1 }),
    tpm: fc.option(fc.integer({ min: 20, max: 400 })),
    concurrency: fc.option(fc.integer({ min: 1, max: 4 }), { freq: 1 }),
  }),
  adapters: fc.record({ a: own, b: own }),
  key: own,
  steps: fc.array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('ask' as const),
          key: fc.nat(2),
          names: fc.subarray(['a', 'b']),
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
  /** Whose limits it has: the deployment, adapters, its key. */
  of: string[]
}

/** What counts of somebody, added up apart from the limiter. */
interface Counted {
  who: string
  at: number
  tokens: number
  of: Seen | null
}

/** All requests of one run, and what counts of each, held against the limits at every moment that matters. */
class Books {
  readonly all: Seen[] = []
  readonly #counted: Counted[] = []
  readonly #now: () => number
  readonly #bounds: (who: string) => Limits | null
  constructor(now: () => number, bounds: (who: string) => Limits | null) {
    this.#now = now
    this.#bounds = bounds
  }

  came(one: Seen, { entered }: Admission): void {
    one.inAt = this.#now()
    const limited = one.of.filter((who) => this.#bounds(who) !== null)
    assert.equal(entered.length, limited.length, 'everybody who has limits counts it')
    for (const [at, who] of limited.entries()) {
      const bounds = this.#bounds(who)!
      const owes = bounds.tpm !== null && this.#tokens(who) + one.size.prompt > bounds.tpm
      assert.ok(!owes, 'nobody comes before what is owed is repaid')
      this.#counted.push({ who, at: one.inAt, tokens: entered[at]!.tokens, of: one })
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

  check(who: string): void {
    const bounds = this.#bounds(who)
    if (bounds === null) return
    const of = this.all.filter((one) => one.of.includes(who))
    const inside = of.filter(({ state }) => state === 'in')
    assert.ok(inside.length <= (bounds.concurrency ?? Number.POSITIVE_INFINITY), 'at once')
    const largest = Math.max(0, ...of.map(({ size: { most, prompt } }) => most - prompt))
    assert.ok(bounds.tpm === null || this.#tokens(who) <= bounds.tpm + largest, 'one true-up over')
  }

  #lately(who: string): Counted[] {
    return this.#counted.filter((one) => one.who === who && one.at > this.#now() - windowMs)
  }

  #tokens(who: string): number {
    return this.#lately(who).reduce((sum, { tokens }) => sum + tokens, 0)
  }
}

/** Everything that is promised, checked after every step, and of what is let in, at that moment. */
async function keepsItsPromises(make: () => ReturnType<typeof setUp>, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(traffic, async ({ deployment, adapters, key, steps }) => {
      const { limiter, time } = make()
      const books = new Books(
        () => time.now,
        (who) => (who === 'deployment' ? deployment : who in adapters ? adapters[who as 'a' | 'b'] : key),
      )
      const { all } = books
      for (const step of steps) {
        if (step.do === 'ask') {
          const keyId = `k${step.key}`
          const asked = { prompt: step.prompt, most: step.prompt + step.answer }
          const { priority, names } = step
          const of = ['deployment', ...names, keyId]
          const one: Seen = { exchange: null as never, keyId, state: 'waits', why: null, size: asked, inAt: 0, of }
          const enter = (admission: Admission) => books.came(one, admission)
          const limits = { deployment, adapters, ...(key ? { key } : {}) }
          ask(limiter, keyId, { ...limits, names, size: asked, priority, enter, request: one })
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
        for (const who of ['deployment', 'a', 'b', 'k0', 'k1', 'k2']) books.check(who)
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

test('planted: a mixture that counts for its first adapter alone is found', async () => {
  const make = () => {
    const parts = setUp()
    const enter = parts.limiter.enter.bind(parts.limiter)
    parts.limiter.enter = (exchange, ...rest) => {
      const { adapters } = exchange
      if (adapters !== null) exchange.adapters = { ...adapters, shares: adapters.shares.slice(0, 1) }
      return enter(exchange, ...rest)
    }
    return parts
  }
  await assert.rejects(keepsItsPromises(make, 300), /Property failed/)
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
