/** The queue for hardware, whatever is free and whoever waits: nothing idle that suits, nobody for ever, one order for all. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Offer } from '../compute/contract.ts'
import { type Claim, divide, givenBack, type Held, oneOf, served, standing, suits } from './queue.ts'

const seed = Number(process.env.SEED ?? 7)
const numRuns = Number(process.env.RUNS ?? 400)
const now = Date.UTC(2026, 10, 21)
const minute = 60_000
const time = { now, reserveAfterMs: 10 * minute }

const types = ['h100', 'mi300x', 'cpu']
const regions = ['atl1', 'nyc2']
const offers = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 4 })), { minLength: 6, maxLength: 6 })
  .map((counts) =>
    types.flatMap((gpuType, t) =>
      regions.map((region, r): Offer => {
        const [freeUnits, used] = counts[t * 2 + r]!
        return { provider: 'p', gpuType, region, freeUnits, totalUnits: freeUnits + used, emulated: false }
      }),
    ),
  )
const choice = fc.record({
  gpuType: fc.constantFrom(...types),
  gpuCount: fc.constantFrom(1, 1, 2, 4),
  region: fc.constantFrom(null, null, ...regions),
})
const claims = fc
  .array(
    fc.record({
      hardware: fc.array(choice, { minLength: 1, maxLength: 3 }),
      missing: fc.integer({ min: 0, max: 4 }),
      has: fc.constantFrom(0, 0, 1, 3),
      lost: fc.constantFrom(0, 0, 0, 1),
      org: fc.constantFrom('a', 'b', 'c'),
      waits: fc.integer({ min: 0, max: 20 * minute }),
      refused: fc.constantFrom(false, false, false, true),
      stalled: fc.constantFrom(false, false, false, false, true),
    }),
    { maxLength: 8 },
  )
  .map((rows) =>
    rows.map(({ hardware, org, waits, refused, ...same }, at): Claim => {
      return {
        ...same,
        id: `dep_${at}`,
        orgId: org,
        hardware: hardware.map((one) => ({ ...one, gpus: one.gpuType === 'cpu' ? 0 : one.gpuCount })),
        since: now - waits,
        refused: refused ? [{ provider: 'p', gpuType: 'h100', region: 'nyc2', until: now + 1 }] : [],
      }
    }),
  )
const holdings = fc.record({
  a: fc.record({ gpus: fc.integer({ min: 0, max: 8 }), replicas: fc.integer({ min: 0, max: 8 }) }),
  b: fc.record({ gpus: fc.integer({ min: 0, max: 8 }), replicas: fc.integer({ min: 0, max: 8 }) }),
})

type Divide = typeof divide
type Case = [claims: Claim[], offers: Offer[], held: Record<string, Held>]

const key = ({ gpuType, region }: { gpuType: string; region: string }) => `${gpuType}/${region}`

/** Throws when the division is wrong, whoever made it. */
function check(by: Divide, [waiting, free, held]: Case): void {
  const { given, left, kept } = by(waiting, free, held, time)
  const spent = new Map<string, number>()
  for (const placement of [...given.values()].flat())
    spent.set(key(placement), (spent.get(key(placement)) ?? 0) + placement.gpuCount)
  const keptUnits = new Map([...kept.values()].map((offer) => [key(offer), offer.freeUnits]))
  for (const offer of free) {
    const rest = left.find((one) => key(one) === key(offer))!.freeUnits
    const sum = rest + (spent.get(key(offer)) ?? 0) + (keptUnits.get(key(offer)) ?? 0)
    assert.equal(sum, offer.freeUnits, `every unit of ${key(offer)} is given, kept or left, once`)
  }
  for (const claim of waiting) {
    const mine = given.get(claim.id) ?? []
    assert.ok(mine.length <= claim.missing, 'nobody gets more than is missing')
    for (const placement of mine)
      assert.ok(
        claim.hardware.some((one) => one.gpuCount === placement.gpuCount && suits(one, placement)),
        'nobody gets what does not suit',
      )
    if (claim.stalled || mine.length === claim.missing) continue
    const idle = left.filter(
      (offer) => !claim.refused.some((one) => one.gpuType === offer.gpuType && one.region === offer.region),
    )
    for (const offer of idle)
      for (const one of claim.hardware)
        assert.ok(!suits(one, offer) || offer.freeUnits < one.gpuCount, `${key(offer)} is idle and suits ${claim.id}`)
  }
  for (const [id, offer] of kept) {
    const claim = waiting.find((one) => one.id === id)!
    assert.ok(claim.lost > 0 || now - claim.since >= time.reserveAfterMs, 'kept only for who lost one or waits long')
    const one = claim.hardware.find((wanted) => suits(wanted, offer) && offer.totalUnits >= wanted.gpuCount)
    assert.ok(one, 'kept only where it can fit one day')
  }
}

