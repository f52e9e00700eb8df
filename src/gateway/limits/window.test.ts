/** The window against a list that is added up anew each time; a window that is wrong by a little is found out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SlidingWindow, windowMs } from './window.ts'

type Window = Pick<SlidingWindow, 'slide' | 'add' | 'correct' | 'msUntil' | 'requests' | 'tokens'>

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('add' as const), tokens: fc.nat(100) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      ms: fc.oneof(fc.nat(50), fc.nat(40_000), fc.constantFrom(1, windowMs - 1, windowMs)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('correct' as const), at: fc.nat(20), tokens: fc.nat(300) }) },
)

function addsUp(make: () => Window): void {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const window = make()
      const list: { at: number; requests: number; tokens: number; reckoned: number; entry: number }[] = []
      let now = 1_000
      for (const each of steps) {
        if (each.do === 'wait') now += each.ms
        else if (each.do === 'add') {
          const entry = window.add(now, 1, each.tokens)
          list.push({ at: now, requests: 1, tokens: each.tokens, reckoned: each.tokens, entry })
        } else {
          const one = list.filter(({ entry }) => entry >= 0).at(-1 - each.at)
          if (one === undefined) continue
          const more = each.tokens - one.reckoned
          window.correct(now, one.entry, 0, more)
          if (more > 0) list.push({ at: now, requests: 0, tokens: more, reckoned: 0, entry: -1 })
          else one.tokens += more
          one.entry = -1
        }
        window.slide(now)
        const inside = list.filter(({ at }) => at > now - windowMs)
        const sum = (name: 'requests' | 'tokens') => inside.reduce((all, each) => all + each[name], 0)
        assert.deepEqual([window.requests, window.tokens], [sum('requests'), sum('tokens')])
        const half = Math.floor(window.requests / 2)
        const ms = window.msUntil(now, half, Number.POSITIVE_INFINITY)
        const later = list.filter(({ at }) => at > now + ms - windowMs).reduce((all, each) => all + each.requests, 0)
        assert.ok(later <= half, 'after so long it is as said')
      }
    }),
  )
}

test('property: it is the sum of the last 60 seconds, what was given back and is owed included', () =>
  addsUp(() => new SlidingWindow()))

test('planted: one that counts an entry a millisecond less is found', () => {
  class Short extends SlidingWindow {
    override slide(now: number): void {
      super.slide(now + 1)
    }
  }
  assert.throws(() => addsUp(() => new Short()), /Property failed/)
})

test('planted: one that takes tokens back that have left already is found', () => {
  class Twice extends SlidingWindow {
    override correct(now: number, entry: number, requests: number, tokens: number): void {
      super.correct(now, entry, requests, tokens)
      if (tokens < 0) this.tokens -= 1
    }
  }
  assert.throws(() => addsUp(() => new Twice()), /Property failed/)
})

test('five thousand requests a second take bounded room, and are never counted too short', () => {
  const window = new SlidingWindow()
  let now = 0
  for (let i = 0; i < 300_000; i++) {
    now = i * 0.2
    window.slide(now)
    window.add(now, 1, 1)
  }
  assert.equal(window.requests, 300_000)
  window.slide(now + windowMs - 1)
  assert.ok(window.requests > 0)
  window.slide(now + windowMs)
  assert.deepEqual([window.requests, window.tokens], [0, 0])
})
