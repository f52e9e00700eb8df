/** Workers of a host that take turns at the places of a limit, and gateways that wait for each other's shares of a rate. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fault } from '../../kernel/fault.ts'
import { makeCounterBoard } from '../counter-board.ts'
import { LaneCounters, soloCounters } from '../counters.ts'
import { Limiter } from './limiter.ts'
import { ask, finish, HandTime, queueLimits as limits, none, settled } from './testing.ts'

for (const clients of [1, 3])
  test(`${clients} that always come again at one worker do not keep those of another worker waiting`, async () => {
    const board = makeCounterBoard({ lanes: 2 })
    const time = new HandTime()
    const [one, two] = [0, 1].map((lane) => {
      const parts = { counters: new LaneCounters(board, lane), clock: time.clock, deadlines: time.deadlines, limits }
      return new Limiter(parts)
    })
    const deployment = { ...none, concurrency: 1 }
    const busy = Array.from({ length: clients }, () => ask(one!, 'flood', { deployment }))
    const other = ask(two!, 'quiet', { deployment })
    for (; other.state === 'waits'; await settled()) {
      time.pass(10)
      const inside = busy.findIndex(({ state }) => state === 'in')
      if (inside !== -1) finish(one!, busy.splice(inside, 1)[0]!)
      busy.push(ask(one!, 'flood', { deployment }))
    }
    assert.ok(time.now < 500, `it waited ${time.now} ms`)
    assert.equal(other.state, 'in')
    finish(two!, other)
    // Alone again, the line goes on without pauses.
    time.pass(200)
    await settled()
    for (let n = 0; n < 50; n++) {
      const inside = busy.findIndex(({ state }) => state === 'in')
      assert.notEqual(inside, -1)
      finish(one!, busy.splice(inside, 1)[0]!)
      busy.push(ask(one!, 'flood', { deployment }))
      time.pass(10)
      await settled()
    }
  })

test('whose time is over in the moment in which another worker has left a place comes in', async () => {
  const board = makeCounterBoard({ lanes: 2 })
  const time = new HandTime()
  const [one, two] = [0, 1].map((lane) => {
    const parts = { counters: new LaneCounters(board, lane), clock: time.clock, deadlines: time.deadlines, limits }
    return new Limiter(parts)
  })
  const deployment = { ...none, concurrency: 1 }
  const inside = ask(one!, 'k', { deployment })
  const late = ask(two!, 'k', { deployment })
  time.pass(limits.maxMs - 10)
  finish(one!, inside)
  time.pass(10)
  await settled()
  assert.equal(late.state, 'in')
  assert.deepEqual([two!.waiting(), time.armed], [{}, 0])
})

test('a share that others have used up is waited for a moment only, and the refusal says when there is room', async () => {
  const time = new HandTime()
  const share = { requests: 2, tokens: 0, until: 1e9, coming: true, fresh: false, denied: false }
  const shares = { begin: () => share, ask: () => {} }
  const limiter = new Limiter({
    counters: soloCounters(),
    clock: time.clock,
    deadlines: time.deadlines,
    limits,
    shares,
  })
  const deployment = { ...none, rpm: 5 }
  time.pass(1_000)
  const [a, b, c] = [1, 2, 3].map(() => ask(limiter, 'k', { deployment }))
  assert.deepEqual([a!.state, b!.state, c!.state], ['in', 'in', 'waits'])
  time.pass(1_600)
  await settled()
  const { code, message, retryAfterSeconds } = c!.why as Fault
  assert.deepEqual([code, message], ['rate_limited', 'This deployment takes 5 requests in 60 seconds.'])
  assert.ok(retryAfterSeconds! > 57 && retryAfterSeconds! <= 60, `${retryAfterSeconds}`)
  assert.ok(c!.exchange.rateHeaders!.join(' ').includes('x-ratelimit-remaining-requests 0 '))
  // Who comes now is told at once; who comes later, when something may have been given back, waits again.
  assert.equal(ask(limiter, 'k', { deployment }).state, 'over')
  time.pass(5_000)
  const late = ask(limiter, 'k', { deployment })
  assert.equal(late.state, 'waits')
  share.requests = 3
  limiter.look()
  await settled()
  assert.equal(late.state, 'in')
})
