import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { DemandCounts, p90 } from './demand.ts'

test('held, refused and answered requests are all demand', () => {
  const counts = new DemandCounts()
  counts.touch('dep_a', 1_000)
  counts.ended('dep_b', null, 40, 2_000)
  counts.ended('dep_b', 'hold_full', null, 3_000)
  const demand = counts.read({ dep_a: 3 }, 5_000)
  assert.deepEqual(demand.dep_a, {
    held: 3,
    arrivals: 0,
    rejected: 0,
    lastAt: 5_000,
    heldSince: 1_000,
    ttftMsP90: null,
  })
  assert.deepEqual(demand.dep_b, { held: 0, arrivals: 2, rejected: 1, lastAt: 3_000, heldSince: null, ttftMsP90: 40 })
  assert.equal(counts.read({ dep_a: 1 }, 6_000).dep_a!.heldSince, 1_000)
  assert.equal(counts.read({}, 7_000).dep_a!.heldSince, null)
  assert.equal(counts.read({ dep_a: 1 }, 8_000).dep_a!.heldSince, 8_000)
})

test('a minute without first tokens has no latency, not one of zero', () => {
  const counts = new DemandCounts()
  counts.ended('dep_a', null, 900, 0)
  assert.equal(counts.read({}, 59_999).dep_a!.ttftMsP90, 900)
  assert.equal(counts.read({}, 60_001).dep_a!.ttftMsP90, null)
})

test('p90 is the nearest rank', () => {
  assert.equal(p90([]), null)
  assert.equal(p90([7]), 7)
  assert.equal(p90(Array.from({ length: 10 }, (_, i) => i + 1)), 9)
})

test('a deployment that is deleted is forgotten, what waits for others is not', () => {
  const counts = new DemandCounts()
  counts.ended('dep_gone', null, 40, 1_000)
  counts.touch('dep_a', 1_000)
  counts.keepOnly((id) => id === 'dep_a')
  assert.deepEqual(Object.keys(counts.read({ dep_a: 1 }, 2_000)), ['dep_a'])
  assert.equal(counts.read({ dep_a: 1 }, 2_000).dep_a!.heldSince, 1_000)
})
