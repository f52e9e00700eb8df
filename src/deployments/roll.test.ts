/** Rolls: what serves goes on serving, the newest wish wins, and what cannot be had without a gap is asked for. */
import { strict as assert } from 'node:assert'
import { after, afterEach, beforeEach, test } from 'node:test'
import { setDesiredReplicas } from '../autoscaling/store.ts'
import { Fault } from '../kernel/fault.ts'
import { isStaying } from './replica.ts'
import { lockDeployment } from './store.ts'
import { openWorkshop, type Seen } from './testing/workshop.ts'

const workshop = await openWorkshop(8)
after(() => workshop.close())
const { machines, clock, db, deployments, lifecycle, scaling, operator } = workshop

beforeEach(() => {
  Object.assign(machines, { slots: 8, next: 'ready' })
})

afterEach(async () => {
  const { items } = await deployments.list(operator, { limit: 50 })
  await remove(...items.map(({ id }) => id))
})

const isServing = ({ row }: Seen) => row.phase === 'serving'
const isRolled = (revision: number) => (seen: Seen) =>
  isServing(seen) && seen.row.revision === revision && seen.replicas.every(({ phase }) => phase !== 'draining')
const routed = ({ route }: Seen) => route.replicas.filter(({ state }) => state === 'ready').map(({ id }) => id)
const change = (id: string, sequences: number, options = {}) =>
  lifecycle.change(operator, id, { engine: { maxNumSeqs: sequences } }, null, options)
const typesOf = async (id: string) =>
  (await deployments.events(operator, id, { limit: 200 })).items.map(({ type }) => type)
async function faultOf(work: Promise<unknown>): Promise<Fault> {
  const fault = await work.then(
    () => null,
    (error: unknown) => error,
  )
  assert.ok(fault instanceof Fault, String(fault))
  return fault
}
async function remove(...ids: string[]): Promise<void> {
  for (const id of ids) await deployments.remove(operator, id, { onlyIfStopped: false })
  for (const id of ids) await workshop.untilSo(id, ({ row }) => row.phase === 'deleted')
}

test('changed under load: as many as before answer at every moment, and as many are wanted', async () => {
  const id = await workshop.make('loaded', { scaling: { minReplicas: 1, maxReplicas: 4 } })
  await workshop.untilSo(id, isServing)
  await db.tx(async (tx) => {
    const row = (await lockDeployment(tx, id))!
    await setDesiredReplicas(tx, { row, to: 3, cause: 'load', why: 'Many ask.', at: new Date(clock.now()) })
  })
  await workshop.untilSo(id, (seen) => isServing(seen) && routed(seen).length === 3)
  await change(id, 2)
  let most = 0
  const rolled = await workshop.untilSo(id, (seen) => {
    assert.ok(routed(seen).length >= 3, `${routed(seen).length} answer`)
    assert.equal(seen.row.desired_replicas, 3)
    most = Math.max(most, seen.replicas.filter(isStaying).length)
    return isRolled(2)(seen)
  })
  assert.equal(most, 4, 'one at a time beside them')
  assert.equal(routed(rolled).length, 3)
})

test('changed again while it rolls: the newest wins, and the oldest serves until that is ready', async () => {
  const id = await workshop.make('twice')
  const [first] = routed(await workshop.untilSo(id, isServing))
  machines.next = 'loading'
  await change(id, 2)
  const begun = await workshop.untilSo(id, () => machines.all.size === 2)
  const second = begun.replicas.find((one) => one.id !== first)!
  await change(id, 3)
  const both = await workshop.untilSo(id, () => !machines.all.has(second.id) && machines.all.size === 2)
  assert.deepEqual(routed(both), [first])
  const third = [...machines.all.keys()].find((one) => one !== first)!
  await machines.say(third, 'ready')
  const rolled = await workshop.untilSo(id, isRolled(3))
  assert.deepEqual(routed(rolled), [third])
  assert.ok(rolled.replicas.every((one) => one.id !== second.id || one.ready_at === null))
})

test('changed back while it rolls: what still runs as before stays, and nothing starts', async () => {
  const id = await workshop.make('back')
  const [first] = routed(await workshop.untilSo(id, isServing))
  machines.next = 'loading'
  await change(id, 2)
  await workshop.untilSo(id, () => machines.all.size === 2)
  const begun = machines.created
  await lifecycle.change(operator, id, { engine: { maxNumSeqs: undefined } })
  const back = await workshop.untilSo(id, (seen) => isRolled(3)(seen) && machines.all.size === 1)
  assert.deepEqual([routed(back), machines.created], [[first], begun])
  assert.ok((await typesOf(id)).includes('replica.adopted'))
  const revisions = await lifecycle.revisions(operator, id)
  assert.deepEqual(
    revisions.map(({ number, current, weight, failed }) => [number, current, weight, failed]),
    [
      [3, true, 100, false],
      [2, false, 100, false],
      [1, false, 100, false],
    ],
  )
  await lifecycle.rollback(operator, id)
  assert.equal((await workshop.look(id)).row.revision, 4, 'to 1, which worked; 2 never did')
  assert.equal((await workshop.look(id)).row.spec.engine.maxNumSeqs, undefined)
})

