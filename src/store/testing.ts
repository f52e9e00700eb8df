/**
 * Databases for tests: one embedded Postgres per test process, started when the first is asked for and gone with its
 * folder when the last is closed. Each database is a fresh copy of a migrated template.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withDatabase } from './connection.ts'
import { type Connection, type Database, openDatabase } from './database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts'
import { migrate } from './migrate.ts'

export interface TestDatabase extends Database {
  /** For more connections, pools or processes on the same database. */
  connection: Connection
}

interface Server {
  postgres: EmbeddedPostgres
  admin: Database
  remove: () => void
}

let running: Promise<Server> | null = null
let open = 0
let made = 0

/** Use it so: `const db = await testDatabase()`, then `after(() => db.close())`. `migrated: false` gives an empty one. */
export async function testDatabase({ migrated = true }: { migrated?: boolean } = {}): Promise<TestDatabase> {
  open += 1
  running ??= startServer()
  const { postgres, admin } = await running
  const name = `test_${(made += 1)}`
  await admin.run(`create database ${name} template ${migrated ? 'paddock' : 'template1'}`)
  const connection = withDatabase(postgres.connection, name)
  const db = openDatabase({ connection, name: 'test' })
  let closing: Promise<void> | null = null
  return {
    connection,
    query: (sql, params) => db.query(sql, params),
    run: (sql, params) => db.run(sql, params),
    tx: (fn, options) => db.tx(fn, options),
    listen: (channel, onNotify) => db.listen(channel, onNotify),
    close: () => (closing ??= closeOne(db, name)),
  }
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

async function startServer(): Promise<Server> {
  const folders = testFolders()
  try {
    const postgres = await startEmbeddedPostgres({ ...folders, durable: false })
    await migrate({ connection: postgres.connection })
    const admin = openDatabase({ connection: withDatabase(postgres.connection, 'postgres'), poolSize: 1 })
    return { postgres, admin, remove: folders.remove }
  } catch (error) {
    folders.remove()
    throw error
  }
}

async function closeOne(db: Database, name: string): Promise<void> {
  await db.close()
  const server = await running!
  await server.admin.run(`drop database ${name} with (force)`)
  open -= 1
  if (open > 0) return
  running = null
  await server.admin.close()
  await server.postgres.stop()
  server.remove()
}
