/** Waits until a started server answers queries, recovery after a crash included, and makes the database if missing. */
import { join } from 'node:path'
import pg from 'pg'
import type { Clock } from '../runtime/clock.ts'
import { readIfThere } from '../runtime/files.ts'
import { type Connection, clientConfig, withDatabase } from './connection.ts'

/** Recovery replays at most max_wal_size of log; a slow disk may need minutes, never this long. */
export const readyDeadlineMs = 600_000
const askEveryMs = 5
const sayEveryMs = 10_000

export interface ReadyInput {
  /** The server's data directory. */
  folder: string
  connection: Connection
  database: string
  clock: Clock
  log: (line: string) => void
  /** Aborts when the server has ended. */
  ended: AbortSignal
}

/** Resolves true when ready, false when the server ended before. Throws when it refuses us or the deadline passes. */
export async function waitUntilReady(input: ReadyInput): Promise<boolean> {
  const { connection, database, clock, log, ended } = input
  const started = clock.monotonicMs()
  for (let said = started; !ended.aborted; await clock.sleep(askEveryMs, ended)) {
    const answer = saysReady(input.folder) ? await ask(connection) : 'not yet'
    if (answer === 'ready') return true
    if (answer === 'no such database') await createDatabase(withDatabase(connection, 'postgres'), database)
    const now = clock.monotonicMs()
    if (now - started > readyDeadlineMs)
      throw new Error(`The database was not ready within ${readyDeadlineMs / 1000} s.`)
    if (now - said >= sayEveryMs) {
      log(`Waiting for the database, which is recovering (${Math.round((now - started) / 1000)} s).`)
      said = now
    }
  }
  return false
}

/** The eighth line of postmaster.pid is the server's own word; asking before that only fills its log. */
function saysReady(folder: string): boolean {
  return readIfThere(join(folder, 'postmaster.pid'))?.split('\n')[7]?.trim() === 'ready'
}

type Answer = 'ready' | 'not yet' | 'no such database'

async function ask(connection: Connection): Promise<Answer> {
  const client = new pg.Client(clientConfig(connection, 'paddock start'))
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return 'ready'
  } catch (error) {
    return meaning(error)
  } finally {
    await client.end().catch(() => {})
  }
}

function meaning(error: unknown): Answer {
  const code = (error as { code?: string }).code
  if (code === '3D000') return 'no such database'
  if (code === '28P01')
    throw new Error(
      'The database refuses the password in the data folder (postgres-password). Restore that file from the backup ' +
        'that belongs to this database.',
    )
  // Not listening yet, starting up, recovering, or ending: the caller sees which by waiting.
  return 'not yet'
}

async function createDatabase(admin: Connection, database: string): Promise<void> {
  const client = new pg.Client(clientConfig(admin, 'paddock start'))
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query(`create database ${pg.escapeIdentifier(database)}`)
  } finally {
    await client.end().catch(() => {})
  }
}