test('a ceiling that its replicas are below, and nothing at all: nobody is replaced', async () => {
  const id = await workshop.make('ceiling')
  const [first] = routed(await workshop.untilSo(id, isServing))
  await lifecycle.change(operator, id, { maxHourlyUsd: '10' })
  const seen = await workshop.untilSo(id, isRolled(2))
  assert.deepEqual(routed(seen), [first])
  await lifecycle.change(operator, id, {})
  await lifecycle.change(operator, id, { maxHourlyUsd: '10' })
  assert.equal((await workshop.look(id)).row.revision, 2)
})

test('back to a revision by its number; to the current; where there is none; a restart replaces all', async () => {
  const id = await workshop.make('history')
  await workshop.untilSo(id, isServing)
  assert.equal((await faultOf(lifecycle.rollback(operator, id))).code, 'conflict')
  for (const sequences of [2, 3]) {
    await change(id, sequences)
    await workshop.untilSo(id, isRolled(sequences))
  }
  assert.match((await faultOf(lifecycle.rollback(operator, id, 9))).message, /no revision 9/)
  await lifecycle.rollback(operator, id, 3)
  assert.equal((await workshop.look(id)).row.revision, 3)
  await lifecycle.rollback(operator, id, 1)
  const first = await workshop.untilSo(id, isRolled(4))
  assert.equal(first.row.spec.engine.maxNumSeqs, undefined)
  await lifecycle.rollback(operator, id)
  assert.equal((await workshop.untilSo(id, isRolled(5))).row.spec.engine.maxNumSeqs, 3)
  const before = routed(await workshop.look(id))
  await lifecycle.restart(operator, id)
  const after = routed(await workshop.untilSo(id, isRolled(6)))
  assert.ok(after.length === 1 && after[0] !== before[0])
})

test('changed while nothing runs: asleep it sleeps on, stopped it stays stopped, queued it starts as it is now', async () => {
  const id = await workshop.make('still')
  await workshop.untilSo(id, isServing)
  await scaling.sleep(operator, id)
  await workshop.untilSo(id, ({ row }) => row.phase === 'asleep' && machines.all.size === 0)
  await change(id, 2)
  clock.pass(60_000)
  await workshop.takeTurns()
  assert.deepEqual([(await workshop.look(id)).row.phase, machines.all.size], ['asleep', 0])
  await scaling.wake(operator, id)
  await workshop.untilSo(id, isRolled(2))
  await lifecycle.stop(operator, id)
  await workshop.untilSo(id, ({ row }) => row.phase === 'stopped')
  await change(id, 3)
  clock.pass(60_000)
  await workshop.takeTurns()
  assert.deepEqual([(await workshop.look(id)).row.phase, machines.all.size], ['stopped', 0])
  machines.slots = 0
  await lifecycle.start(operator, id)
  await workshop.untilSo(id, ({ row }) => row.phase === 'queued')
  await change(id, 4)
  machines.slots = 1
  const seen = await workshop.untilSo(id, isRolled(4))
  assert.equal(seen.replicas.filter(({ gone_at }) => gone_at === null).length, 1)
})

/** One that fills its hardware and took `seconds` to start. */
async function slowStarter(name: string, slots: number, seconds: number): Promise<string> {
  Object.assign(machines, { slots, next: 'loading' })
  const id = await workshop.make(name, { replicas: slots })
  await workshop.untilSo(id, () => machines.all.size === slots)
  clock.pass(seconds * 1000)
  for (const replica of machines.all.keys()) await machines.say(replica, 'ready')
  await db.run('update deployments set next_at = $2 where id = $1', [id, new Date(clock.now())])
  await workshop.untilSo(id, isServing)
  return id
}

