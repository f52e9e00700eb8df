import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { systemClock, until } from '../runtime/clock.ts'
import { makeCounterBoard } from './counter-board.ts'
import { clearLane, LaneCounters, soloCounters } from './counters.ts'

const names = ['rep_1', 'rep_2', 'key_a', 'key_b', 'dep_x', '']

test('what all have counted is the total, of this worker its own', () => {
  const board = makeCounterBoard({ lanes: 2 })
  const [one, two] = [new LaneCounters(board, 0), new LaneCounters(board, 1)]
  const slot = one.slot('rep_1')
  assert.equal(two.slot('rep_1'), slot)
  assert.notEqual(one.slot('rep_2'), slot)
  one.add(slot, 3)
  two.add(slot, 5)
  one.add(slot, -1)
  assert.deepEqual([one.total(slot), two.total(slot), one.own(slot), two.own(slot)], [7, 7, 2, 5])
  clearLane(board, 1)
  assert.deepEqual([one.total(slot), one.own(slot)], [2, 2])
})

/**
 * Any order of taking, counting, giving up and dying, on a board so small that it is often full: a name on the board has
 * one place for all, no place has two names, and totals are what the model says.
 */
test('keeps the count of every name apart, whoever comes, goes or dies', () => {
  const lanes = 3
  const step = fc.record({
    lane: fc.nat(lanes - 1),
    what: fc.constantFrom('slot', 'slot', 'add', 'add', 'release', 'die'),
    name: fc.constantFrom(...names),
    by: fc.integer({ min: -5, max: 50 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.constantFrom(2, 4, 16), (steps, places) => {
      const board = makeCounterBoard({ lanes, places })
      const worlds = Array.from({ length: lanes }, (_, lane) => newWorld(board, lane))
      for (const { lane, what, name, by } of steps) {
        if (what === 'die') {
          clearLane(board, lane)
          worlds[lane] = newWorld(board, lane)
        } else act(worlds[lane]!, what, name, by)
        check(worlds, places)
      }
    }),
    { numRuns: 400 },
  )
})

interface World {
  counters: LaneCounters
  held: Map<string, { slot: number; uses: number; count: number }>
}

function newWorld(board: SharedArrayBuffer, lane: number): World {
  return { counters: new LaneCounters(board, lane), held: new Map() }
}

function act({ counters, held }: World, what: 'slot' | 'add' | 'release', name: string, by: number): void {
  const known = held.get(name)
  if (what === 'slot') {
    const slot = counters.slot(name)
    if (known === undefined) held.set(name, { slot, uses: 1, count: 0 })
    else {
      assert.equal(slot, known.slot)
      known.uses += 1
    }
    return
  }
  if (known === undefined) return
  if (what === 'add') {
    counters.add(known.slot, by)
    known.count += by
    return
  }
  counters.release(known.slot)
  if (--known.uses === 0) held.delete(name)
}

function check(worlds: World[], places: number): void {
  const nameOf = new Map<number, string>()
  for (const { counters, held } of worlds)
    for (const [name, { slot, count }] of held) {
      assert.equal(counters.own(slot), count)
      if (slot >= places) {
        assert.equal(counters.total(slot), count)
        continue
      }
      assert.equal(nameOf.get(slot) ?? name, name, 'a place has one name')
      nameOf.set(slot, name)
      const elsewhere = worlds.map((world) => world.held.get(name)?.slot ?? slot).filter((one) => one < places)
      assert.ok(
        elsewhere.every((one) => one === slot),
        'a name has one place',
      )
      const all = worlds.map((world) => world.held.get(name)).filter((one) => one !== undefined && one.slot === slot)
      assert.equal(
        counters.total(slot),
        all.reduce((sum, one) => sum + one!.count, 0),
      )
    }
}

test('a full board counts further names for each worker alone, until there is room', () => {
  const board = makeCounterBoard({ lanes: 2, places: 2 })
  const [one, two] = [new LaneCounters(board, 0), new LaneCounters(board, 1)]
  const first = one.slot('a')
  two.slot('b')
  const alone = [one.slot('c'), two.slot('c')]
  one.add(alone[0]!, 4)
  assert.deepEqual([one.total(alone[0]!), two.total(alone[1]!)], [4, 0])
  one.release(first)
  for (const [at, counters] of [one, two].entries()) counters.release(alone[at]!)
  const shared = one.slot('c')
  assert.equal(two.slot('c'), shared)
  two.add(shared, 1)
  assert.equal(one.total(shared), 1)
})

test('a place is another name’s only when nobody counts there, and begins at nothing', () => {
  const board = makeCounterBoard({ lanes: 2, places: 2 })
  const [one, two] = [new LaneCounters(board, 0), new LaneCounters(board, 1)]
  const slot = one.slot('a')
  two.slot('a')
  one.slot('b')
  one.add(slot, 9)
  one.release(slot)
  assert.equal(two.total(slot), 0)
  assert.ok(one.slot('c') >= 2, 'the other still counts there')
  two.release(slot)
  const again = one.slot('d')
  assert.deepEqual([again, one.total(again)], [slot, 0])
})

test('ten thousand names have places of their own', () => {
  const counters = soloCounters()
  const slots = new Set(Array.from({ length: 10_000 }, (_, at) => counters.slot(`key_${at}`)))
  assert.equal(slots.size, 10_000)
  assert.ok([...slots].every((slot) => slot < 16_384))
})

test('a worker that ended while it had the lock gives it back with its lane', () => {
  const board = makeCounterBoard({ lanes: 2, places: 4 })
  const counters = new LaneCounters(board, 0)
  new Int32Array(board)[0] = 2
  assert.equal(counters.slot('waits in vain'), 4, 'counted alone')
  clearLane(board, 1)
  assert.ok(counters.slot('is answered') < 4)
})

/** Takes and gives up the same few names as fast as it can, until it is told to stop. */
const busy = `
  const { parentPort, workerData } = require('node:worker_threads')
  import(workerData.module).then(({ CounterBoard }) => {
    const board = new CounterBoard(workerData.board, workerData.lane)
    const stop = new Int32Array(workerData.stop)
    const count = (place, by) => Atomics.add(board.words, board.countsAt + place, by)
    const mine = board.take('held by all')
    parentPort.postMessage('busy')
    let rounds = 0
    for (; Atomics.load(stop, 0) === 0; rounds++) {
      count(mine, 1)
      const name = 'name ' + (rounds % 9)
      const place = board.take(name)
      if (place === -1) continue
      if (count(place, 1) !== 0) throw new Error('a place that is new to me does not begin at nothing')
      const again = board.take(name)
      if (again !== -1 && again !== place) throw new Error('the place was given to another name')
      board.give(place)
    }
    parentPort.postMessage(rounds)
  })`

test('threads at work together lose nothing, and one that is ended at any point holds nobody up', async () => {
  const board = makeCounterBoard({ lanes: 4, places: 8 })
  const stop = new SharedArrayBuffer(4)
  const module = new URL('./counter-board.ts', import.meta.url).href
  const start = async (lane: number) => {
    const worker = new Worker(busy, { eval: true, workerData: { module, board, lane, stop } })
    await once(worker, 'message')
    return worker
  }
  const watching = new LaneCounters(board, 3)
  const total = watching.slot('held by all')
  const steady = await Promise.all([start(0), start(1)])
  const ends = steady.map((worker) => once(worker, 'exit'))
  const rounds = steady.map((worker) => once(worker, 'message'))
  for (const round of rounds) round.catch(() => {})
  try {
    for (let death = 0; death < 5; death++) {
      const before = watching.total(total)
      const worker = await start(2)
      await until(systemClock, 'they count', 30_000, () => watching.total(total) > before + 1_000, 1)
      await worker.terminate()
      clearLane(board, 2)
    }
  } finally {
    Atomics.store(new Int32Array(stop), 0, 1)
  }
  const counted = (await Promise.all(rounds)).map(([count]) => count as number)
  await Promise.all(ends)
  assert.equal(watching.total(total), counted[0]! + counted[1]!)
  // Both have ended without giving up the name: it goes with their lanes.
  for (const lane of [0, 1]) clearLane(board, lane)
  assert.equal(watching.total(total), 0)
  const slots = Array.from({ length: 7 }, (_, at) => watching.slot(`other ${at}`))
  assert.ok(slots.every((slot) => slot < 8 && watching.total(slot) === 0))
})
