/** Growth that may not be: by the quota, by the price ceiling. On the real database, with the real autoscaler and turns. */
import { strict as assert } from 'node:assert'
import { after, beforeEach, test } from 'node:test'
import { report } from '../access/gateways.ts'
import { Quotas } from '../deployments/quotas.ts'
import { openWorkshop } from '../deployments/testing/workshop.ts'
import { Autoscaler } from './loop.ts'
import { defaultDecideSettings } from './state.ts'

const workshop = await openWorkshop(0)
const { db, clock, machines, context, scaling, deployments, operator } = workshop
after(() => workshop.close())
const quotas = new Quotas(context)
const settings = { ...defaultDecideSettings, lookEverySeconds: 1, fastLookSeconds: 1 }
const autoscaler = new Autoscaler({ ...context, log: workshop.world.log, decideSettings: settings })

beforeEach(async () => {
  machines.kinds = [{ gpuType: 'h100', region: 'nyc2', units: 16 }]
  await quotas.set(operator, operator.orgId, null)
  for (const { id } of await db.query<{ id: string }>('select id from deployments where deleted_at is null')) {
    await deployments.remove(operator, id, { onlyIfStopped: false })
    await workshop.untilSo(id, ({ row }) => row.phase === 'deleted')
  }
})

const quiet = { held: 0, arrivals: 0, rejected: 0, lastAt: 0, heldSince: null, ttftMsP90: null }
/** `seconds` in which the gateway says the same; turns are taken between. */
async function pass(seconds: number, demand: Record<string, object> = {}): Promise<void> {
  for (let i = 0; i < seconds; i += 1) {
    clock.pass(1_000)
    const said = { id: 'gw_a', keyringVersion: 1e9, routesVersion: 1e9, inFlight: {}, demand }
    await report(db, said, clock.now())
    await autoscaler.tick()
    while ((await workshop.takeTurns()) > 0) clock.pass(1)
  }
}
const make = (name: string, over: object) => workshop.make(name, { gpuType: 'h100', ...over })
const decisions = async (id: string) => (await scaling.decisions(operator, id, { limit: 20 })).items

test('it grows as far as the quota has room, says why no further, and goes on once there is room', async () => {
  const other = await make('other', { replicas: 5 })
  const id = await make('grows', {
    scaling: { policy: 'target', minReplicas: 1, maxReplicas: 8, targetConcurrency: 1 },
  })
  await workshop.untilSo(id, ({ row }) => row.phase === 'serving')
  await pass(20, { [id]: { ...quiet, held: 40, lastAt: clock.now() } })
  const stopped = (await workshop.look(id)).row
  assert.equal(stopped.desired_replicas, 3, 'eight, less five')
  assert.deepEqual([stopped.phase, stopped.reason?.code], ['serving', 'quota_short'])
  assert.match(stopped.reason!.message, /its other deployments hold 5 of 8 GPUs, and a replica takes 1 GPU\./)
  const told = (await decisions(id)).filter(({ why }) => /hold 5 of 8/.test(why))
  assert.deepEqual(
    told.map(({ to }) => to),
    [3],
    'told with the step that could be had in part, and not again at every look',
  )
  await quotas.set(operator, operator.orgId, 12)
  await pass(10, { [id]: { ...quiet, held: 40, lastAt: clock.now() } })
  assert.equal((await workshop.look(id)).row.desired_replicas, 7)
  // Nobody wants more any longer, once the burst has left the window: it is said no longer.
  await pass(90)
  const calm = (await workshop.look(id)).row
  assert.deepEqual([calm.reason, calm.limited], [null, null])
  assert.equal((await workshop.look(other)).row.desired_replicas, 5)
})

test('a request to one that sleeps and may not wake: it says so at once, and wakes as soon as there is room', async () => {
  const id = await make('sleeper', { scaling: { minReplicas: 0, maxReplicas: 2 } })
  await workshop.untilSo(id, ({ row }) => row.phase === 'serving')
  await scaling.sleep(operator, id)
  const full = await make('full', { replicas: 8 })
  await workshop.untilSo(full, ({ row }) => row.phase === 'serving')
  await pass(1, { [id]: { ...quiet, held: 1, lastAt: clock.now() } })
  const { row, route } = await workshop.look(id)
  assert.deepEqual([row.phase, row.desired_replicas, row.reason?.code], ['asleep', 0, 'quota_short'])
  assert.deepEqual([route.phase, route.reason?.code, route.reason?.retry_after], ['asleep', 'quota_short', 60])
  assert.match(row.reason!.message, /^It cannot wake\. .* its other deployments hold 8 of 8 GPUs/)
  const [refused] = (await scaling.decisions(operator, id, { limit: 1 })).items
  assert.deepEqual([refused!.from, refused!.to, refused!.cause], [0, 0, 'request'])
  // Nobody asks: the next request is held again, and finds out for itself.
  await pass(8)
  assert.equal((await workshop.look(id)).row.reason?.code, 'asleep')
  await pass(1, { [id]: { ...quiet, arrivals: 3, rejected: 1, lastAt: clock.now() } })
  await pass(1, { [id]: { ...quiet, arrivals: 4, rejected: 2, lastAt: clock.now() } })
  assert.equal((await workshop.look(id)).row.reason?.code, 'quota_short', 'what was refused asks, too')
  await deployments.remove(operator, full, { onlyIfStopped: false })
  await pass(2, { [id]: { ...quiet, held: 1, arrivals: 4, rejected: 2, lastAt: clock.now() } })
  assert.equal((await workshop.look(id)).row.desired_replicas, 1)
})

test('it grows as far as its price ceiling has room', async () => {
  const id = await make('thrifty', {
    maxHourlyUsd: '10',
    scaling: { policy: 'target', minReplicas: 1, maxReplicas: 8, targetConcurrency: 1 },
  })
  await workshop.untilSo(id, ({ row }) => row.phase === 'serving')
  await pass(20, { [id]: { ...quiet, held: 40, lastAt: clock.now() } })
  const { row } = await workshop.look(id)
  assert.deepEqual([row.desired_replicas, row.phase, row.reason?.code], [2, 'serving', 'price_ceiling'])
  const view = await deployments.get(operator, id)
  assert.deepEqual([view.hourlyCost, view.hourlyCostMax], [8_820_000n, 10_000_000n])
})
