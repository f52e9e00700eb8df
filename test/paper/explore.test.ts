/** The explorer itself: it finds what can go wrong, and nothing where nothing can. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { explore, findDeadEnd, findTrap, type Model, wayTo } from './explore.ts'

/** Two who add up to a shared number, each by reading it and then writing one more. */
function counters(atomic: boolean): Model<{ sum: number; read: (number | null)[]; left: number[] }> {
  return {
    first: { sum: 0, read: [null, null], left: [1, 1] },
    key: (state) => JSON.stringify(state),
    steps: ({ sum, read, left }) =>
      [0, 1].flatMap((who) => {
        const take = async () => {
          if (atomic) return { sum: sum + 1, read, left: left.with(who, 0) }
          if (read[who] === null) return { sum, read: read.with(who, sum), left }
          return { sum: read[who]! + 1, read: read.with(who, null), left: left.with(who, 0) }
        }
        return left[who]! > 0 ? [{ name: `${who}`, sure: true, take }] : []
      }),
  }
}

test('every order is tried: a lost update is found, and none where there is none', async () => {
  const ends = async (atomic: boolean) => {
    const { nodes } = await explore(counters(atomic), 100)
    const last = nodes.filter(({ state }) => state.left.every((left) => left === 0))
    return last.map(({ state }) => state.sum).sort()
  }
  assert.deepEqual(await ends(false), [1, 2])
  assert.deepEqual(await ends(true), [2])
})

/** A ring of four states with a way out of one of them. */
function ring(exit: 'sure' | 'perhaps' | 'none'): Model<number> {
  return {
    first: 0,
    key: String,
    steps: (at) => {
      if (at === 9) return []
      const on = { name: 'on', sure: true, take: async () => (at + 1) % 4 }
      const out = { name: 'out', sure: exit === 'sure', take: async () => 9 }
      return exit === 'none' ? [on] : [on, out]
    },
  }
}

test('going round for ever is a trap, unless a way out that is always there is taken for sure', async () => {
  const trap = async (exit: 'sure' | 'perhaps' | 'none') => findTrap(await explore(ring(exit), 10), (at) => at === 9)
  assert.equal((await trap('sure'))?.state, undefined)
  assert.equal((await trap('perhaps'))?.state, 0)
  assert.equal((await trap('none'))?.state, 0)
})

test('standing still is a trap; the way there is told', async () => {
  const model: Model<number> = {
    first: 0,
    key: String,
    steps: (at) => (at < 3 ? [{ name: `to ${at + 1}`, sure: true, take: async () => at + 1 }] : []),
  }
  const trap = findTrap(await explore(model, 10), (at) => at === 2)
  assert.equal(trap?.state, 3)
  const graph = await explore(model, 10)
  assert.equal(
    findDeadEnd(graph, (at) => at === 3),
    null,
  )
  assert.equal(findDeadEnd(graph, (at) => at === 2)?.state, 3)
  assert.equal(wayTo(trap!), 'to 1\nto 2\nto 3')
  await assert.rejects(
    explore({ ...model, steps: (at) => [{ name: 'more', sure: true, take: async () => at + 1 }] }, 5),
    /more than 5/,
  )
})
