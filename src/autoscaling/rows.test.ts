/** What the autoscaler knows of the rows, on the real database: changes at once, everything else after a while. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { testDatabase } from '../store/testing.ts'
import { Rows } from './rows.ts'

const db = await testDatabase()
after(() => db.close())
let now = Date.UTC(2026, 0, 1)
const rows = new Rows(db, 2)
const at = (ms: number) => new Date(ms)
const pass = (ms: number) => (now += ms)

before(async () => {
  await db.run(`insert into orgs (id, name, created_at) values ('org_a', 'a', $1)`, [at(now)])
  for (const id of ['a', 'b', 'c', 'd', 'e']) await add(id)
})

async function add(id: string): Promise<void> {
  await db.run(
    `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, created_at, updated_at)
     values ($1, 'org_a', $1, '{"replicas": 1}', 'running', 1, 1, 'serving', $2, $2)`,
    [id, at(now)],
  )
  await db.run(`insert into revisions (id, deployment_id, number, spec, created_at) values ($1, $1, 1, '{}', $2)`, [
    id,
    at(now),
  ])
  await db.run(
    `insert into replicas (id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region,
                           price_micro_usd_per_unit_hour, created_at)
     values ('rep_' || $1, $1, $1, 'org_a', 'ready', 'p', 'cpu', 1, 'here', 0, $2)`,
    [id, at(now)],
  )
}
const refresh = async () => [...(await rows.refresh(now))].sort()
const known = () => [...rows.ids()].sort().join('')

test('the first look reads everything, the next nothing new', async () => {
  assert.deepEqual(await refresh(), ['a', 'b', 'c', 'd', 'e'])
  assert.equal(rows.ownerOf('rep_c'), 'c')
  pass(1_000)
  assert.deepEqual(await refresh(), [])
})

test('what is written is seen at the next look, also what ends and what is new', async () => {
  pass(10_000)
  await db.run(`update deployments set desired_replicas = 3, updated_at = $1 where id = 'b'`, [at(now)])
  await db.run(`update deployments set desired = 'stopped', updated_at = $1 where id = 'd'`, [at(now)])
  await add('f')
  assert.deepEqual(await refresh(), ['b', 'd', 'f'])
  assert.equal(rows.get('b')!.desired_replicas, 3)
  assert.equal(known(), 'abcef')
  assert.equal(rows.ownerOf('rep_d'), undefined)
})

test('a transaction that commits late is not missed', async () => {
  const wroteAt = at(now)
  pass(2_000)
  await refresh()
  await db.run(`update deployments set ready_replicas = 1, updated_at = $1 where id = 'a'`, [wroteAt])
  pass(100)
  assert.deepEqual(await refresh(), ['a'])
})

test('what was written without telling its moment, and what vanished, is seen when its part comes', async () => {
  pass(60_000)
  await refresh()
  await db.run(`update deployments set ready_replicas = 7 where id = 'e'`)
  await db.run(`update replicas set phase = 'draining' where id = 'rep_f'`)
  await db.run(`update deployments set phase = 'failed' where id = 'c'`)
  const seen = new Set<string>()
  for (let i = 0; i < 4; i += 1) {
    pass(1_000)
    for (const id of await refresh()) seen.add(id)
  }
  assert.deepEqual([...seen].sort(), ['c', 'e'])
  assert.equal(rows.get('e')!.ready_replicas, 7)
  assert.equal(known(), 'abef')
})

test('parts are not read more often because somebody asks more often', async () => {
  await db.run(`update deployments set ready_replicas = 9 where id = 'e'`)
  for (let i = 0; i < 8; i += 1) {
    pass(10)
    assert.deepEqual(await refresh(), [])
  }
})

test('a clock that was set back hides nothing', async () => {
  pass(-3_600_000)
  await refresh()
  pass(1_000)
  await db.run(`update deployments set desired_replicas = 5, updated_at = $1 where id = 'a'`, [at(now)])
  assert.ok((await refresh()).includes('a'))
})
