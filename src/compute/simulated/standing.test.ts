/** Asked again and again about many, in all that may go wrong between: what is heard is what is. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Random } from '../../../test/paper/random.ts'
import type { ReplicaId } from '../../kernel/ids.ts'
import type { Observation } from '../contract.ts'
import { type Answer, Asking, type Question, Standing } from './standing.ts'

const running = (port: number): Observation => ({ state: 'running', address: 'here', port, startedAt: 1 })
const exited = (at: number): Observation => {
  return { state: 'exited', exit: { at, code: 1, signal: null, lastLines: [], why: 'it died' } }
}

class World {
  readonly machines = new Map<ReplicaId, Observation>()
  standing = this.begin()
  /** Machines that answers told of. */
  told = 0

  begin(): Standing {
    return new Standing(async (ids) => {
      return new Map(ids.map((id) => [id, this.machines.get(id) ?? { state: 'not_found' }]))
    })
  }

  async hear(question: Question): Promise<Answer> {
    const answer: Answer = JSON.parse(JSON.stringify(await this.standing.answer(question)))
    this.told += answer?.changed.length ?? 0
    return answer
  }

  expected(ids: readonly ReplicaId[]): [ReplicaId, Observation][] {
    return ids.map((id) => [id, this.machines.get(id) ?? { state: 'not_found' }])
  }
}

const idOf = (n: number) => `rep_${n}` as ReplicaId

test('machines come, change and go, answers are lost, the provider forgets: each answer is what is', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed)
    const world = new World()
    let loses = false
    const asking = new Asking(async (question) => {
      const answer = await world.hear(question)
      if (loses) throw new Error('the answer was lost')
      return answer
    })
    let ids: ReplicaId[] = []
    for (let step = 0; step < 60; step++) {
      const id = idOf(random.int(1, 30))
      if (random.chance(0.5)) world.machines.set(id, random.chance(0.5) ? running(step) : exited(step))
      else world.machines.delete(id)
      if (random.chance(0.3)) ids = Array.from({ length: 30 }, (_, n) => idOf(n + 1)).filter(() => random.chance(0.7))
      if (random.chance(0.05)) world.standing = world.begin()
      loses = random.chance(0.15)
      const heard = await asking.observeAll(ids).catch(() => null)
      if (heard !== null) assert.deepEqual([...heard], world.expected(ids), `seed ${seed}, step ${step}`)
    }
  }
})

test('of thousands that are as they were nothing is told but the one that died', async () => {
  const world = new World()
  const ids = Array.from({ length: 25_000 }, (_, n) => idOf(n))
  for (const id of ids) world.machines.set(id, running(1))
  const asking = new Asking((question) => world.hear(question))
  assert.equal((await asking.observeAll(ids)).size, ids.length)
  assert.equal(world.told, ids.length)
  world.machines.set(idOf(7), exited(2))
  const heard = await asking.observeAll(ids)
  assert.deepEqual(heard.get(idOf(7)), exited(2))
  assert.equal(world.told, ids.length + 1)
})

test('two askers do not disturb each other, and more than are remembered begin anew', async () => {
  const world = new World()
  const ids = [idOf(1), idOf(2)]
  const askers = Array.from({ length: 12 }, () => new Asking((question) => world.hear(question)))
  for (let round = 0; round < 3; round++) {
    world.machines.set(idOf(1), running(round))
    for (const asker of askers) assert.deepEqual([...(await asker.observeAll(ids))], world.expected(ids))
  }
})
