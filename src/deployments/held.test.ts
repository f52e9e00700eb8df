/** The sum of what hardware is held is what the rows say, whatever happens to them, and a last place is taken once. */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { Random } from '../../test/paper/random.ts'
import { newId } from '../runtime/ids.ts'
import type { Tx } from '../store/database.ts'
import * as store from './store.ts'
import { openWorkshop } from './testing/workshop.ts'

const workshop = await openWorkshop(4)
after(() => workshop.close())
const { db } = workshop
const at = new Date('2026-11-21T12:00:00Z')
const id = await workshop.make('holder')
const [revision] = await store.revisionsOf(db, id)
const { org_id } = (await store.deploymentById(db, id))!

const here = { provider: 'test', gpuType: 'h100', gpuCount: 1, region: 'nyc', emulated: false }
const places = [here, { ...here, region: 'tor' }, { ...here, gpuType: 'mi300x', gpuCount: 2 }]

async function insert(tx: Tx, place: typeof here, after: string | null): Promise<string> {
  const row = {
    id: newId('rep'),
    deployment_id: id,
    revision_id: revision!.id,
    org_id,
    after_replica: after,
    claim: null,
  }
  await store.insertReplica(tx, row, place, 0n, at)
  return row.id
}

/** As one who trusts only the rows would count. */
function counted(): Promise<unknown[]> {
  return db.query(
    `select provider, gpu_type as "gpuType", region, sum(gpu_count)::int as units from replicas where phase <> 'gone'
       and (after_replica is null or not exists
         (select 1 from replicas as before where before.id = replicas.after_replica and before.phase <> 'gone'))
     group by 1, 2, 3 order by 1, 2, 3`,
  )
}

async function kept(): Promise<unknown[]> {
  const order = (one: { gpuType: string; region: string }) => `${one.gpuType} ${one.region}`
  const held = (await store.heldUnits(db)).filter(({ units }) => units !== 0)
  return held.sort((a, b) => (order(a) < order(b) ? -1 : 1)).map((one) => ({ ...one }))
}

test('whatever comes and goes, successors among them, the sum is what the rows say', async () => {
  const random = new Random(7)
  const live: { id: string; place: typeof here }[] = []
  for (let step = 0; step < 150; step++) {
    await db.tx(async (tx) => {
      const one = random.pick(live) ?? null
      if (one !== null && random.chance(0.4)) {
        const awaited = await tx.query('select 1 from replicas where after_replica = $1', [one.id])
        if (awaited.length === 0 && random.chance(0.3)) await tx.run('delete from replicas where id = $1', [one.id])
        else await store.patchReplica(tx, one.id, { phase: 'gone', goneAt: at.getTime() })
        live.splice(live.indexOf(one), 1)
      } else if (one !== null && random.chance(0.5)) {
        live.push({ id: await insert(tx, one.place, one.id), place: one.place })
      } else {
        const place = random.pick(places)!
        live.push({ id: await insert(tx, place, null), place })
      }
      if (one !== null && random.chance(0.3)) await store.patchReplica(tx, one.id, { progress: { at: 0, detail: 'x' } })
    })
    if (step % 10 === 9) assert.deepEqual(await kept(), await counted(), `after ${step + 1} steps`)
  }
  await db.run(`update replicas set phase = 'gone', gone_at = $1 where phase <> 'gone' and region = 'tor'`, [at])
  assert.deepEqual(await kept(), await counted())
  await db.run('delete from replicas')
  assert.deepEqual(await kept(), [])
})

test('many want the last places of hardware that nobody had yet: as many get one as there are', async () => {
  const place = { ...here, region: 'new' }
  const took = await Promise.all(
    Array.from({ length: 9 }, () =>
      db.tx(async (tx) => {
        const [held] = await store.lockHeld(tx, [place])
        if (held!.units + place.gpuCount > 4) return false
        await insert(tx, place, null)
        return true
      }),
    ),
  )
  assert.equal(took.filter(Boolean).length, 4)
  assert.equal((await store.heldUnits(db)).find(({ region }) => region === 'new')?.units, 4)
})

test('two that take and free the same kinds in another order do not wait for each other', async () => {
  const [a, b] = [places[0]!, places[2]!]
  const both = (order: (typeof here)[]) =>
    db.tx(async (tx) => {
      await store.lockHeld(tx, order)
      for (const place of order) await insert(tx, place, null)
    })
  await Promise.all(Array.from({ length: 12 }, (_, at) => both(at % 2 === 0 ? [a, b] : [b, a])))
  assert.deepEqual(await kept(), await counted())
})
