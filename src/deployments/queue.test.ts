/** Short of hardware, with real turns on the real database: who waits, what is said, and who gets what becomes free. */
import { strict as assert } from 'node:assert'
import { after, beforeEach, test } from 'node:test'
import type { Principal } from '../access/permissions.ts'
import type { Fault } from '../kernel/fault.ts'
import { starterModelId } from '../models/catalogue.ts'
import { stall } from './queue-store.ts'
import { openWorkshop, type Seen } from './testing/workshop.ts'

const workshop = await openWorkshop(0, { reserveAfterMs: 600_000, refusedMs: 30_000, backoffMs: 250 })
const { db, machines, clock, lifecycle, scaling, deployments, operator } = workshop
after(() => workshop.close())

const [a, b, c] = (await Promise.all(
  ['org_a', 'org_b', 'org_c'].map(async (orgId): Promise<Principal> => {
    await db.run('insert into orgs (id, name, created_at) values ($1, $1, now())', [orgId])
    return { ...operator, orgId }
  }),
)) as [Principal, Principal, Principal]

const nyc = { gpuType: 'h100', region: 'nyc2', units: 2 }
const tor = { gpuType: 'mi300x', region: 'tor1', units: 0 }

/** Nobody has anything, and there are two h100. */
beforeEach(async () => {
  Object.assign(machines, { slots: 0, next: 'ready', kinds: [nyc, tor] })
  Object.assign(nyc, { units: 2 })
  Object.assign(tor, { units: 0 })
  delete (nyc as { lies?: boolean }).lies
  const rows = await db.query<{ id: string; org_id: string }>(
    `select id, org_id from deployments where deleted_at is null`,
  )
  for (const { id, org_id } of rows)
    await deployments.remove({ ...operator, orgId: org_id }, id, { onlyIfStopped: false })
  for (const { id } of rows) await workshop.untilSo(id, ({ row }) => row.phase === 'deleted')
})

async function make(who: Principal, name: string, over: object = {}): Promise<string> {
  clock.pass(1)
  const wish = { name, modelId: starterModelId, hardware: [{ gpuType: 'h100' }], replicas: 1, ...over }
  return (await deployments.create(who, wish, null)).id
}
/** Until nothing is due for a while. */
async function settle(seconds = 3): Promise<void> {
  for (let at = 0; at < seconds * 4; at += 1) {
    await workshop.takeTurns()
    clock.pass(250)
  }
}
const phases = async (...ids: string[]) => Promise.all(ids.map(async (id) => (await workshop.look(id)).row.phase))
const rowOf = async (id: string) => (await workshop.look(id)).row
const serves = ({ row }: Seen) => row.phase === 'serving' && row.reason === null

test('in fair order: who has none before who wants more, who holds less first; each is told its place', async () => {
  const first = await make(a, 'first')
  await workshop.untilSo(first, serves)
  const second = await make(a, 'second')
  await workshop.untilSo(second, serves)
  await scaling.change(a, first, { minReplicas: 2, maxReplicas: 2, autoscalingEnabled: false })
  await settle()
  const again = await make(a, 'again')
  await settle()
  const late = await make(c, 'late')
  await settle(12)
  const [more, none, other] = [await rowOf(first), await rowOf(again), await rowOf(late)]
  assert.deepEqual(
    [more, none, other].map(({ phase, reason, waiting }) => [phase, reason?.code, waiting?.position, waiting?.of]),
    [
      ['serving', 'capacity_short', 3, 3],
      ['queued', 'capacity_short', 2, 3],
      ['queued', 'capacity_short', 1, 3],
    ],
  )
  assert.match(none.reason!.message, /^Waiting for 1 × h100: none is free; place 2 of 3 in the queue\./)
  assert.match(more.reason!.message, /^1 of 2 replicas are ready\. Waiting for 1 × h100: .* place 3 of 3/)
  const view = await deployments.get(a, again)
  assert.deepEqual([view.waiting?.position, view.hourlyCost], [2, 0n])

  nyc.units = 3
  await workshop.untilSo(late, serves)
  assert.deepEqual(await phases(again, first), ['queued', 'serving'])
  nyc.units = 4
  await workshop.untilSo(again, serves)
  assert.equal((await rowOf(first)).ready_replicas, 1)
  nyc.units = 5
  await workshop.untilSo(first, (seen) => serves(seen) && seen.row.ready_replicas === 2)
  assert.equal((await rowOf(first)).waiting, null)
})

