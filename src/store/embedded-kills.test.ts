/** SIGKILL at everything: afterwards the next start works, nothing of the old run is left, acknowledged rows are there. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import pg from 'pg'
import { systemClock, until } from '../runtime/clock.ts'
import { modulePath } from '../runtime/self.ts'
import { type Connection, clientConfig } from './connection.ts'
import { type EmbeddedOptions, type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts'
import { postgresProcesses } from './orphans.ts'
import { type TestFolders, testFolders } from './testing.ts'

const procOnly = { skip: process.platform === 'linux' ? false : 'finds the processes in /proc' }

/** A supervisor in a process of its own. `started` is null when it ended before its database was ready. */
function supervisor(options: EmbeddedOptions): { child: ChildProcess; started: Promise<EmbeddedPostgres | null> } {
  const child = spawn(process.execPath, [modulePath('store/supervised.fixture'), JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const line = once(createInterface(child.stdout!), 'line').then(([text]) => JSON.parse(text as string))
  return { child, started: Promise.race([line, once(child, 'exit').then(() => null)]) }
}

async function connect(connection: Connection): Promise<pg.Client> {
  const client = new pg.Client(clientConfig(connection, 'test'))
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Two backends in mid-query: one waits, one loops and looks at nothing; and one acknowledged row. */
async function makeBusy(connection: Connection, row: number): Promise<void> {
  const client = await connect(connection)
  await client.query('create table if not exists acknowledged (row int)')
  await client.query('insert into acknowledged values ($1)', [row])
  void client.query('select pg_sleep(1000)').catch(() => {})
  const looping = await connect(connection)
  void looping.query('do $$ begin loop end loop; end $$').catch(() => {})
  const watching = await connect(connection)
  await until(systemClock, 'two busy backends', 5_000, async () => {
    const { rows } = await watching.query(
      `select 1 from pg_stat_activity where state = 'active' and (query like 'do %' or query like 'select pg_sleep%')`,
    )
    return rows.length === 2
  })
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

const living = (folder: string) => postgresProcesses(folder, 'none').length
const postmasterOf = (postgres: EmbeddedPostgres) => postgres.identity.pid
const parentOf = (pid: number) => Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])

async function acknowledgedRows(options: EmbeddedOptions): Promise<number[]> {
  const postgres = await startEmbeddedPostgres(options)
  const client = await connect(postgres.connection)
  const { rows } = await client.query('select row from acknowledged order by row')
  await client.end()
  await postgres.stop()
  assert.equal(living(postgres.folder), 0)
  return rows.map(({ row }) => row)
}

describe('killed in mid-query', procOnly, () => {
  let folders: TestFolders
  before(() => {
    folders = testFolders()
  })
  after(() => folders.remove())

  it('the postmaster: its backends end with it, and the folder starts again', async () => {
    const postgres = await startEmbeddedPostgres(folders)
    await makeBusy(postgres.connection, 1)
    process.kill(postmasterOf(postgres), 'SIGKILL')
    await postgres.exited
    assert.equal(living(postgres.folder), 0)
    await postgres.stop()
    assert.deepEqual(await acknowledgedRows(folders), [1])
  })

  it('a backend: the server goes on by itself', async () => {
    const postgres = await startEmbeddedPostgres(folders)
    await makeBusy(postgres.connection, 2)
    const backend = postgresProcesses(postgres.folder, '').find(({ postmaster }) => !postmaster)!
    process.kill(backend.identity.pid, 'SIGKILL')
    await until(systemClock, 'answers again', 10_000, () =>
      connect(postgres.connection).then(
        (client) => client.end().then(() => true),
        () => false,
      ),
    )
    await postgres.stop()
    assert.deepEqual(await acknowledgedRows(folders), [1, 2])
  })

  it('the supervisor: its database ends by itself', async () => {
    const { child, started } = supervisor(folders)
    const postgres = (await started)!
    await makeBusy(postgres.connection, 3)
    child.kill('SIGKILL')
    await until(systemClock, 'no process left', 10_000, () => living(postgres.folder) === 0)
    assert.deepEqual(await acknowledgedRows(folders), [1, 2, 3])
  })

  it('the shell between them: its database ends, and the supervisor hears of it', async () => {
    const postgres = await startEmbeddedPostgres(folders)
    process.kill(parentOf(postmasterOf(postgres)), 'SIGKILL')
    assert.equal((await postgres.exited).code, null)
    assert.equal(living(postgres.folder), 0)
    assert.deepEqual(await acknowledgedRows(folders), [1, 2, 3])
  })

  it('everything but a busy backend: the next start ends it', async () => {
    const { child, started } = supervisor(folders)
    const postgres = (await started)!
    await makeBusy(postgres.connection, 4)
    const shell = parentOf(postmasterOf(postgres))
    child.kill('SIGKILL')
    // The shell leads the group of itself, its watcher and the postmaster; backends have sessions of their own.
    process.kill(-shell, 'SIGKILL')
    // Its lock on the folder goes with it, not with the signal.
    await ended(child)
    await until(systemClock, 'the postmaster is gone', 5_000, () =>
      postgresProcesses(postgres.folder, '').every(({ postmaster }) => !postmaster),
    )
    assert.ok(living(postgres.folder) > 0, 'the looping backend is still there')
    assert.deepEqual(await acknowledgedRows(folders), [1, 2, 3, 4])
  })

  it('only the supervisor and the shell’s watcher: the next start ends the living server', async () => {
    const { child, started } = supervisor(folders)
    const postgres = (await started)!
    await makeBusy(postgres.connection, 5)
    const shell = parentOf(postmasterOf(postgres))
    for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry) && childOf(entry, shell)))
      if (Number(name) !== postmasterOf(postgres)) process.kill(Number(name), 'SIGKILL')
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.ok(living(postgres.folder) > 0)
    assert.deepEqual(await acknowledgedRows(folders), [1, 2, 3, 4, 5])
  })
})

function childOf(pid: string, parent: number): boolean {
  try {
    return parentOf(Number(pid)) === parent
  } catch {
    return false
  }
}

describe('killed during the first start', procOnly, () => {
  it('at any moment: nothing half made is taken for a database', async () => {
    for (const afterMs of [0, 150, 400]) {
      const folders = testFolders()
      try {
        await killFirstStart(folders, afterMs)
      } finally {
        folders.remove()
      }
    }
  })
})

async function killFirstStart(folders: TestFolders, afterMs: number): Promise<void> {
  const { child, started } = supervisor({ ...folders, durable: false })
  // From the moment that initdb is at work, so that the kills land in it whatever the machine's load.
  await until(
    systemClock,
    'initdb at work',
    10_000,
    () => filesBelow(folders.root).some((name) => name.includes('.partial-')),
    2,
  )
  await systemClock.sleep(afterMs)
  child.kill('SIGKILL')
  await started
  const postgres = await startEmbeddedPostgres({ ...folders, durable: false })
  const client = await connect(postgres.connection)
  await client.query('create table proof (row int)')
  await client.end()
  await postgres.stop()
  const left = filesBelow(folders.root).filter((name) => name.includes('.partial-') || name.endsWith('.tmp'))
  assert.deepEqual(left, [], `killed ${afterMs} ms into initdb`)
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (!entry.isDirectory() || entry.name === 'postgres' || entry.name.includes('.partial-')) return [path]
    return filesBelow(path)
  })
}
