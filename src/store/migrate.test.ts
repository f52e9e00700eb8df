import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { modulePath } from '../runtime/self.ts'
import { migrate, readMigrations } from './migrate.ts'
import { type TestDatabase, testDatabase } from './testing.ts'

const ours = join(import.meta.dirname, 'migrations')

const linuxOnly = { skip: process.platform === 'linux' ? false : 'only there the server notices a dead client at once' }

describe('migrations', () => {
  let db: TestDatabase
  let folder: string
  before(async () => {
    db = await testDatabase({ migrated: false })
  })
  after(() => db.close())
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'paddock-migrations-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))
  const file = (name: string, sql: string) => writeFileSync(join(folder, name), sql)
  const tables = async () =>
    (
      await db.query<{ name: string }>(`select tablename as name from pg_tables where schemaname = 'public' order by 1`)
    ).map(({ name }) => name)

  it('applies what is missing, whole or not at all, and nothing twice', async () => {
    file('0001_one.sql', 'create table one (n int); insert into one values (1);')
    assert.equal(await migrate({ connection: db.connection, folder }), 1)
    file('0002_two.sql', 'create table two (n int); insert into one values (2); select 1/0;')
    await assert.rejects(migrate({ connection: db.connection, folder }), /division by zero/)
    assert.deepEqual(await tables(), ['one', 'schema_migrations'])
    file('0002_two.sql', 'create table two (n int); insert into one values (2);')
    assert.equal(await migrate({ connection: db.connection, folder }), 1)
    assert.equal(await migrate({ connection: db.connection, folder }), 0)
    assert.deepEqual(await db.query('select n from one order by n'), [{ n: 1 }, { n: 2 }])
  })

  it('refuses a database that is newer, or was made from other files', async () => {
    file('0001_one.sql', 'create table one (n int); insert into one values (1);')
    await assert.rejects(
      migrate({ connection: db.connection, folder }),
      /newer than this Paddock: it has migration 2 \(two\)/,
    )
    file('0002_two.sql', 'create table two (other int);')
    await assert.rejects(migrate({ connection: db.connection, folder }), /Migration 2 \(two\) of this release differs/)
  })

  it('refuses files with gaps, and files that end their transaction', async () => {
    file('0001_one.sql', 'create table one (n int); insert into one values (1);')
    file('0003_three.sql', '')
    await assert.rejects(migrate({ connection: db.connection, folder }), /Migration 2 is missing or doubled/)
    file('0002_two.sql', 'create table two (n int); insert into one values (2);')
    file('0003_three.sql', 'commit; begin; create table three (n int);')
    await assert.rejects(migrate({ connection: db.connection, folder }), /ends its own transaction/)
  })

  it('is done once by many that start together', async () => {
    const fresh = await testDatabase({ migrated: false })
    const applied = await Promise.all(Array.from({ length: 5 }, () => migrate({ connection: fresh.connection })))
    assert.equal(
      applied.reduce((a, b) => a + b),
      readMigrations(ours).length,
    )
    assert.deepEqual(await fresh.query('select name, version from table_versions order by name'), [
      { name: 'keyring', version: 0 },
      { name: 'routes', version: 0 },
    ])
    await fresh.close()
  })

  it('killed halfway: not applied, and the next one applies it', linuxOnly, async () => {
    const fresh = await testDatabase({ migrated: false })
    cpSync(ours, folder, { recursive: true })
    const slow = `${String(readMigrations(ours).length + 1).padStart(4, '0')}_slow.sql`
    file(slow, 'create table slow (n int); select pg_sleep(60);')
    const program = `import { migrate } from ${JSON.stringify(modulePath('store/migrate'))}; await migrate(${JSON.stringify({ connection: fresh.connection, folder })})`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' })
    const sleeping = `select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep(60);'`
    await until(systemClock, 'halfway', 10_000, async () => (await fresh.query(sleeping)).length === 1)
    child.kill('SIGKILL')
    await once(child, 'exit')
    file(slow, 'create table slow (n int);')
    // Waits for the lock until the server has noticed that the one who held it is gone.
    assert.equal(await migrate({ connection: fresh.connection, folder }), 1)
    await fresh.close()
  })
})
