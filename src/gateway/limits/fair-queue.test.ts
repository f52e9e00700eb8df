/** Nobody starves, shares are as promised, nothing is left behind; and a queue that is not fair is found out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FairQueue, type Waiting } from './fair-queue.ts'

interface One extends Waiting {
  number: number
}
let numbers = 0
const one = (keyId: string, cost = 1, priority = 0): One => ({ keyId, cost, priority, number: numbers++ })

function served(queue: Pick<FairQueue<One>, 'next' | 'serve'>, count: number): One[] {
  const order: One[] = []
  for (let i = 0; i < count; i++) {
    const next = queue.next()
    if (next === null) break
    queue.serve(next)
    order.push(next)
  }
  return order
}

test('keys take turns, each first come first served', () => {
  const queue = new FairQueue<One>()
  const many = Array.from({ length: 5 }, () => one('many'))
  const few = [one('few'), one('few')]
  for (const each of [...many, ...few]) queue.add(each)
  assert.deepEqual(
    served(queue, 7).map(({ keyId }) => keyId),
    ['many', 'few', 'many', 'few', 'many', 'many', 'many'],
  )
  assert.equal(queue.next(), null)
})

test('whoever asks for much at once waits longer; who comes late brings no credit', () => {
  const queue = new FairQueue<One>()
  for (let i = 0; i < 20; i++) {
    queue.add(one('large', 1_000))
    queue.add(one('small', 100))
  }
  const first = served(queue, 12)
  assert.equal(first.filter(({ keyId }) => keyId === 'small').length, 10)
  for (let i = 0; i < 10; i++) queue.add(one('late', 1_000))
  const after = served(queue, 14)
  assert.ok(after.filter(({ keyId }) => keyId === 'late').length <= 3, 'as one among three')
})

test('a priority is a share, among keys and within one', () => {
  const queue = new FairQueue<One>()
  for (let i = 0; i < 90; i++) {
    queue.add(one('high', 10, 2))
    queue.add(one('low', 10, 0))
  }
  const first = served(queue, 50)
  assert.equal(first.filter(({ keyId }) => keyId === 'high').length, 40, 'four to one')
  const own = new FairQueue<One>()
  for (let i = 0; i < 40; i++) for (const priority of [0, 1]) own.add(one('a', 10, priority))
  assert.equal(served(own, 30).filter(({ priority }) => priority === 1).length, 20, 'two to one')
})

test('who may not go now is passed over, and keeps the turn', () => {
  const queue = new FairQueue<One>()
  const [a, b] = [one('a'), one('b')]
  queue.add(a)
  queue.add(b)
  assert.equal(
    queue.next(({ keyId }) => keyId !== 'a'),
    b,
  )
  queue.serve(b)
  queue.add(one('b'))
  assert.equal(queue.next(), a)
})

test('what is dropped was given nothing, and an empty queue remembers nobody', () => {
  const queue = new FairQueue<One>()
  const gone = one('a', 1_000_000)
  queue.add(gone)
  queue.add(one('b'))
  assert.ok(queue.drop(gone))
  assert.ok(!queue.drop(gone))
  queue.add(one('a'))
  assert.equal(served(queue, 2).length, 2)
  assert.deepEqual([queue.size, queue.keys], [0, 0])
})

test('a turn that came to nothing is given back, with its place', () => {
  const queue = new FairQueue<One>()
  const [a, b] = [one('a', 10), one('a', 10)]
  for (const each of [a, b, one('b', 10)]) queue.add(each)
  queue.serve(a)
  queue.restore(a)
  assert.equal(queue.next(), a)
  queue.serve(a)
  assert.equal(queue.next()?.keyId, 'b')
})

/** A queue as the properties need it. */
type Queue = Pick<FairQueue<One>, 'add' | 'drop' | 'serve' | 'next' | 'size' | 'keys'>

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      key: fc.nat(5),
      cost: fc.integer({ min: 1, max: 50 }),
      priority: fc.nat(4),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('serve' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), at: fc.nat(50) }) },
)

/**
 * Starvation-free: from the moment one is first of its key and priority, what everybody else is given before it is
 * bounded by shares, however many more come. Between two keys of 16 times the share and costs of at most 50 that is
 * 16 × 50 for each key and each of its five priorities, and as much again for what came before.
 */
function nobodyStarves(make: () => Queue): void {
  const bound = 6 * 5 * 16 * 50 * 2
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const queue = make()
      const victim = one('victim', 50, 0)
      const waiting: One[] = []
      let given = 0
      for (const each of steps) {
        if (each.do === 'add') {
          const add = one(`key${each.key}`, each.cost, each.priority)
          queue.add(add)
          waiting.push(add)
        } else if (each.do === 'drop') {
          const [drop] = waiting.splice(each.at, 1)
          if (drop) queue.drop(drop)
        } else {
          const next = queue.next()
          if (next !== null) {
            queue.serve(next)
            waiting.splice(waiting.indexOf(next), 1)
          }
        }
      }
      queue.add(victim)
      for (;;) {
        // A flood that never ends, of whoever has the largest share.
        for (let key = 0; key < 6; key++) queue.add(one(`key${key}`, 50, 4))
        const next = queue.next()!
        queue.serve(next)
        if (next === victim) return
        given += next.cost
        assert.ok(given <= bound, `${given} were given to others`)
      }
    }),
    { numRuns: 60 },
  )
}

test('property: no key starves', () => nobodyStarves(() => new FairQueue<One>()))

test('property: nothing is lost, served twice or left behind', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const queue = new FairQueue<One>()
      const waiting = new Set<One>()
      for (const each of steps) {
        if (each.do === 'add') {
          const add = one(`key${each.key}`, each.cost, each.priority)
          queue.add(add)
          waiting.add(add)
        } else if (each.do === 'drop') {
          const drop = [...waiting][each.at]
          if (drop) assert.ok(queue.drop(drop) && waiting.delete(drop))
        } else {
          const next = queue.next()
          assert.equal(next === null, waiting.size === 0)
          if (next === null) continue
          queue.serve(next)
          assert.ok(waiting.delete(next), 'once')
        }
        assert.equal(queue.size, waiting.size)
        assert.ok(queue.keys <= waiting.size + 6)
      }
      served(queue, waiting.size)
      assert.deepEqual([queue.size, queue.keys], [0, 0])
    }),
  )
})

/** Highest priority first, then first come: what peers do. */
class Strict implements Queue {
  #all: One[] = []
  get size(): number {
    return this.#all.length
  }
  get keys(): number {
    return 0
  }
  add(one: One): void {
    this.#all.push(one)
  }
  drop(one: One): boolean {
    this.serve(one)
    return true
  }
  serve(one: One): void {
    this.#all.splice(this.#all.indexOf(one), 1)
  }
  next(): One | null {
    return this.#all.toSorted((a, b) => b.priority - a.priority || a.number - b.number)[0] ?? null
  }
}

test('planted: strict priorities starve', () =>
  assert.throws(() => nobodyStarves(() => new Strict()), /Property failed/))
