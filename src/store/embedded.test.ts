import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import pg from 'pg'
import { systemClock, until } from '../runtime/clock.ts'
import { instanceId } from '../runtime/instance.ts'
import { engineAccount } from '../runtime/isolation.ts'
import { isAlive } from '../runtime/processes.ts'
import { type Connection, clientConfig } from './connection.ts'
import { type EmbeddedOptions, type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts'
import { byTitle, postgresProcesses } from './orphans.ts'
import { socketPathBytes } from './socket-folder.ts'
import { type TestFolders, testFolders } from './testing.ts'

const root = process.getuid?.() === 0
const onlyRoot = { skip: root ? false : 'only root has other users to give the database to' }

/** Runs one statement on a connection of its own. */
async function ask(connection: Connection, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(clientConfig(connection, 'test'))
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

async function using(options: EmbeddedOptions, fn: (p: EmbeddedPostgres) => Promise<void>) {
  const postgres = await startEmbeddedPostgres(options)
  try {
    await fn(postgres)
  } finally {
    await postgres.stop()
  }
  assert.equal(isAlive(postgres.identity), false)
  assert.equal(postgresProcesses(postgres.folder, 'none').length, 0)
}

describe('embedded Postgres', () => {
  let folders: TestFolders
  let options: EmbeddedOptions
  before(() => {
    folders = testFolders()
    options = { ...folders, durable: false }
  })
  after(() => folders.remove())

  it('keeps data over a stop and a start, and says clearly that a folder is in use', async () => {
    await using(options, async (postgres) => {
      await ask(postgres.connection, 'create table kept as select 42 as answer')
      await assert.rejects(
        startEmbeddedPostgres(options),
        new RegExp(`in use by another Paddock \\(process ${process.pid}\\)`),
      )
      const names = postgresProcesses(postgres.folder, '').map(({ identity }) => identity.pid)
      assert.deepEqual(
        byTitle(postgres.folder, `paddock-${instanceId(options.dataFolder)}`).map(({ identity }) => identity.pid),
        names,
        'both ways of finding processes agree',
      )
    })
    await using(options, async ({ connection }) => {
      assert.deepEqual(await ask(connection, 'select answer from kept'), [{ answer: 42 }])
      const [row] = await ask(
        connection,
        `select current_setting('listen_addresses') as tcp, current_setting('data_checksums') as checksums,
           (select concat(datlocprovider, datlocale, encoding) from pg_database where datname = 'paddock') as locale`,
      )
      assert.deepEqual(row, { tcp: '', checksums: 'on', locale: 'bC.UTF-86' })
    })
  })

  it('starts after a reboot gave its process number to somebody else', async () => {
    const { folder } = await startAndStop(options)
    writeFileSync(join(folder, 'postmaster.pid'), `${process.pid}\n${folder}\n1\n5432\n\n\n1 1\nready\n`)
    await using(options, async ({ connection }) => void (await ask(connection, 'select 1')))
  })

  it('refuses the wrong password and other users', onlyRoot, async () => {
    await using(options, async ({ connection, folder, account }) => {
      assert.ok('host' in connection && account)
      await assert.rejects(ask({ ...connection, password: 'wrong' }, 'select 1'), { code: '28P01' })
      assert.equal(statSync(folder).uid, account.uid)
      assert.equal(statSync(folder).mode & 0o777, 0o700)
      assert.equal(statSync(connection.host).mode & 0o777, 0o700)
      assert.equal(statSync(join(options.dataFolder, 'postgres-password')).mode & 0o777, 0o600)
      const looks = (path: string) => spawnSync('ls', [path], { ...engineAccount(0), cwd: '/' }).status
      assert.equal(looks('/'), 0)
      for (const path of [folder, connection.host, join(connection.host, '.s.PGSQL.5432'), options.dataFolder])
        assert.notEqual(looks(path), 0, `an engine sees ${path}`)
    })
  })

  it('never replaces a database that it cannot find, open or understand', async () => {
    const { folder } = await startAndStop(options)
    const refused = async (path: string, spoil: () => void, says: RegExp) => {
      const kept = `${path}.kept`
      renameSync(path, kept)
      spoil()
      await assert.rejects(startEmbeddedPostgres(options), says)
      rmSync(path, { recursive: true, force: true })
      renameSync(kept, path)
    }
    await refused(join(options.dataFolder, 'postgres-password'), () => {}, /postgres-password is missing/)
    await refused(
      join(folder, 'PG_VERSION'),
      () => writeFileSync(join(folder, 'PG_VERSION'), '17\n'),
      /made by Postgres 17/,
    )
    const instance = join(options.dataFolder, 'instance.json')
    await refused(instance, () => writeFileSync(instance, '{"id'), /instance\.json is damaged/)
    const control = join(folder, 'global', 'pg_control')
    await refused(control, () => {}, /does not start: .*pg_control/s)
    if (root) await refused(folder, () => {}, /should be in .* and is not there/)
    await using(options, async ({ connection }) => void (await ask(connection, 'select answer from kept')))
  })
})

describe('folders of every kind', () => {
  let folders: TestFolders
  before(() => {
    folders = testFolders()
  })
  after(() => folders.remove())

  it('a name with spaces, quotes and unicode; the database is in it where every user may enter', async () => {
    const dataFolder = join(folders.root, `Daten "für" mich's, 数据`)
    mkdirSync(dataFolder)
    const options = { dataFolder, systemFolder: folders.systemFolder, durable: false }
    assert.equal((await startAndStop(options)).folder, join(dataFolder, 'postgres'))
    await using(options, async ({ connection }) => void (await ask(connection, 'select 1')))
  })

  it('below a folder that only its owner may enter, and far too long for a socket; moved; copied', async () => {
    const long = join(...Array.from({ length: 6 }, () => 'x'.repeat(60)))
    const closed = join(folders.root, 'closed')
    mkdirSync(closed, { mode: 0o700 })
    const options = { dataFolder: join(closed, long), systemFolder: join(folders.root, long), durable: false }
    const { folder } = await startAndStop(options)
    let host = ''
    await using(options, async ({ connection }) => {
      assert.ok('host' in connection)
      host = connection.host
      assert.ok(Buffer.byteLength(join(host, '.s.PGSQL.5432')) <= socketPathBytes)
      await ask(connection, 'select 1')
    })
    assert.equal(existsSync(host), false, 'the socket folder is gone after a clean stop')
    if (!root) return
    assert.ok(folder.startsWith(options.systemFolder))
    const location = JSON.parse(readFileSync(join(options.dataFolder, 'postgres-location.json'), 'utf8'))
    assert.deepEqual(location, { folder, created: true })
    const moved = { ...options, dataFolder: join(closed, 'moved') }
    renameSync(options.dataFolder, moved.dataFolder)
    assert.equal((await startAndStop(moved)).folder, folder)
    const copy = join(closed, 'copy')
    mkdirSync(copy, { mode: 0o700 })
    for (const name of ['instance.json', 'postgres-location.json', 'postgres-password'])
      writeFileSync(join(copy, name), readFileSync(join(moved.dataFolder, name)))
    await assert.rejects(startEmbeddedPostgres({ ...options, dataFolder: copy }), /is a copy of .*moved/)
  })
})

async function startAndStop(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres(options)
  await postgres.stop()
  await until(systemClock, 'ended', 1_000, () => !isAlive(postgres.identity))
  return postgres
}
