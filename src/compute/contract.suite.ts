/**
 * What every compute driver must do, run over the real thing. A driver's own test calls `computeContract` with a
 * harness; a case that it cannot run is skipped with a reason.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { ReplicaId } from '../kernel/ids.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { newId } from '../runtime/ids.ts'
import { type ComputeDriver, ComputeError, type Exit, type Placement, type ReplicaOrder } from './contract.ts'

/**
 * `serves` prints at least three lines and runs until it is asked to stop; `crashes` prints 60 lines, `line 1` …
 * `line 60`, and ends with status 3; `stubborn` ignores SIGTERM.
 */
export type Behaviour = 'serves' | 'crashes' | 'stubborn'

export type ContractCase =
  | 'offers'
  | 'runs'
  | 'observe_all'
  | 'create_twice'
  | 'create_at_once'
  | 'exit'
  | 'stubborn'
  | 'delete_unknown'
  | 'delete_before_ready'
  | 'capacity'
  | 'unknown_hardware'
  | 'second_driver'
  | 'logs'

export interface ComputeHarness {
  driver: ComputeDriver
  /** Hardware of which a few units are free; a replica takes one. */
  placement: Placement
  order(id: ReplicaId, behaviour: Behaviour, placement: Placement): ReplicaOrder
  /** Another driver over the same place, as the next process would make it. */
  again(): ComputeDriver
  /** How many engines really run for this replica. */
  engines(id: ReplicaId): number
  /** How long a state may take to come, ms. */
  patienceMs: number
  dispose(): Promise<void>
}

/** `skips`: reasons by case. */
export function computeContract(
  name: string,
  make: () => Promise<ComputeHarness>,
  skips: Partial<Record<ContractCase, string>> = {},
): void {
  describe(`compute contract: ${name}`, () => {
    let harness: ComputeHarness
    before(async () => {
      harness = await make()
    })
    after(() => harness.dispose())
    const contract = (which: ContractCase, what: string, test: (world: World) => Promise<void>) =>
      it(what, { skip: skips[which] ?? false }, () => test(new World(harness)))
    offersAndCapacity(contract)
    creating(contract)
    ending(contract)
  })
}

type Contract = (which: ContractCase, what: string, test: (world: World) => Promise<void>) => void

class World {
  readonly harness: ComputeHarness
  readonly driver: ComputeDriver
  constructor(harness: ComputeHarness) {
    this.harness = harness
    this.driver = harness.driver
  }

  order(behaviour: Behaviour = 'serves', placement: Partial<Placement> = {}): ReplicaOrder {
    return this.harness.order(newId('rep'), behaviour, { ...this.harness.placement, ...placement })
  }

  async started(behaviour: Behaviour = 'serves'): Promise<ReplicaId> {
    const order = this.order(behaviour)
    await this.driver.create(order)
    return order.id
  }

  until<T>(what: string, probe: () => Promise<T>) {
    return until(systemClock, what, this.harness.patienceMs, probe)
  }

  running(id: ReplicaId) {
    return this.until(`${id} runs`, async () => {
      const seen = await this.driver.observe(id)
      return seen.state === 'running' ? seen : null
    })
  }

  exited(id: ReplicaId): Promise<Exit> {
    return this.until(`${id} has ended`, async () => {
      const seen = await this.driver.observe(id)
      return seen.state === 'exited' ? seen.exit : null
    })
  }

  async deleted(id: ReplicaId, graceSeconds?: number): Promise<void> {
    await this.until(`${id} is gone`, async () => {
      await this.driver.delete(id, graceSeconds === undefined ? {} : { graceSeconds })
      return (await this.driver.observe(id)).state === 'not_found'
    })
    assert.equal(this.harness.engines(id), 0)
    assert.ok(!(await this.driver.list()).includes(id))
  }

  async free(): Promise<number> {
    const { gpuType, region } = this.harness.placement
    const offers = await this.driver.offers()
    return offers.find((offer) => offer.gpuType === gpuType && offer.region === region)!.freeUnits
  }
}

function meaning(expected: ComputeError['meaning']) {
  return (error: unknown) => {
    assert.ok(error instanceof ComputeError, String(error))
    assert.equal(error.meaning, expected, error.message)
    return true
  }
}

function offersAndCapacity(contract: Contract) {
  contract('offers', 'offers say what there is, and count what is in use', async (world) => {
    for (const offer of await world.driver.offers()) {
      assert.equal(offer.provider, world.driver.name)
      assert.ok(offer.freeUnits >= 0 && offer.freeUnits <= offer.totalUnits)
    }
    const before = await world.free()
    const id = await world.started()
    assert.equal(await world.free(), before - 1)
    await world.deleted(id, 0)
    assert.equal(await world.free(), before)
  })

  contract('capacity', 'more than there is: capacity_short, and nothing stays', async (world) => {
    const free = await world.free()
    const orders = Array.from({ length: free + 1 }, () => world.order())
    const results = await Promise.allSettled(orders.map((order) => world.driver.create(order)))
    const refused = results.filter((result) => result.status === 'rejected')
    assert.equal(refused.length, 1)
    meaning('capacity_short')(refused[0]!.reason)
    assert.equal((await world.driver.list()).length, free)
    await Promise.all(orders.map((order) => world.deleted(order.id, 0)))
  })

  contract('unknown_hardware', 'hardware that is not there: rejected, and nothing stays', async (world) => {
    const order = world.order('serves', { gpuType: 'abacus' })
    await assert.rejects(world.driver.create(order), meaning('rejected'))
    assert.equal((await world.driver.observe(order.id)).state, 'not_found')
  })
}

