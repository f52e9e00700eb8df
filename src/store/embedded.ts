/**
 * The embedded Postgres: found, created at the first start, started, watched and stopped. The order matters: the lock
 * first (from then on whatever runs on this folder is an orphan), then orphans, then partial folders, then the server.
 * Killed at any line, the next start does the same from the beginning.
 */
import { join, resolve } from 'node:path'
import { type Clock, systemClock } from '../runtime/clock.ts'
import { makeFolder, readIfThere, readJsonIfThere, writeFileAtomic } from '../runtime/files.ts'
import { randomToken } from '../runtime/ids.ts'
import { instanceId } from '../runtime/instance.ts'
import { postgresAccount, systemFolder as usualSystemFolder } from '../runtime/isolation.ts'
import { type HeldLock, takeLock } from '../runtime/lock.ts'
import { findBinaries } from './binaries.ts'
import { createDatabaseFolder, removePartialFolders } from './create.ts'
import { initAccount } from './init-account.ts'
import { isDatabase, locateDatabase, recordCreated } from './location.ts'
import { endOrphans } from './orphans.ts'
import { databaseName, type EmbeddedPostgres, type ServerSetting, startServer } from './server.ts'
import { chooseSocketFolder } from './socket-folder.ts'

export type { EmbeddedPostgres } from './server.ts'

export interface EmbeddedOptions {
  dataFolder: string
  /** Where root keeps what the account of Postgres must reach. */
  systemFolder?: string
  /** Where the socket's private folder is made; default: beside the database, else in the system's temporary folder. */
  socketFolder?: string
  /** First uid of the range used under root. */
  uidBase?: number
  clock?: Clock
  /** Progress and warnings, one sentence each. */
  log?: (line: string) => void
  /** False only in tests: nothing is forced to the disk. */
  durable?: boolean
  /** For whom the usual number of connections is too small. */
  moreConnections?: number
}

/**
 * Starts Postgres on a data folder and resolves when a query succeeds. Throws with one sentence for the operator: in
 * use by another Paddock, belongs to another user, made by another major version, does not start (with its last lines).
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const dataFolder = resolve(options.dataFolder)
  makeFolder(dataFolder, 0o700)
  const lock = lockFolder(dataFolder)
  try {
    const setting = prepare(dataFolder, options)
    await clearLeftovers(setting)
    await createIfMissing(setting)
    recordCreated(dataFolder)
    return await startServer(setting, lock)
  } catch (error) {
    lock.release()
    throw error
  }
}

function lockFolder(dataFolder: string): HeldLock {
  const ownerPath = join(dataFolder, 'postgres-owner.json')
  const lock = takeLock(join(dataFolder, 'postgres.lock'))
  if (!lock) {
    const pid = readJsonIfThere<{ pid: number }>(ownerPath)?.pid
    throw new Error(
      `The data folder ${dataFolder} is in use by another Paddock${pid === undefined ? '' : ` (process ${pid})`}. ` +
        'Stop that one, or use another data folder.',
    )
  }
  writeFileAtomic(ownerPath, `${JSON.stringify({ pid: process.pid })}\n`)
  return lock
}

function prepare(dataFolder: string, options: EmbeddedOptions): ServerSetting {
  const { systemFolder = usualSystemFolder, uidBase, durable = true, clock = systemClock, log = () => {} } = options
  const { moreConnections = 0 } = options
  const instance = instanceId(dataFolder)
  const accounts = [postgresAccount(uidBase), initAccount()]
  const location = locateDatabase({ dataFolder, systemFolder, uidBase, accounts })
  const { folder, account } = location
  const programs = account ? join(systemFolder, 'postgres') : join(dataFolder, 'postgres-programs')
  return {
    location,
    binaries: findBinaries([...accounts, account], programs),
    clusterName: `paddock-${instance}`,
    password: passwordOf(dataFolder, folder),
    socketFolder: chooseSocketFolder({ folder, account, instanceId: instance, below: options.socketFolder }),
    logPath: join(dataFolder, 'postgres.log'),
    durable,
    moreConnections,
    clock,
    log,
  }
}

/** Made once, before the database that knows it; a database without its password file cannot be opened. */
function passwordOf(dataFolder: string, folder: string): string {
  const path = join(dataFolder, 'postgres-password')
  const kept = readIfThere(path)?.trim()
  if (kept) return kept
  if (isDatabase(folder))
    throw new Error(
      `${path} is missing; the database in ${folder} cannot be opened without it. Restore it from a backup.`,
    )
  const password = randomToken(24)
  writeFileAtomic(path, `${password}\n`)
  return password
}

async function clearLeftovers({ location, clusterName, clock, log }: ServerSetting): Promise<void> {
  const ended = await endOrphans(location.folder, clusterName, clock)
  if (ended > 0) log(`Ended ${ended} database processes that an earlier run left behind.`)
  await removePartialFolders(location.folder, clusterName, clock)
}

async function createIfMissing({ location, binaries, password, durable }: ServerSetting): Promise<void> {
  const { folder, account } = location
  if (!isDatabase(folder)) {
    const creation = { binaries, folder, account, initAccount: initAccount(), password, durable }
    await createDatabaseFolder({ ...creation, user: databaseName })
  }
  const major = readIfThere(join(folder, 'PG_VERSION'))?.trim()
  if (major !== binaries.major)
    throw new Error(
      `The database in ${folder} was made by Postgres ${major}; this Paddock brings Postgres ${binaries.major}. ` +
        'Export it with the release that made it, and import it into a new data folder.',
    )
}
