/** Several gateways share a limit: never more than it in any 60 seconds, whoever dies and whenever the database is away. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { answerTo, countsLongerMs, divide, type ShareAnswer, type ShareAsk } from '../../access/limit-shares.ts'
import type { Limits } from '../../access/limits.ts'
import { soloCounters } from '../counters.ts'
import { Lessee, type ShareSource } from './lessee.ts'
import { Limiter } from './limiter.ts'
import { exchangeOf, HandTime, limitedKey, limitedRoute } from './testing.ts'
import { windowMs } from './window.ts'

const leaseMs = 300_000
const settled = () => new Promise((resolve) => setImmediate(resolve))

interface Row {
  subject: string
  holder: string
  requests: number
  tokens: number
  wants: { requests: number; tokens: number }
  wanting: boolean
  until: number
}

/** The table, as limit-store.ts keeps it. */
class Table {
  rows: Row[] = []
  away = false
  /** It writes, and the answer is lost. */
  mute = false

  source(holder: string, now: () => number): ShareSource {
    const reach = <T>(make: () => T): Promise<T> => {
      if (this.away) return Promise.reject(new Error('away'))
      const made = make()
      return this.mute ? Promise.reject(new Error('lost')) : Promise.resolve(made)
    }
    return {
      exchange: (asks) => reach(() => asks.map((ask) => this.#exchange(holder, ask, now()))),
      wanted: () =>
        reach(() =>
          this.rows
            .filter((row) => row.wanting && row.holder !== holder && row.until > now())
            .map((row) => row.subject),
        ),
      release: (subjects) =>
        reach(() => {
          for (const row of this.rows)
            if (row.holder === holder && subjects.includes(row.subject)) Object.assign(row, { requests: 0, tokens: 0 })
        }),
    }
  }

  /** An earlier process of that name has ended. */
  ended(holder: string, now: number): void {
    for (const row of this.rows)
      if (row.holder === holder)
        Object.assign(row, { until: Math.min(row.until, now), wanting: false, wants: { requests: 0, tokens: 0 } })
  }

  #exchange(holder: string, ask: ShareAsk, now: number): ShareAnswer {
    const counts = (row: Row) =>
      row.subject === ask.subject && row.holder !== holder && row.until > now - countsLongerMs
    const others = this.rows.filter(counts)
    const answer = answerTo(ask, {
      requests: others.map(({ requests, wants }) => ({ share: requests, wants: wants.requests })),
      tokens: others.map(({ tokens, wants }) => ({ share: tokens, wants: wants.tokens })),
    })
    this.rows = this.rows.filter((row) => row.subject !== ask.subject || row.holder !== holder)
    this.rows.push({
      subject: ask.subject,
      holder,
      requests: answer.requests,
      tokens: answer.tokens,
      wants: { requests: ask.requests?.wants ?? 0, tokens: ask.tokens?.wants ?? 0 },
      wanting: answer.targetRequests > answer.requests || answer.targetTokens > answer.tokens,
      until: now + leaseMs,
    })
    return answer
  }
}

let processes = 0

class Gateway {
  readonly holder = `gw/${processes++}`
  readonly limiter: Limiter
  readonly lessee: Lessee
  readonly #time: HandTime
  constructor(table: Table, time: HandTime) {
    this.#time = time
    const share = () => ({ requests: 0, tokens: 0, until: 0, coming: true, fresh: true, denied: false })
    const limits = { maxMs: 5_000, maxRequests: 50, maxBytes: 1e6 }
    const { clock, deadlines } = time
    const shares = { begin: share, ask: () => {} }
    this.limiter = new Limiter({ counters: soloCounters(), clock, deadlines, limits, shares })
    this.lessee = new Lessee({
      source: table.source(this.holder, () => time.now),
      leaseMs,
      subjects: () => this.limiter.subjects(),
      granted: () => this.limiter.look(),
    })
  }