const cases = fc.tuple(claims, offers, holdings) as fc.Arbitrary<Case>
const holds = (by: Divide) =>
  fc.assert(
    fc.property(cases, (one) => check(by, one)),
    { numRuns, seed },
  )

test('nothing is given twice, to the wrong one, or left idle while it suits somebody who waits', () => holds(divide))

const planted: Record<string, Divide> = {
  'gives what is not there': (waiting, free, held, at) => {
    const made = divide(waiting, free, held, at)
    return { ...made, left: free.map((offer) => ({ ...offer })) }
  },
  'lets hardware idle for who comes first': (waiting, free, held, at) => {
    const [one] = waiting
    const made = divide(one ? [one] : [], free, held, at)
    return { ...made, given: new Map(made.given), kept: new Map() }
  },
  'keeps places for whoever does not fit': (waiting, free, held, at) =>
    divide(
      waiting.map((claim) => ({ ...claim, since: 0 })),
      free,
      held,
      at,
    ),
}
for (const [name, bug] of Object.entries(planted))
  test(`planted bug is found: ${name}`, () => assert.throws(() => holds(bug)))

test('everybody works out the same division, in whatever order they read it', () => {
  const plain = (made: ReturnType<typeof divide>) => [[...made.given].sort(), [...made.kept].sort(), made.left]
  fc.assert(
    fc.property(cases, ([waiting, free, held]) => {
      assert.deepEqual(
        plain(divide([...waiting].reverse(), free, held, time)),
        plain(divide(waiting, free, held, time)),
      )
    }),
    { numRuns, seed },
  )
})

test('what was given and was not there is given back: in line as before, whatever of it failed', () => {
  fc.assert(
    fc.property(claims, fc.integer({ min: 1, max: 4 }), (waiting, most) => {
      for (const claim of waiting) {
        const steps: Claim[] = [claim]
        while (steps.at(-1)!.missing > 0 && steps.length <= most) steps.push(served(steps.at(-1)!, now))
        const taken = steps.slice(0, -1).map(oneOf)
        assert.deepEqual(taken.reduce(givenBack, steps.at(-1)!), claim)
      }
    }),
    { numRuns, seed },
  )
})

const one = (id: string, over: Partial<Claim> = {}): Claim => ({
  id,
  orgId: id,
  hardware: [{ gpuType: 'h100', gpuCount: 1, region: null, gpus: 1 }],
  missing: 1,
  has: 0,
  lost: 0,
  since: now,
  refused: [],
  ...over,
})
const units = (freeUnits: number, totalUnits = freeUnits): Offer[] => [
  { provider: 'p', gpuType: 'h100', region: 'nyc2', freeUnits, totalUnits, emulated: false },
]

