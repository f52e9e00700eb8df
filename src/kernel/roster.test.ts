import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Roster } from './roster.ts'

test('holds the same as a set, whatever comes and goes', () => {
  const step = fc.record({ add: fc.boolean(), which: fc.nat(9) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const things = Array.from({ length: 10 }, (_, id) => ({ id, slot: -1 }))
      const roster = new Roster<(typeof things)[number]>()
      const model = new Set<(typeof things)[number]>()
      for (const { add, which } of steps) {
        const thing = things[which]!
        if (add) {
          roster.add(thing)
          model.add(thing)
        } else {
          roster.remove(thing)
          model.delete(thing)
        }
        assert.equal(roster.size, model.size)
        assert.deepEqual(new Set(roster.list()), model)
        assert.ok(things.every((one) => (one.slot !== -1) === model.has(one)))
      }
    }),
  )
})
