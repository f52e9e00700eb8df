/**
 * One running embedded server, from its command line to its last process. The folder's lock is held until nothing of
 * the server is left: only then may another start look for orphans.
 */
import { closeSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../runtime/clock.ts'
import { readIfThere } from '../runtime/files.ts'
import type { Account } from '../runtime/isolation.ts'
import type { HeldLock } from '../runtime/lock.ts'
import { identify, type ProcessIdentity } from '../runtime/processes.ts'
import type { Binaries } from './binaries.ts'
import type { Connection } from './connection.ts'
import type { Location } from './location.ts'
import { endOrphans } from './orphans.ts'
import { waitUntilReady } from './ready.ts'
import { boundLog, lastLogLines, openLog, sizeOf } from './server-log.ts'
import { serverSettings } from './server-settings.ts'
import { socketPort } from './socket-folder.ts'
import { type Ended, startTied, type Tied } from './tied.ts'

/** Name of the database and of its one user. */
export const databaseName = 'paddock'
/** A fast shutdown ends queries and writes a checkpoint; past this it is cut short and the next start recovers. */
export const stopGraceMs = 5_000
const logLines = 12

/** Everything that a start decided before it starts the server. */
export interface ServerSetting {
  location: Location
  binaries: Binaries
  clusterName: string
  password: string
  socketFolder: string
  logPath: string
  durable: boolean
  moreConnections: number
  clock: Clock
  log: (line: string) => void
}

export interface EmbeddedPostgres {
  connection: Connection
  /** The postmaster. */
  identity: ProcessIdentity
  /** Postgres' data directory. */
  folder: string
  /** Who runs it; null = we ourselves. */
  account: Account | null
  /** Resolves when all of the server has ended, for whatever reason; its folder can then be started again. */
  exited: Promise<Ended>
  /** Clean stop; resolves when it is gone, within about 2 × `stopGraceMs`. Idempotent. */
  stop(): Promise<void>
}

/** Resolves when a query succeeds; throws with the server's last lines when it does not start. Releases the lock. */
export async function startServer(setting: ServerSetting, lock: HeldLock): Promise<EmbeddedPostgres> {
  const { location, logPath, clock, log } = setting
  const output = openLog(logPath)
  const logStart = sizeOf(logPath)
  const tied = startTied({ argv: commandLine(setting), endSignal: 'INT', account: location.account, output })
  closeSync(output)
  const over = new AbortController()
  const exited = untilAllEnded(setting, tied, over, lock)
  const stop = () => stopServer(setting, tied, exited)
  try {
    const connection = connectionOf(setting)
    const waiting = { folder: location.folder, connection, database: databaseName, clock, log, ended: over.signal }
    const ready = await waitUntilReady(waiting)
    const identity = postmaster(location.folder)
    if (!ready || !identity)
      throw new Error(`The database does not start: ${lastLogLines(logPath, logLines, logStart)}`)
    void boundLog(logPath, clock, over.signal)
    return { connection, identity, folder: location.folder, account: location.account, exited, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function commandLine({ binaries, location, ...rest }: ServerSetting): [string, ...string[]] {
  return [binaries.postgres, '-D', location.folder, ...serverSettings(rest)]
}

function connectionOf({ socketFolder, password }: ServerSetting): Connection {
  return { host: socketFolder, port: socketPort, user: databaseName, password, database: databaseName }
}

function postmaster(folder: string): ProcessIdentity | null {
  return identify(Number.parseInt(readIfThere(join(folder, 'postmaster.pid')) ?? '', 10))
}

/** A killed postmaster leaves busy backends, a killed shell leaves a postmaster that is ending. */
async function untilAllEnded(
  { location, socketFolder, clusterName, clock, log }: ServerSetting,
  tied: Tied,
  over: AbortController,
  lock: HeldLock,
): Promise<Ended> {
  const ended = await tied.ended
  over.abort()
  await endOrphans(location.folder, clusterName, clock).catch((error: Error) => log(error.message))
  removeIfEmpty(socketFolder)
  lock.release()
  return ended
}

/** A socket folder outside the data folder would stay behind for ever. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // Not empty after a crash: the next start uses it again.
  }
}

async function stopServer(setting: ServerSetting, tied: Tied, exited: Promise<Ended>): Promise<void> {
  const { location, clusterName, clock } = setting
  const inTime = new AbortController()
  void exited.then(() => inTime.abort())
  tied.end()
  await clock.sleep(stopGraceMs, inTime.signal)
  if (!inTime.signal.aborted) await endOrphans(location.folder, clusterName, clock, 0)
  await exited
}
