/** Many deployments looked at together: the quiet ones cost one release, the others are handed on. */
import { strict as assert } from 'node:assert'
import { after, before, test } from 'node:test'
import { claim, type Lease } from '../store/leases.ts'
import { type Busy, lookAtMany } from './batch.ts'
import { openWorkshop } from './testing/workshop.ts'
import { takeTurn } from './turn.ts'

const workshop = await openWorkshop(20)
after(() => workshop.close())
const { db, clock, machines, scaling, operator } = workshop
const ids: string[] = []
const followed = new Set<string>()
const world = { ...workshop.world, follow: (id: string) => void followed.add(id) }

before(async () => {
  for (const name of ['one', 'two', 'three', 'four'])
    ids.push(await workshop.make(name, { scaling: { maxReplicas: 3 } }))
  for (const id of ids) await workshop.untilSo(id, ({ row }) => row.phase === 'serving')
  await rest()
})

/** What was said of the last change is written over once. */
async function rest(): Promise<void> {
  for (const { lease, decided } of await lookAtMany(world, await claimAll())) await takeTurn(world, lease, decided!)
  followed.clear()
}

/** All of them, due now. */
async function claimAll(): Promise<Lease[]> {
  await db.run('update deployments set next_at = $1', [new Date(clock.now())])
  return claim(db, { table: 'deployments', owner: 'test', now: clock.now(), leaseMs: 60_000, limit: 10 })
}

/** Everything but the loop's own columns. */
async function written() {
  const tables = ['deployments', 'revisions', 'replicas', 'routes', 'events', 'table_versions']
  const texts = tables.map((table) =>
    db.query<{ all: string }>(`select json_agg(t order by t::text)::text as all from ${table} t`),
  )
  const [deployments, ...others] = (await Promise.all(texts)).map(([row]) => row!.all)
  const rows = (JSON.parse(deployments!) as object[]).map((row) => ({
    ...row,
    next_at: 0,
    lease_token: 0,
    lease_until: 0,
  }))
  return JSON.stringify([rows, others])
}
const idsOf = (some: (Busy | Lease)[]) => some.map((one) => ('lease' in one ? one.lease.id : one.id))

test('nothing to do: released together, looked at again within about a minute, and nothing else is written', async () => {
  let asked = 0
  machines.meanwhile.set('offers', async () => (asked += 1))
  const leases = await claimAll()
  const earlier = await written()
  assert.deepEqual(await lookAtMany(world, leases), [])
  assert.equal(await written(), earlier)
  assert.equal(asked, 0, 'nobody wants hardware')
  assert.deepEqual([...followed].sort(), [...ids].sort())
  const rows = await db.query<{ next_at: Date; lease_token: string | null }>(
    'select next_at, lease_token from deployments',
  )
  for (const { next_at, lease_token } of rows) {
    assert.equal(lease_token, null)
    const seconds = (next_at.getTime() - clock.now()) / 1000
    assert.ok(seconds >= 45 && seconds <= 75, `${seconds} s`)
  }
  assert.ok(new Set(rows.map(({ next_at }) => next_at.getTime())).size > 1, 'not all at once')
})

test('one that has something to do, and one that somebody wishes something of meanwhile, are not passed over', async () => {
  await scaling.change(operator, ids[1]!, { minReplicas: 2 })
  const leases = await claimAll()
  machines.meanwhile.set('observe', () => scaling.change(operator, ids[2]!, { minReplicas: 2 }))
  const busy = await lookAtMany(world, leases)
  assert.deepEqual(idsOf(busy), [ids[1]])
  assert.deepEqual(
    busy[0]!.decided!.result.actions.map((action) => action.do),
    ['plan_replica'],
  )
  await takeTurn(world, busy[0]!.lease, busy[0]!.decided!)
  const due = await claim(db, { table: 'deployments', owner: 'test', now: clock.now(), leaseMs: 60_000, limit: 10 })
  assert.deepEqual(idsOf(due), [ids[2]], 'the wish; the new replica is the watcher’s')
  for (const { lease, decided } of await lookAtMany(world, due)) await takeTurn(world, lease, decided!)
  for (const id of [ids[1]!, ids[2]!]) await workshop.untilSo(id, ({ row }) => row.ready_replicas === 2)
  await rest()
})

test('a death among many: one turn', async () => {
  const [victim] = (await workshop.look(ids[3]!)).replicas
  machines.kill(victim!.id, 'out of memory')
  const busy = await lookAtMany(world, await claimAll())
  assert.deepEqual(idsOf(busy), [ids[3]])
  for (const { lease, decided } of busy) await takeTurn(world, lease, decided!)
  await workshop.untilSo(ids[3]!, ({ row, replicas }) => row.phase === 'serving' && replicas.length === 2)
})

test('a claim that was lost is not ended by who lost it', async () => {
  const leases = await claimAll()
  await db.run(`update deployments set lease_token = 'somebody else' where id = $1`, [ids[0]])
  await lookAtMany(world, leases)
  const [row] = await db.query<{ lease_token: string }>('select lease_token from deployments where id = $1', [ids[0]])
  assert.equal(row!.lease_token, 'somebody else')
})