function creating(contract: Contract) {
  contract('runs', 'a created replica runs, is listed, and is gone after delete', async (world) => {
    const id = await world.started()
    const seen = await world.running(id)
    assert.ok(seen.port > 0 && seen.address.length > 0)
    assert.ok(seen.startedAt <= systemClock.now())
    assert.deepEqual(await world.driver.list(), [id])
    await world.driver.renew([id, newId('rep')])
    await world.deleted(id)
  })

  contract('observe_all', 'asked about many at once it says of each what it says of one', async (world) => {
    if (world.driver.observeAll === undefined) return
    const [runs, ends, nobody] = [await world.started(), await world.started('crashes'), newId('rep')]
    await world.running(runs)
    await world.exited(ends)
    const ids = [nobody, runs, ends]
    const each = await Promise.all(ids.map(async (id) => [id, await world.driver.observe(id)] as const))
    assert.deepEqual([...(await world.driver.observeAll(ids))].sort(), each.sort())
    assert.equal((await world.driver.observeAll([])).size, 0)
    for (const id of ids) await world.deleted(id, 0)
  })

  contract('create_twice', 'a second create of the same id changes nothing', async (world) => {
    const order = world.order()
    await world.driver.create(order)
    const first = await world.running(order.id)
    await world.driver.create(order)
    assert.deepEqual(await world.running(order.id), first)
    assert.equal(world.harness.engines(order.id), 1)
    await world.deleted(order.id, 0)
  })

  contract('create_at_once', 'ten creates at once, through two drivers, start one engine', async (world) => {
    const order = world.order()
    const other = world.harness.again()
    const drivers = Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? world.driver : other))
    await Promise.all(drivers.map((driver) => driver.create(order)))
    await world.running(order.id)
    await world.until('the losers are gone', async () => world.harness.engines(order.id) === 1)
    await world.deleted(order.id, 0)
  })

  contract('second_driver', 'the next process finds what this one started', async (world) => {
    const id = await world.started()
    const first = await world.running(id)
    const next = world.harness.again()
    assert.deepEqual(await next.observe(id), first)
    assert.deepEqual(await next.list(), [id])
    await world.until('it is gone', async () => {
      await next.delete(id)
      return (await world.driver.observe(id)).state === 'not_found'
    })
    assert.equal(world.harness.engines(id), 0)
  })

  contract('logs', 'logs give the last lines, oldest first; an unknown replica has none', async (world) => {
    const id = await world.started('crashes')
    await world.exited(id)
    assert.deepEqual(await world.driver.logs(id, 2), ['line 59', 'line 60'])
    assert.deepEqual(await world.driver.logs(id, 0), [])
    await world.deleted(id)
    await assert.rejects(world.driver.logs(id, 2), meaning('not_found'))
  })
}

function ending(contract: Contract) {
  contract('exit', 'an engine that ends by itself: when, how, why, and its last 50 lines', async (world) => {
    const from = systemClock.now()
    const id = await world.started('crashes')
    const exit = await world.exited(id)
    assert.ok(exit.at >= from && exit.at <= systemClock.now())
    assert.equal(exit.code, 3)
    assert.equal(exit.signal, null)
    assert.equal(exit.lastLines.length, 50)
    assert.equal(exit.lastLines.at(-1), 'line 60')
    assert.match(exit.why, /status 3/)
    assert.deepEqual(await world.exited(id), exit, 'it does not change any more')
    await world.deleted(id)
  })

  contract('stubborn', 'an engine that ignores SIGTERM is killed after its grace', async (world) => {
    const id = await world.started('stubborn')
    await world.until('it prints', async () => (await world.driver.logs(id, 1)).length > 0)
    const asked = systemClock.monotonicMs()
    await world.deleted(id, 0.3)
    assert.ok(systemClock.monotonicMs() - asked >= 290)
  })

  contract('delete_unknown', 'deleting what is not there is fine', async (world) => {
    const id = newId('rep')
    await world.driver.delete(id)
    assert.equal((await world.driver.observe(id)).state, 'not_found')
  })

  contract('delete_before_ready', 'deleting in the middle of the start leaves nothing', async (world) => {
    const order = world.order()
    const create = world.driver.create(order).catch((error: unknown) => error)
    await world.until('it is known', async () => (await world.driver.observe(order.id)).state !== 'not_found')
    await world.deleted(order.id, 0)
    await create
    await world.deleted(order.id, 0)
  })
}