  tick(): Promise<void> {
    return this.lessee.tick(this.#time.now).catch(() => {})
  }

  /** `entered` is called when it is let in; it takes no time. */
  async ask(
    bounds: Limits,
    size: { prompt: number; most: number },
    really: number,
    entered: () => void,
  ): Promise<string> {
    const route = limitedRoute(bounds)
    const exchange = exchangeOf(route)
    try {
      const entering = this.limiter.enter(exchange, route, limitedKey('k'), size)
      if (entering !== null) await entering
    } catch (error) {
      return (error as { code: string }).code
    }
    entered()
    this.limiter.leave(route.deploymentId, exchange.admission!, { promptTokens: really, completionTokens: 0 })
    return 'in'
  }
}

const none: Limits = { rpm: null, tpm: null, concurrency: null }
const small = { prompt: 1, most: 1 }
/** Time passes, and everybody looks as often as the loop does. */
async function pass(time: HandTime, gateways: readonly Gateway[], ms: number): Promise<void> {
  const until = time.now + ms
  while (time.now < until) {
    time.pass(Math.min(500, until - time.now))
    for (const one of gateways) await one.tick()
    await settled()
  }
}
async function burst(gateway: Gateway, count: number, bounds: Limits): Promise<string[]> {
  const answers = Array.from({ length: count }, () => gateway.ask(bounds, small, 1, () => {}))
  return Promise.all(answers)
}
const inOf = (answers: string[]) => answers.filter((one) => one === 'in').length

test('one gateway gets all of a limit, chunk by chunk, and keeps nobody waiting long', async () => {
  const time = new HandTime()
  const gateway = new Gateway(new Table(), time)
  const asking = burst(gateway, 30, { ...none, rpm: 20 })
  await pass(time, [gateway], 3_000)
  assert.equal(inOf(await asking), 20)
})

test('two gateways divide it by need: what the one does not use the other gets', async () => {
  const time = new HandTime()
  const table = new Table()
  const [a, b] = [new Gateway(table, time), new Gateway(table, time)]
  const bounds = { ...none, rpm: 40 }
  const first = burst(a, 40, bounds)
  await pass(time, [a, b], 3_000)
  assert.equal(inOf(await first), 40)
  await pass(time, [a, b], windowMs + 1_000)
  const second = burst(b, 40, bounds)
  await pass(time, [a, b], 5_000)
  assert.ok(inOf(await second) >= 38, 'a has given back')
  await pass(time, [a, b], windowMs + 1_000)
  const both = [burst(a, 40, bounds), burst(b, 40, bounds)]
  await pass(time, [a, b], 6_000)
  const together = (await Promise.all(both)).map(inOf).reduce((sum, count) => sum + count, 0)
  assert.ok(together >= 38 && together <= 40, String(together))
})

test('with the database away a gateway uses what it holds, until its lease ends; a new one lets in one', async () => {
  const time = new HandTime()
  const table = new Table()
  const old = new Gateway(table, time)
  const bounds = { ...none, rpm: 16 }
  const warm = burst(old, 10, bounds)
  await pass(time, [old], 2_000)
  assert.equal(inOf(await warm), 10)
  table.away = true
  await pass(time, [old], windowMs)
  const held = burst(old, 30, bounds)
  await pass(time, [old], 6_000)
  const still = inOf(await held)
  assert.ok(still >= 10 && still <= 16, String(still))
  const fresh = new Gateway(table, time)
  const asking = burst(fresh, 5, bounds)
  await pass(time, [fresh], 6_000)
  assert.equal(inOf(await asking), 1)
  await pass(time, [old], leaseMs)
  assert.equal(inOf(await burst(old, 3, bounds)), 0)
})

test('a gateway that died keeps its share from others until its lease is over, a restarted one for a minute', async () => {
  const time = new HandTime()
  const table = new Table()
  const bounds = { ...none, rpm: 8 }
  const dead = new Gateway(table, time)
  const all = burst(dead, 8, bounds)
  await pass(time, [dead], 3_000)
  assert.equal(inOf(await all), 8)
  table.ended(dead.holder, time.now)
  const next = new Gateway(table, time)
  const early = burst(next, 8, bounds)
  await pass(time, [next], 6_000)
  assert.equal(inOf(await early), 1, 'what the dead one has used still counts; one is on credit')
  await pass(time, [next], countsLongerMs)
  const late = burst(next, 8, bounds)
  await pass(time, [next], 3_000)
  assert.equal(inOf(await late), 8)
})

test('a division gives no more than there is, and by need', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000 }),
      fc.array(fc.nat(1_500), { minLength: 1, maxLength: 6 }),
      (limit, wants) => {
        const holders = wants.map((want) => ({ share: 0, wants: want }))
        const turn = () => {
          for (const [i, mine] of holders.entries()) {
            const others = holders.filter((_, at) => at !== i)
            const { share, target } = divide(
              limit,
              { floor: Math.min(mine.share, mine.wants), wants: mine.wants },
              others,
            )
            mine.share = share
            assert.ok(target <= Math.max(1, limit))
          }
          assert.ok(holders.reduce((sum, { share }) => sum + share, 0) <= limit, 'never more than the limit')
        }
        turn()
        turn()
        const given = holders.reduce((sum, { share }) => sum + share, 0)
        const wanted = wants.reduce((sum, want) => sum + want, 0)
        assert.equal(given, Math.min(limit, wanted), 'and not less than is wanted')
      },
    ),
  )
})

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('ask' as const), at: fc.nat(2), count: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('tick' as const), at: fc.nat(2) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('pass' as const),
        ms: fc.oneof(fc.nat(300), fc.nat(30_000), fc.nat(400_000)),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), at: fc.nat(2) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('database' as const), away: fc.boolean(), mute: fc.boolean() }),
    },
  ),
  { maxLength: 60, size: 'max' },
)

