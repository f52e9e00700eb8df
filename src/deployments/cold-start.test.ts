/** How long it took until something answered: from whom on, of what parts, and the event when it was too long. */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { setDesiredReplicas } from '../autoscaling/store.ts'
import { lockDeployment } from './store.ts'
import { openWorkshop, type Seen } from './testing/workshop.ts'

const workshop = await openWorkshop(2, { coldStartTargetSeconds: 60 })
after(() => workshop.close())
const { machines, clock, db, deployments, lifecycle, scaling, operator } = workshop

const isServing = ({ row }: Seen) => row.phase === 'serving'
const missedOf = async (id: string) =>
  (await deployments.events(operator, id, { limit: 50, type: 'deployment.cold_start_missed' })).items.map(
    ({ data }) => data,
  )
const lastOf = async (id: string) => (await deployments.explain(operator, id)).coldStart

/** The newest machine loads, warms up and answers after these times; it says so itself, as it was. */
async function startUp(id: string, loadMs: number, warmupMs: number): Promise<void> {
  const known = new Set(machines.all.keys())
  machines.next = 'loading'
  await workshop.untilSo(id, () => [...machines.all.keys()].some((one) => !known.has(one)))
  const replica = [...machines.all.keys()].find((one) => !known.has(one))!
  clock.pass(loadMs + warmupMs)
  await machines.say(replica, 'ready', {
    status: 'ok',
    phases_ms_ago: { load: loadMs + warmupMs, warmup: warmupMs, ready: 0 },
  })
  await db.run('update deployments set next_at = $2 where id = $1', [id, new Date(clock.now())])
  await workshop.untilSo(id, ({ row }) => row.ready_replicas === row.desired_replicas, 1)
}

async function wakeFor(id: string): Promise<void> {
  await db.tx(async (tx) => {
    const row = (await lockDeployment(tx, id))!
    await setDesiredReplicas(tx, { row, to: 1, cause: 'request', why: 'One came.', at: new Date(clock.now()) })
  })
}

/** A gateway reports that requests wait; gone, it keeps nobody's drain waiting. */
const gatewayHolds = (deploymentId: string, heldSince: number) =>
  db.run(`insert into gateways (id, started_at, seen_at, demand) values ('g', $1, $1, $2)`, [
    new Date(clock.now()),
    JSON.stringify({ [deploymentId]: { held: 1, heldSince } }),
  ])

test('created, woken by a request that waited long already, woken by hand: from where on, and told when missed', async () => {
  const id = await workshop.make('sleepy', { scaling: { minReplicas: 0, coldStartTargetSeconds: 45 } })
  await startUp(id, 20_000, 500)
  const created = (await lastOf(id))!
  assert.deepEqual([created.from, created.targetMs, created.missed, created.waitedMs], ['create', 45_000, false, 0])
  assert.ok(created.actualMs >= 20_500 && created.actualMs < 21_500, String(created.actualMs))
  assert.deepEqual(await missedOf(id), [])

  await scaling.sleep(operator, id)
  await workshop.untilSo(id, ({ row }) => row.phase === 'asleep' && machines.all.size === 0)
  const firstAt = clock.now()
  await gatewayHolds(id, firstAt)
  clock.pass(30_000)
  await wakeFor(id)
  await db.run('delete from gateways')
  await startUp(id, 20_000, 500)
  const [missed, ...others] = await missedOf(id)
  assert.deepEqual(others, [])
  assert.deepEqual([missed!.from, missed!.target_ms, missed!.waited_ms], ['request', 45_000, 30_000])
  assert.equal(missed!.actual_ms, clock.now() - firstAt)
  const parts = missed!.phase_ms as Record<string, number>
  assert.deepEqual([parts.load, parts.warmup], [20_000, 500], 'to the millisecond, as the engine said')
  const last = (await lastOf(id))!
  assert.deepEqual([last.from, last.missed, last.phaseMs], ['request', true, parts])
  const [replica] = await deployments.replicas(operator, id)
  assert.deepEqual([replica!.startMs, replica!.startPhases.ready], [parts, undefined])

  await scaling.change(operator, id, { coldStartTargetSeconds: 0 })
  await scaling.sleep(operator, id)
  await workshop.untilSo(id, ({ row }) => row.phase === 'asleep' && machines.all.size === 0)
  await scaling.wake(operator, id)
  await scaling.sleep(operator, id)
  clock.pass(600_000)
  await workshop.untilSo(id, ({ row }) => row.phase === 'asleep' && machines.all.size === 0)
  await scaling.wake(operator, id)
  await startUp(id, 70_000, 0)
  const woken = (await lastOf(id))!
  assert.deepEqual([woken.from, woken.targetMs, woken.missed], ['wake', null, false])
  assert.ok(woken.actualMs < 75_000, 'the wake that was called off is not counted')
  assert.equal((await missedOf(id)).length, 1)
  await deployments.remove(operator, id, { onlyIfStopped: false })
  await workshop.untilSo(id, ({ row }) => row.phase === 'deleted')
})

test('waiting for hardware counts; one more beside others is measured from its own hardware on', async () => {
  machines.slots = 1
  const other = await workshop.make('in-the-way')
  machines.next = 'ready'
  await workshop.untilSo(other, isServing)
  const id = await workshop.make('queued')
  await workshop.untilSo(id, ({ row }) => row.phase === 'queued')
  clock.pass(100_000)
  await lifecycle.stop(operator, other)
  await startUp(id, 5_000, 0)
  const [missed] = await missedOf(id)
  assert.deepEqual([missed!.from, missed!.target_ms], ['create', 60_000], 'the server’s own target')
  assert.ok((missed!.waited_ms as number) >= 100_000)
  machines.slots = 2
  clock.pass(3_600_000)
  await scaling.change(operator, id, { minReplicas: 2, maxReplicas: 2 })
  await startUp(id, 65_000, 0)
  const [second] = await missedOf(id)
  assert.deepEqual([second!.from, second!.waited_ms], ['replica', 0])
  assert.ok((second!.actual_ms as number) < 70_000)
  assert.deepEqual([(await lastOf(id))!.from, (await lastOf(id))!.missed], ['replica', true])
})
