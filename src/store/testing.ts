/**
 * Databases for tests: one embedded Postgres per test process, started when the first is asked for and gone with its
 * folder when the last is closed; or one for a whole run, when `testing-server.ts` is its global setup. Each database
 * is a fresh copy of a migrated template.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkEventsAtWrite } from '../events/store.ts'
import { withDatabase } from './connection.ts'
import { type Connection, type Database, openDatabase } from './database.ts'
import { startEmbeddedPostgres } from './embedded.ts'
import { migrate } from './migrate.ts'

export interface TestDatabase extends Database {
  /** For more connections, pools or processes on the same database. */
  connection: Connection
}

/** A migrated Postgres for tests. */
export interface TestServer {
  connection: Connection
  stop(): Promise<void>
}

/** Names the server of a whole run to its test processes (Connection as JSON). */
export const serverVariable = 'PADDOCK_TEST_POSTGRES'

interface Shared extends TestServer {
  admin: Database
}

let running: Promise<Shared> | null = null
let open = 0
let made = 0

export interface TestDatabaseOptions {
  /** False: an empty one. */
  migrated?: boolean
  /** True: on a server of this process, for what transactions in other files' databases would change. */
  ownServer?: boolean
}

/** Use it so: `const db = await testDatabase()`, then `after(() => db.close())`. */
export async function testDatabase({
  migrated = true,
  ownServer = false,
}: TestDatabaseOptions = {}): Promise<TestDatabase> {
  checkEventsAtWrite()
  open += 1
  running ??= share(ownServer)
  const shared = await running
  const name = `test_${process.pid}_${(made += 1)}`
  await shared.admin.run(`create database ${name} template ${migrated ? 'paddock' : 'template1'}`)
  const connection = withDatabase(shared.connection, name)
  const db = openDatabase({ connection, name: 'test' })
  let closing: Promise<void> | null = null
  return {
    connection,
    query: (sql, params) => db.query(sql, params),
    run: (sql, params) => db.run(sql, params),
    tx: (fn, options) => db.tx(fn, options),
    listen: (channel, onNotify) => db.listen(channel, onNotify),
    close: () => (closing ??= closeOne(shared, db, name)),
  }
}

/** Starts one; nothing of it is left after `stop`. `moreConnections`: for several files at a time. */
export async function startTestServer(moreConnections = 0): Promise<TestServer> {
  const folders = testFolders()
  try {
    const postgres = await startEmbeddedPostgres({ ...folders, durable: false, moreConnections })
    await migrate({ connection: postgres.connection })
    const stop = async () => {
      await postgres.stop()
      folders.remove()
    }
    return { connection: postgres.connection, stop }
  } catch (error) {
    folders.remove()
    throw error
  }
}

async function share(ownServer: boolean): Promise<Shared> {
  const given = ownServer ? undefined : process.env[serverVariable]
  const server = given ? { connection: JSON.parse(given) as Connection, stop: async () => {} } : await startTestServer()
  const admin = openDatabase({ connection: withDatabase(server.connection, 'postgres'), poolSize: 1 })
  return { ...server, admin }
}

async function closeOne(shared: Shared, db: Database, name: string): Promise<void> {
  await db.close()
  await shared.admin.run(`drop database ${name} with (force)`)
  open -= 1
  if (open > 0) return
  running = null
  await shared.admin.close()
  await shared.stop()
}

export interface TestFolders {
  /** Holds the other two; every user may enter it. */
  root: string
  dataFolder: string
  systemFolder: string
  remove: () => void
}

/** Folders for an embedded Postgres of its own (`dataFolder`, `systemFolder`), and the way to remove them. */
export function testFolders(name = 'paddock-test-'): {
  root: string
  dataFolder: string
  systemFolder: string
  remove: () => void
} {
  const root = mkdtempSync(join(tmpdir(), name))
  chmodSync(root, 0o755)
  const dataFolder = join(root, 'data')
  const systemFolder = join(root, 'system')
  mkdirSync(dataFolder, { mode: 0o700 })
  return {
    root,
    dataFolder,
    systemFolder,
    remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 10 }),
  }
}
