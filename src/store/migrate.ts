/**
 * Brings a database to this program's tables: forward only, one numbered file after the other, each in one transaction
 * under a lock, so that a file is applied whole or not at all and by one process alone. Refuses a database that is newer
 * than the program, and one whose recorded files say something else than ours: guessing would destroy data.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, systemClock } from '../runtime/clock.ts'
import { type Connection, type Database, openDatabase, type Querier, type Tx } from './database.ts'

/** Beside this module, in the clone and in a release alike. */
const migrationsFolder = join(import.meta.dirname, 'migrations')
/** Oldest Postgres whose features the statements use. */
const oldestServer = 140_000
/** Any number that nobody else uses as an advisory lock in this database. */
const lockNumber = 7_236_411

export interface MigrateOptions {
  connection: Connection
  /** Folder of `<number>_<name>.sql` files, numbered from 1 without gaps. */
  folder?: string
  clock?: Clock
  log?: (line: string) => void
}

interface Migration {
  number: number
  name: string
  sql: string
  sha256: string
}

type Recorded = Pick<Migration, 'number' | 'name' | 'sha256'>

/** Returns how many files were applied. Throws with a sentence for the operator. */
export async function migrate(options: MigrateOptions): Promise<number> {
  const { connection, folder = migrationsFolder, clock = systemClock, log = () => {} } = options
  const migrations = readMigrations(folder)
  const db = openDatabase({ connection, name: 'paddock migrate', poolSize: 1, statementTimeoutMs: 0, clock })
  try {
    await checkServer(db)
    const missing = await missingFrom(db, migrations)
    if (missing.length > 0) await db.tx(prepare)
    let applied = 0
    for (const migration of missing) {
      if (!(await db.tx((tx) => applyOne(tx, migration, migrations, clock.now())))) continue
      applied += 1
      log(`Applied migration ${migration.number} (${migration.name}).`)
    }
    return applied
  } finally {
    await db.close()
  }
}

/** Throws when numbers are missing or doubled. */
export function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name))
    .sort()
  return names.map((file, index) => {
    const sql = readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n')
    const number = Number(file.slice(0, 4))
    if (number !== index + 1) throw new Error(`Migration ${index + 1} is missing or doubled in ${folder}.`)
    return { number, name: file.slice(5, -4), sql, sha256: createHash('sha256').update(sql).digest('hex') }
  })
}

async function checkServer(db: Database): Promise<void> {
  const [row] = await db.query<{ version: string; encoding: string }>(
    "select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding",
  )
  if (Number(row?.version) < oldestServer)
    throw new Error(`Paddock needs Postgres ${oldestServer / 10_000} or newer; this server is older (${row?.version}).`)
  if (row?.encoding !== 'UTF8')
    throw new Error(`The database's encoding is ${row?.encoding}; Paddock needs one with encoding UTF8.`)
}

async function missingFrom(db: Database, migrations: Migration[]): Promise<Migration[]> {
  const [table] = await db.query<{ there: boolean }>("select to_regclass('schema_migrations') is not null as there")
  const recorded = table?.there ? await recordedIn(db, migrations) : new Set<number>()
  return migrations.filter(({ number }) => !recorded.has(number))
}

/** The numbers of the applied files. Throws when one of them is not as ours. */
async function recordedIn(db: Querier, migrations: Migration[]): Promise<Set<number>> {
  const rows = await db.query<Recorded>('select number, name, sha256 from schema_migrations order by number')
  for (const row of rows) checkRecorded(row, migrations)
  return new Set(rows.map(({ number }) => number))
}

async function prepare(tx: Tx): Promise<void> {
  await tx.query('select pg_advisory_xact_lock($1)', [lockNumber])
  await tx.run(`create table if not exists schema_migrations (
    number integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null)`)
}

/** False when another process applied it meanwhile. */
async function applyOne(tx: Tx, migration: Migration, all: Migration[], now: number): Promise<boolean> {
  await tx.query('select pg_advisory_xact_lock($1)', [lockNumber])
  if ((await recordedIn(tx, all)).has(migration.number)) return false
  const [before] = await tx.query<{ id: string }>('select pg_current_xact_id()::text as id')
  await tx.run(migration.sql)
  const [after] = await tx.query<{ id: string }>('select pg_current_xact_id()::text as id')
  if (before?.id !== after?.id)
    throw new Error(`Migration ${migration.number} (${migration.name}) ends its own transaction; it must not.`)
  await tx.run('insert into schema_migrations (number, name, sha256, applied_at) values ($1, $2, $3, $4)', [
    migration.number,
    migration.name,
    migration.sha256,
    new Date(now),
  ])
  return true
}

function checkRecorded(row: Recorded, all: Migration[]): void {
  const ours = all[row.number - 1]
  if (!ours)
    throw new Error(
      `The database is newer than this Paddock: it has migration ${row.number} (${row.name}), and this release knows ` +
        `${all.length}. Start the newer release, or restore a backup from before it.`,
    )
  if (ours.sha256 !== row.sha256)
    throw new Error(
      `Migration ${row.number} (${row.name}) of this release differs from the one that made the database. ` +
        'Start the release that made it.',
    )
}