test('the order: lost, long, none at all, fewer GPUs, fewer replicas, first come', () => {
  const inOrder = [
    one('lost', { lost: 1, has: 2, since: now }),
    one('longest', { has: 1, since: now - 12 * minute }),
    one('long', { since: now - 11 * minute }),
    one('poor', { since: now }),
    one('idle', { orgId: 'cpus', since: now }),
    one('early', { orgId: 'rich', since: now - 5 }),
    one('late', { orgId: 'rich', since: now - 4 }),
    one('more', { has: 1, since: now - 9 * minute }),
  ]
  const held = { cpus: { gpus: 0, replicas: 1 }, rich: { gpus: 2, replicas: 2 } }
  const shuffled = [3, 7, 0, 5, 1, 6, 2, 4].map((at) => inOrder[at]!)
  for (let free = 1; free <= inOrder.length; free += 1) {
    const { given } = divide(shuffled, units(free), held, time)
    const expected = inOrder.slice(0, free).map(({ id }) => id)
    // With six free the org that got one stands behind who has none of them: late comes after it either way.
    assert.deepEqual([...given.keys()].sort(), expected.sort(), `${free} free`)
  }
  const places = inOrder.map((claim) => {
    const others = inOrder.filter(({ id }) => id !== claim.id)
    return standing(claim, others, held, time).position
  })
  assert.deepEqual(places, [1, 2, 3, 4, 5, 6, 7, 8])
  const elsewhere = one('elsewhere', { hardware: [{ gpuType: 'cpu', gpuCount: 1, region: null, gpus: 0 }] })
  assert.deepEqual(standing(elsewhere, inOrder, held, time), { position: 1, of: 1 })
})

test('one by one: who wants many gets one, then the others, then more', () => {
  const greedy = one('greedy', { missing: 4, since: now - 9 * minute })
  const { given } = divide([greedy, one('b'), one('c')], units(4), {}, time)
  assert.deepEqual([...given].map(([id, placements]) => [id, placements.length]).sort(), [
    ['b', 1],
    ['c', 1],
    ['greedy', 2],
  ])
})

/** A crowd of small wishes without end, and a big one: after how many minutes it gets its hardware; null = never. */
function crowd(random: () => number, big: Partial<Claim>, reserveAfterMs: number, minutes = 400): number | null {
  const total = 6
  const running = [3, 4, 5, 6, 7, 8].map((ends) => ({ units: 1, ends }))
  let waiting: Claim[] = []
  const whale = one('whale', { since: now, ...big })
  for (let at = 0; at < minutes; at += 1) {
    for (let i = running.length - 1; i >= 0; i -= 1) if (running[i]!.ends <= at) running.splice(i, 1)
    const since = now + at * minute
    const arrivals = 2 + Math.floor(random() * 2)
    for (let i = 0; i < arrivals; i += 1) waiting.push(one(`small_${at}_${i}`, { since }))
    const free = total - running.reduce((sum, { units: held }) => sum + held, 0)
    const { given } = divide([...waiting, whale], units(free, total), {}, { now: since, reserveAfterMs })
    if (given.has('whale')) return at
    given.forEach(() => {
      running.push({ units: 1, ends: at + 2 + Math.floor(random() * 8) })
    })
    waiting = waiting.filter(({ id }) => !given.has(id))
  }
  return null
}

const lcg = (from: number) => {
  let state = from >>> 0
  return () => (state = (state * 1_664_525 + 1_013_904_223) >>> 0) / 2 ** 32
}
const four = { hardware: [{ gpuType: 'h100', gpuCount: 4, region: null, gpus: 4 }] }

/** Ten minutes until a place is kept, and then the longest of the small ones. */
const patience = 10 + 10 + 1

test('nobody is overtaken for ever: neither who wants much at once, nor who has one and wants another', () => {
  for (const wish of [four, { has: 1 }, { ...four, has: 2, orgId: 'small_0_0' }])
    for (let from = 1; from <= 20; from += 1) {
      const waited = crowd(lcg(from), wish, 10 * minute)
      assert.ok(waited !== null && waited <= patience, `seed ${from}: ${waited}`)
    }
})

test('planted bug is found: no place is ever kept', () => {
  const waits = Array.from({ length: 20 }, (_, at) => crowd(lcg(at + 1), four, Number.MAX_SAFE_INTEGER))
  assert.ok(waits.some((waited) => waited === null || waited > patience))
})