test('whoever lost a replica that served gets the place before those who wait longer', async () => {
  nyc.units = 1
  const holder = await make(a, 'holder')
  await workshop.untilSo(holder, serves)
  const waiting = await make(b, 'waiting')
  await workshop.untilSo(waiting, ({ row }) => row.phase === 'queued')
  await settle(2)
  const [replica] = (await workshop.look(holder)).replicas
  machines.kill(replica!.id, 'gone')
  await db.run(`update deployments set next_at = $2 where id = $1`, [holder, new Date(clock.now())])
  await workshop.untilSo(holder, (seen) => serves(seen) && seen.replicas.length === 2)
  assert.deepEqual(await phases(waiting), ['queued'])
  const events = await deployments.events(b, waiting, { limit: 50 })
  assert.ok(!events.items.some(({ type }) => type === 'replica.planned'))
})

test('refused after it lost a replica, or too late for the place: it is first in line as before, and as old', async () => {
  nyc.units = 1
  const holder = await make(a, 'holder')
  await workshop.untilSo(holder, serves)
  const waiting = await make(b, 'waiting')
  await workshop.untilSo(waiting, ({ row }) => row.phase === 'queued')
  await settle(2)
  const since = (await rowOf(waiting)).waiting!.since
  const look = (id: string) => db.run(`update deployments set next_at = $2 where id = $1`, [id, new Date(clock.now())])
  const [replica] = (await workshop.look(holder)).replicas
  machines.kill(replica!.id, 'gone')
  Object.assign(nyc, { lies: true })
  await look(holder)
  const refused = await workshop.untilSo(holder, ({ row }) => row.waiting !== null && row.waiting.refused.length > 0)
  assert.deepEqual([refused.row.waiting!.lost, refused.row.waiting!.missing], [1, 1], 'it goes on having lost one')
  const lostAt = refused.row.waiting!.since
  await settle(3)
  const other = await rowOf(waiting)
  assert.deepEqual([other.waiting?.refused.length, other.waiting?.since], [1, since], 'a refusal makes nobody younger')
  assert.deepEqual([(await rowOf(holder)).waiting?.position, other.waiting?.position], [1, 2])
  // Nobody is barred from the place any more, and both look.
  clock.pass(40_000)
  await db.run(`update deployments set next_at = $2 where id = $1`, [waiting, new Date(clock.now() + 60_000)])
  // The first time somebody has it just before.
  machines.meanwhile.set('record', async () => {
    const taken = `insert into replicas (id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region,
        price_micro_usd_per_unit_hour, created_at)
      select 'rep_other', deployment_id, revision_id, org_id, 'deleting', provider, gpu_type, 1, region, 0, now()
      from replicas where id = $1`
    await db.run(taken, [replica!.id])
  })
  await look(holder)
  await workshop.takeTurns()
  const late = await rowOf(holder)
  assert.deepEqual([late.waiting?.lost, late.waiting?.missing, late.waiting?.since], [1, 1, lostAt])
  await db.run(`delete from replicas where id = 'rep_other'`)
  delete (nyc as { lies?: boolean }).lies
  await look(waiting)
  await look(holder)
  await workshop.untilSo(holder, serves)
  assert.equal((await rowOf(waiting)).phase, 'queued')
})

test('what becomes free goes to who waits at once, also when nobody looks; a stop or a delete makes room in the queue', async () => {
  nyc.units = 1
  const holder = await make(a, 'holder')
  await workshop.untilSo(holder, serves)
  const [next, last] = [await make(b, 'next'), await make(c, 'last')]
  await settle(2)
  assert.deepEqual([(await rowOf(next)).waiting?.position, (await rowOf(last)).waiting?.position], [1, 2])
  await lifecycle.stop(b, next)
  await workshop.untilSo(next, ({ row }) => row.phase === 'stopped')
  assert.equal((await rowOf(next)).waiting, null)
  await lifecycle.stop(a, holder)
  // Its next look would be seconds away: it is woken.
  const [before] = [clock.now()]
  await workshop.untilSo(last, serves)
  assert.ok(clock.now() - before < 3_000)
})

test('partly there: it starts with what there is, says so, goes on trying, and loses nothing', async () => {
  const id = await make(a, 'partly', { replicas: 3 })
  const some = await workshop.untilSo(id, ({ row }) => row.phase === 'serving' && row.ready_replicas === 2)
  assert.equal(some.row.reason?.code, 'capacity_short')
  assert.match(some.row.reason!.message, /^2 of 3 replicas are ready\. .*it is the only one in the queue/)
  const ready = some.replicas.map((replica) => replica.id)
  await settle(20)
  nyc.units = 3
  const all = await workshop.untilSo(id, serves)
  assert.equal(all.row.ready_replicas, 3)
  assert.ok(ready.every((one) => all.replicas.find((replica) => replica.id === one)?.phase === 'ready'))
})

