/** What people do while a turn looks around: it wins. On the real database; the hardware is asked, and never used. */

import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { Access } from '../access/commands.ts'
import { Scaling } from '../autoscaling/commands.ts'
import { type ComputeDriver, ComputeError, type Offer } from '../compute/contract.ts'
import { availableEngines } from '../engines/registry.ts'
import { Secret } from '../kernel/secret.ts'
import { loadCatalogue, starterModelId } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import { systemClock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import { packageRoot } from '../runtime/self.ts'
import type { Database } from '../store/database.ts'
import { claim } from '../store/leases.ts'
import { testDatabase } from '../store/testing.ts'
import { Deployments } from './commands.ts'
import { Lifecycle } from './lifecycle.ts'
import * as store from './store.ts'
import { testLimits } from './testing/limits.ts'
import { type TurnWorld, turn } from './turn.ts'

const db = await testDatabase()
after(() => db.close())
const seal = new Seal(new Secret('a secret of the test'))
const free: Offer = { provider: 'test', gpuType: 'cpu', region: 'here', totalUnits: 4, freeUnits: 4, emulated: false }

/** What happens between a turn's look and the record of what it decided. */
const nothing = async () => {}
let meanwhile: () => Promise<unknown> = nothing
const interrupted: Database = {
  ...db,
  tx: async (fn, options) => {
    const first = meanwhile
    meanwhile = nothing
    await first()
    return db.tx(fn, options)
  },
}
const refuse = (what: string) => async (): Promise<never> => {
  throw new ComputeError('rejected', `The engine ended at once (${what}).`)
}
let create: ComputeDriver['create'] = refuse('create')
const hardware: ComputeDriver = {
  name: 'test',
  offers: async () => [free],
  create: (order) => create(order),
  observe: refuse('observe'),
  list: async () => [],
  delete: async () => {},
  logs: async () => [],
  renew: async () => {},
}
const settings = {
  startDeadlineMs: 20_000,
  brakeAfter: 2,
  rollbackAfter: 2,
  backoffMs: 1,
  backoffMaximumMs: 1,
  unresponsiveMs: 5_000,
  drainDeadlineMs: 500,
}
const world: TurnWorld = {
  db: interrupted,
  clock: systemClock,
  seal,
  log: silentLog,
  computes: new Map([['test', hardware]]),
  engines: availableEngines(),
  models: loadCatalogue({ allowPaths: [packageRoot], starterStandsIn: false }),
  hardware: loadHardware({}),
  settings,
  stopGraceSeconds: 1,
  recall: () => null,
  follow: () => {},
  due: () => {},
}
const context = { ...world, ...testLimits, db, wake: () => {} }
const [deployments, lifecycle, scaling] = [new Deployments(context), new Lifecycle(context), new Scaling(context)]
const access = new Access(db, seal, systemClock)
await access.ensureOperator('sk_operator_of_the_test')
const operator = await access.authenticate('Bearer sk_operator_of_the_test', undefined)

const make = async (name: string) =>
  (await deployments.create(operator, { name, modelId: starterModelId, gpuType: 'cpu' }, null)).id

/** Turns for whatever is due: each after the one before. Returns how many there were. */
async function takeTurns(): Promise<number> {
  const due = { table: 'deployments' as const, owner: 'test', now: systemClock.now(), leaseMs: 60_000, limit: 10 }
  const leases = await claim(db, due)
  for (const lease of leases) await turn(world, lease)
  if (meanwhile !== nothing) {
    const rows = await db.query('select name, phase, next_at, lease_until, starts from deployments')
    assert.fail(`no turn recorded anything at ${new Date(due.now).toISOString()}: ${JSON.stringify(rows)}`)
  }
  return leases.length
}

test('deleted while a turn looked: it stays deleted, its route too, and nothing is started for it', async () => {
  const id = await make('deleted')
  meanwhile = () => deployments.remove(operator, id, { onlyIfStopped: false })
  assert.equal(await takeTurns(), 1)
  assert.equal((await store.routeOf(db, id))!.removed, true)
  assert.deepEqual(await store.liveReplicasOf(db, id), [])
  assert.equal(await takeTurns(), 1, 'it is looked at again at once')
  assert.equal((await store.deploymentById(db, id))!.phase, 'deleted')
})

test('stopped, or put to sleep, while a turn looked: the word on the route is theirs', async () => {
  const id = await make('stopped')
  meanwhile = () => lifecycle.stop(operator, id)
  await takeTurns()
  assert.equal((await store.routeOf(db, id))!.phase, 'stopping')
  assert.deepEqual(await store.liveReplicasOf(db, id), [])
  await deployments.remove(operator, id, { onlyIfStopped: false })
  const sleeper = await make('sleeper')
  await takeTurns()
  await db.run(`update deployments set next_at = $1 where id = $2`, [new Date(systemClock.now()), sleeper])
  meanwhile = () => scaling.sleep(operator, sleeper)
  await takeTurns()
  assert.equal((await store.deploymentById(db, sleeper))!.phase, 'asleep')
  await deployments.remove(operator, sleeper, { onlyIfStopped: false })
  await takeTurns()
})

test('started again while a turn was about to give up: it is tried again', async () => {
  const id = await make('given-up')
  for (let i = 0; i < 20 && (await store.deploymentById(db, id))!.starts.failed < settings.brakeAfter; i += 1)
    await takeTurns()
  const before = (await store.deploymentById(db, id))!
  assert.equal(before.starts.failed, settings.brakeAfter)
  assert.notEqual(before.phase, 'failed')
  meanwhile = () => lifecycle.restart(operator, id)
  await takeTurns()
  const after = (await store.deploymentById(db, id))!
  assert.deepEqual([after.starts.failed, after.phase === 'failed'], [0, false])
})

test('a provider that never answers the very first create is asked again', async () => {
  const id = await make('unanswered')
  const asked: string[] = []
  create = async (order) => {
    if (order.deploymentId === id) asked.push(order.id)
    throw new ComputeError('unavailable', 'The provider did not answer.')
  }
  await takeTurns()
  const { next_at } = (await store.deploymentById(db, id))!
  assert.ok(next_at !== null && next_at.getTime() - systemClock.now() < 5_000, `looked at again: ${next_at}`)
  await db.run('update deployments set next_at = $1 where id = $2', [new Date(systemClock.now()), id])
  await takeTurns()
  assert.deepEqual([asked.length, new Set(asked).size], [2, 1])
  create = refuse('create')
})
