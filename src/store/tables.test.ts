import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { systemClock, until } from '../runtime/clock.ts'
import { json } from './database.ts'
import { currentVersions, nextVersion, notify, readSince, tablesChannel } from './tables.ts'
import { type TestDatabase, testDatabase } from './testing.ts'

const at = new Date(Date.UTC(2026, 0, 1))

interface RouteRow {
  deployment_id: string
  document: { text: string }
  version: number
}

describe('published tables', () => {
  let db: TestDatabase
  before(async () => {
    db = await testDatabase()
    await db.run(`insert into orgs (id, name, created_at) values ('org_a', 'a', $1)`, [at])
    await db.run(
      `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, created_at, updated_at)
       select 'd' || n, 'org_a', 'd' || n, '{}', 'running', 1, 1, 'queued', $1, $1 from generate_series(0, 9) n`,
      [at],
    )
  })
  after(() => db.close())

  const publish = (ids: number[], text: string) =>
    db.tx(async (tx) => {
      const version = await nextVersion(tx, 'routes')
      for (const id of ids)
        await tx.run(
          `insert into routes (deployment_id, org_id, document, version) values ($1, 'org_a', $2, $3)
           on conflict (deployment_id) do update set document = excluded.document, version = excluded.version`,
          [`d${id}`, json({ text }), version],
        )
      // Others that began later must not overtake.
      for (let i = Math.floor(Math.random() * 4); i > 0; i -= 1) await turn()
      await notify(tx)
      if (text === 'undone') throw new Error('undone')
      return version
    })

  it('gives readers every change, in order, however publishers interleave', async () => {
    const seen = new Map<string, RouteRow>()
    let version = 0
    const follow = async () => {
      const delta = await readSince<RouteRow>(db, 'routes', version, 3)
      for (const row of delta.rows) {
        assert.ok(row.version > version && row.version <= delta.version, 'rows are new and belong to the version')
        seen.set(row.deployment_id, row)
      }
      assert.ok(delta.version >= version)
      version = delta.version
      return delta.more
    }
    let publishing = true
    const reader = (async () => {
      while (publishing) await follow()
    })()
    const publisher = async (who: number) => {
      for (let i = 0; i < 25; i += 1) {
        const ids = Array.from({ length: 1 + Math.floor(Math.random() * 5) }, () => Math.floor(Math.random() * 10))
        if (i % 10 === 9) await assert.rejects(publish([...new Set(ids)].sort(), 'undone'))
        else await publish([...new Set(ids)].sort(), `${who}.${i}`)
      }
    }
    await Promise.all(Array.from({ length: 4 }, (_, who) => publisher(who)))
    publishing = false
    await reader
    while (await follow());
    const rows = await db.query<RouteRow>('select * from routes order by deployment_id')
    assert.deepEqual(
      [...seen.keys()].sort().map((id) => seen.get(id)),
      rows,
    )
    assert.deepEqual(await currentVersions(db), { keyring: 0, routes: version })
    assert.equal(version, 4 * 23)
  })

  it('never cuts one version in two', async () => {
    const version = await publish([0, 1, 2, 3, 4, 5, 6, 7], 'together')
    const delta = await readSince<RouteRow>(db, 'routes', version - 1, 2)
    assert.equal(delta.rows.length, 8)
    assert.deepEqual(await readSince(db, 'routes', delta.version, 2), { version, rows: [], more: false })
  })

  it('tells listeners after the commit', async () => {
    let told = 0
    const stop = db.listen(tablesChannel, () => (told += 1))
    await until(systemClock, 'listening', 5_000, () => told === 1)
    await publish([1], 'news')
    await until(systemClock, 'told', 5_000, () => told === 2)
    stop()
  })
})