test('no spare hardware and a long start: refused with the numbers; allowed, it goes in place and keeps its place', async () => {
  const id = await slowStarter('tight', 1, 400)
  const waiting = await workshop.make('waiting')
  await workshop.untilSo(waiting, ({ row }) => row.phase === 'queued')
  const fault = await faultOf(change(id, 2))
  assert.equal(fault.code, 'downtime_not_allowed')
  const detail = fault.detail as Record<string, number>
  assert.equal(detail.hold_max_seconds, 300)
  assert.ok(detail.expected_start_seconds! >= 400 && detail.expected_start_seconds! < 410)
  assert.equal((await faultOf(lifecycle.restart(operator, id))).code, 'downtime_not_allowed')
  assert.equal((await workshop.look(id)).row.revision, 1)

  await change(id, 2, { allowDowntime: true })
  assert.match(
    (await workshop.look(id)).row.reason!.message,
    /goes in place, requests are held; .* 40\d s, as the last/,
  )
  const inPlace = await workshop.untilSo(id, (seen) => seen.replicas.length === 2 && machines.all.size === 1)
  assert.equal(inPlace.row.phase, 'rolling')
  machines.next = 'crash'
  for (const one of machines.all.keys()) machines.kill(one, 'no such file')
  const back = await workshop.untilSo(id, ({ row }) => row.revision === 1)
  assert.match((await lifecycle.revisions(operator, id))[0]!.failedWhy!, /Revision 2 did not start 2 times/)
  assert.equal(back.row.phase, 'starting')
  machines.next = 'ready'
  const healed = await workshop.untilSo(id, isServing)
  assert.equal(healed.row.spec.engine.maxNumSeqs, undefined)
  assert.equal((await workshop.look(waiting)).row.phase, 'queued', 'nobody else got the place')
  await lifecycle.rollback(operator, id, 2, null, { allowDowntime: true })
  await workshop.untilSo(id, isRolled(3))
})

test('in place and changed once more: the place goes from one to the next; changed back, the first one serves on', async () => {
  machines.slots = 1
  const id = await workshop.make('hesitant')
  const [first] = routed(await workshop.untilSo(id, isServing))
  const waiting = await workshop.make('patient')
  await workshop.untilSo(waiting, ({ row }) => row.phase === 'queued')
  machines.next = 'loading'
  await change(id, 2)
  await workshop.untilSo(id, ({ replicas }) => replicas.some((one) => one.phase === 'starting' && one.id !== first))
  await change(id, 3)
  await workshop.untilSo(
    id,
    ({ replicas }) =>
      replicas.length === 3 && replicas.some((one) => one.phase === 'starting' && machines.all.has(one.id)),
  )
  machines.next = 'ready'
  await machines.say([...machines.all.keys()][0]!, 'ready')
  const third = await workshop.untilSo(id, isRolled(3))
  assert.equal((await workshop.look(waiting)).row.phase, 'queued')

  const gateway = (inFlight: object) =>
    db.run(
      `insert into gateways (id, started_at, seen_at, routes_version, in_flight) values ('g', $1, $1, 1000000, $2)
       on conflict (id) do update set seen_at = $1, in_flight = $2`,
      [new Date(clock.now()), JSON.stringify(inFlight)],
    )
  const [serving] = routed(third)
  await gateway({ [serving!]: 1 })
  await change(id, 4)
  await workshop.untilSo(id, ({ replicas }) => replicas.some((one) => one.phase === 'draining'))
  await change(id, 3)
  const kept = await workshop.untilSo(id, isRolled(5))
  assert.deepEqual(routed(kept), [serving])
  assert.ok((await typesOf(id)).includes('replica.drain_called_off'))
  await db.run(`delete from gateways`)
})

test('the spare place is taken before the roll begins: it waits and serves, until it is allowed or a place frees', async () => {
  const id = await slowStarter('unlucky', 1, 400)
  machines.slots = 2
  await change(id, 2)
  machines.next = 'ready'
  const other = await workshop.make('quicker')
  await db.run('update deployments set next_at = null where id = $1', [id])
  await workshop.untilSo(other, isServing)
  await db.run('update deployments set next_at = $2 where id = $1', [id, new Date(clock.now())])
  const waits = await workshop.untilSo(id, ({ row }) => /waits for a spare place/.test(row.reason?.message ?? ''), 5)
  assert.deepEqual([waits.row.phase, routed(waits).length], ['rolling', 1])
  await lifecycle.change(operator, id, {}, null, { allowDowntime: true })
  await workshop.untilSo(id, isRolled(2))
})

test('three in three places: one after the other, two answer at every moment, and nobody has to allow it', async () => {
  const id = await slowStarter('three', 3, 400)
  machines.next = 'ready'
  await change(id, 2)
  await workshop.untilSo(id, (seen) => {
    assert.ok(routed(seen).length >= 2, `${routed(seen).length} answer`)
    return isRolled(2)(seen) && routed(seen).length === 3
  })
})
