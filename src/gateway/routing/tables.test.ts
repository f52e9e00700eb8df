import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnswerLengths } from './answer-length.ts'
import { mixed } from './hash.ts'
import { makeRecentMemory, RecentHashes } from './recent.ts'
import { RetryBudget } from './retry-budget.ts'
import { Ring } from './ring.ts'

const members = (count: number, weight = 100) => Array.from({ length: count }, (_, i) => ({ id: `rep_${i}`, weight }))
const keys = Array.from({ length: 20_000 }, (_, i) => i * 7 + 1)

test('ring: shares are even, and when one goes only its keys move', () => {
  const before = new Ring(members(8))
  const after = new Ring(members(7))
  const shares = new Array(8).fill(0)
  for (const key of keys) {
    const owner = before.owner(before.place(key))
    shares[owner] += 1
    if (owner !== 7) assert.equal(after.owner(after.place(key)), owner)
  }
  for (const share of shares) assert.ok(share > 1_900 && share < 3_200, `${shares}`)
})

test('ring: by weight; walking on reaches everybody', () => {
  const ring = new Ring([...members(1, 25), { id: 'other', weight: 75 }])
  const first = keys.filter((key) => ring.owner(ring.place(key)) === 0).length
  assert.ok(first > 4_000 && first < 6_200, `${first} of 20000`)
  for (const key of keys.slice(0, 50)) {
    const reached = new Set(Array.from({ length: ring.size }, (_, steps) => ring.owner(ring.place(key), steps)))
    assert.equal(reached.size, 2)
  }
})

test('recent: keeps the newest of many, in the memory it was given', () => {
  const recent = new RecentHashes(makeRecentMemory(1_024))
  for (let n = 0; n < 100_000; n++) {
    recent.tick()
    recent.add(mixed(n))
  }
  const kept = (from: number, to: number) => {
    let count = 0
    for (let n = from; n < to; n++) if (recent.has(mixed(n))) count += 1
    return count
  }
  assert.equal(kept(99_900, 100_000), 100)
  assert.ok(kept(99_500, 100_000) > 470)
  assert.ok(kept(0, 98_000) < 40, 'what is old has given way')
})

test('recent: what is used stays; what is removed is gone; zero is a hash like others', () => {
  const recent = new RecentHashes(makeRecentMemory(64))
  recent.add(0)
  for (let n = 1; n < 10_000; n++) {
    recent.tick()
    recent.add(mixed(n))
    recent.add(0)
    assert.ok(recent.has(0))
  }
  recent.remove(0)
  assert.ok(!recent.has(0))
})

test('recent: when its clock comes round the newest is still the newest', () => {
  const memory = makeRecentMemory(8)
  new Int32Array(memory)[0] = -3
  const recent = new RecentHashes(memory)
  for (let n = 1; n <= 20; n++) {
    recent.tick()
    recent.add(mixed(n))
  }
  for (let n = 13; n <= 20; n++) assert.ok(recent.has(mixed(n)), `${n}`)
})

test('retries: a share of what comes, a few a second, and no more', () => {
  const budget = new RetryBudget({ share: 0.2, saved: 10, perSecond: 1 })
  const spent = (times: number, now: number) =>
    Array.from({ length: times }, () => budget.spend('dep_1', now)).filter(Boolean).length
  assert.equal(spent(100, 0), 10)
  for (let n = 0; n < 25; n++) budget.earn('dep_1', 0)
  assert.equal(spent(100, 0), 5)
  assert.equal(spent(100, 3_000), 3)
  assert.equal(spent(100, 1e9), 10, 'no more is saved up')
  assert.ok(budget.spend('dep_2', 0), 'each deployment has its own')
  assert.ok(!new RetryBudget({ share: 0, saved: 10, perSecond: 1 }).spend('dep_1', 1e6))
})

test('retries: a storm in which everything fails is sent again to a fifth', () => {
  const budget = new RetryBudget({ share: 0.2, saved: 100, perSecond: 1 })
  let again = 0
  for (let n = 0; n < 10_000; n++) {
    budget.earn('dep_1', n)
    if (budget.spend('dep_1', n)) again += 1
  }
  assert.ok(again > 1_900 && again < 2_200, `${again} of 10000`)
})

test('lengths of answers: what is usual follows what came lately, each deployment for itself', () => {
  const lengths = new AnswerLengths()
  assert.equal(lengths.usual('dep_1'), 256)
  for (let n = 0; n < 200; n++) lengths.learn('dep_1', 2_000)
  assert.ok(lengths.usual('dep_1') > 1_950)
  for (let n = 0; n < 400; n++) lengths.learn('dep_1', 3)
  assert.ok(lengths.usual('dep_1') < 10)
  assert.equal(lengths.usual('dep_2'), 256)
})