async function neverMore(
  rpm: number,
  plan: typeof steps,
  make: (table: Table, time: HandTime) => Gateway,
  numRuns: number,
) {
  await fc.assert(
    fc.asyncProperty(plan, async (all) => {
      const time = new HandTime()
      const table = new Table()
      const gateways = [0, 1, 2].map(() => make(table, time))
      const came: { at: number; by: Gateway }[] = []
      let broken = ''
      const look = (): void => {
        const lately = came.filter(({ at }) => at > time.now - windowMs)
        // A process that has not been answered yet lets in one.
        const credits = new Set(lately.map(({ by }) => by)).size
        if (lately.length > rpm + credits) broken = `${lately.length} in 60 s, by ${credits}`
      }
      for (const step of all) {
        if (step.do === 'ask')
          for (let i = 0; i < step.count; i++) {
            const by = gateways[step.at]!
            void by.ask({ ...none, rpm }, small, 1, () => {
              came.push({ at: time.now, by })
              look()
            })
          }
        else if (step.do === 'tick') await gateways[step.at]!.tick()
        else if (step.do === 'pass') time.pass(step.ms)
        else if (step.do === 'database') Object.assign(table, { away: step.away, mute: step.mute })
        else {
          const dead = gateways[step.at]!
          gateways[step.at] = make(table, time)
          table.ended(dead.holder, time.now)
        }
        await settled()
        assert.equal(broken, '')
      }
    }),
    // Making the counterexample small would take longer than finding it.
    { numRuns, endOnFailure: true },
  )
}

test('property: all gateways together let in no more than the limit, and one each on credit', () =>
  neverMore(6, steps, (table, time) => new Gateway(table, time), 150))

test('planted: a gateway that goes on after its lease has ended is found', async () => {
  const make = (table: Table, time: HandTime) => {
    const gateway = new Gateway(table, time)
    const tick = gateway.tick.bind(gateway)
    gateway.tick = async () => {
      await tick()
      for (const { share } of gateway.limiter.subjects()) if (!share.fresh) share.until = Number.POSITIVE_INFINITY
    }
    return gateway
  }
  await assert.rejects(neverMore(6, steps, make, 1_000), /Property failed/)
})

test('planted: a gateway that believes what nobody has answered is found', async () => {
  const make = (table: Table, time: HandTime) => {
    const gateway = new Gateway(table, time)
    const tick = gateway.tick.bind(gateway)
    gateway.tick = async () => {
      await tick()
      for (const { share } of gateway.limiter.subjects()) share.requests += 1
    }
    return gateway
  }
  await assert.rejects(neverMore(6, steps, make, 1_000), /Property failed/)
})