test('who waits long has a place kept: small ones do not go on for ever before a big one', async () => {
  nyc.units = 4
  const small: string[] = []
  for (const who of [a, b, c]) small.push(await make(who, 'small', { replicas: 1 }))
  for (const id of small) await workshop.untilSo(id, serves)
  const big = await make(a, 'big', { hardware: [{ gpuType: 'h100', gpuCount: 4 }] })
  await workshop.untilSo(big, ({ row }) => row.phase === 'queued')
  const early = await make(b, 'early')
  await workshop.untilSo(early, serves, 20)
  clock.pass(600_000)
  await settle(6)
  await deployments.remove(b, early, { onlyIfStopped: false })
  const late = await make(c, 'late')
  await settle(20)
  const kept = await rowOf(late)
  assert.deepEqual([kept.phase, kept.waiting?.position, machines.free(nyc)], ['queued', 2, 1])
  await assert.rejects(
    deployments.create(c, { name: 'hurry', modelId: starterModelId, gpuType: 'h100', failFast: true }, null),
    (error: Fault) => error.code === 'capacity_short',
  )
  for (const [at, id] of small.entries()) await deployments.remove([a, b, c][at]!, id, { onlyIfStopped: false })
  await workshop.untilSo(big, serves)
  assert.deepEqual(await phases(late), ['queued'])
})

test('a provider that offers what it has not: the next choice at once, no running replica touched, asked again later', async () => {
  tor.units = 1
  const hardware = [{ gpuType: 'h100' }, { gpuType: 'mi300x' }]
  const id = await make(a, 'lied-to', { hardware })
  const before = await workshop.untilSo(id, serves)
  assert.equal(before.replicas[0]!.gpu_type, 'h100')
  Object.assign(nyc, { lies: true })
  await scaling.change(a, id, { minReplicas: 3, maxReplicas: 3, autoscalingEnabled: false })
  const seen = await workshop.untilSo(id, ({ row }) => row.ready_replicas === 2 && row.phase === 'serving')
  assert.equal(seen.row.reason?.code, 'capacity_short')
  const live = seen.replicas.filter(({ phase }) => phase === 'ready')
  assert.deepEqual(live.map((one) => one.gpu_type).sort(), ['h100', 'mi300x'])
  assert.ok(
    live.some((one) => one.id === before.replicas[0]!.id),
    'what ran goes on',
  )
  assert.equal(seen.row.starts.failed, 0, 'short of hardware is no failed start')
  await settle(10)
  const refused = (await workshop.look(id)).replicas.filter(({ phase }) => phase === 'gone').length
  assert.ok(refused <= 2, `it is not asked all the time: ${refused}`)
  delete (nyc as { lies?: boolean }).lies
  await workshop.untilSo(id, serves, 60)
})

test('nothing is kept for one whose turns fail; as soon as one succeeds it is back in its place', async () => {
  nyc.units = 0
  const stuck = await make(a, 'stuck')
  await settle(2)
  const other = await make(a, 'other')
  await settle(2)
  await stall(db, stuck)
  nyc.units = 1
  await db.run(`update deployments set next_at = $2 where id = $1`, [other, new Date(clock.now())])
  await db.run(`update deployments set next_at = $2 where id = $1`, [stuck, new Date(clock.now() + 60_000)])
  await workshop.untilSo(other, serves)
  const since = (await rowOf(stuck)).waiting!.since
  clock.pass(60_000)
  await settle(2)
  const { waiting } = await rowOf(stuck)
  assert.deepEqual([waiting?.stalled, waiting?.since], [undefined, since])
})

test('more than any place has: it says so instead of naming a place in a queue that never moves', async () => {
  tor.units = 4
  const id = await make(a, 'huge', { hardware: [{ gpuType: 'h100', gpuCount: 4 }] })
  const { row } = await workshop.untilSo(id, (seen) => seen.row.phase === 'queued')
  assert.match(row.reason!.message, /^Waiting for 4 × h100: no place has as much\. .*mi300x in tor1 is comparable/)
  assert.deepEqual(
    row.waiting!.instead.map(({ gpuType, gpuCount, freeUnits }) => [gpuType, gpuCount, freeUnits]),
    [['mi300x', 2, 4]],
  )
  // And it keeps nothing from others.
  const small = await make(b, 'small')
  clock.pass(700_000)
  await workshop.untilSo(small, serves)
})

test('a roll takes no spare place that somebody waits for, however much they have: it goes in place', async () => {
  nyc.units = 3
  const holder = await make(a, 'holder')
  await workshop.untilSo(holder, serves)
  const waiting = await make(b, 'waiting', { replicas: 3 })
  await workshop.untilSo(waiting, ({ row }) => row.ready_replicas === 2)
  await settle(2)
  await lifecycle.change(a, holder, { engine: { maxNumSeqs: 2 } })
  nyc.units = 4
  await workshop.untilSo(waiting, serves)
  await workshop.untilSo(holder, (seen) => serves(seen) && seen.row.revision === 2)
  const { replicas } = await workshop.look(holder)
  assert.ok(
    replicas.some((one) => one.after_replica !== null),
    'in place',
  )
})
