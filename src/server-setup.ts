/** What `serve` settles before anything runs: configuration, data folder, lock, port, keys. */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { readScript, type Script } from './compute/simulated/script.ts'
import { decideWorkers } from './gateway/workers.ts'
import { ConfigError, readConfig } from './runtime/config.ts'
import { makeFolder, readIfThere, writeFileAtomic } from './runtime/files.ts'
import { randomToken } from './runtime/ids.ts'
import { instanceId } from './runtime/instance.ts'
import { type HeldLock, takeLock } from './runtime/lock.ts'
import type { Config, SettingName } from './runtime/settings.ts'
import { readOwnModels } from './server-models.ts'
import { simulatedFolder } from './server-parts.ts'

/** A start that cannot be: one clear sentence for the person at the terminal. */
export class StartRefused extends Error {}

export type ServeFlags = Partial<Record<SettingName, unknown>> & { config?: string }

export interface Setup {
  config: Config
  /** Absolute, symbolic links resolved. */
  dataFolder: string
  instanceId: string
  lock: HeldLock
  operatorKey: { secret: string; isNew: boolean; path: string | null }
  secretKey: string
  /** Of the simulated fleet. */
  script: Script
  /** Of the gateway. */
  workers: number
  /** Why there are fewer than wanted; null when there are not. */
  workersNotice: string | null
}

export function readSettings(flags: ServeFlags, env: NodeJS.ProcessEnv): Config {
  const { config: file, ...rest } = flags
  try {
    return readConfig({ flags: rest, env, file: file ?? env.PADDOCK_CONFIG })
  } catch (error) {
    if (error instanceof ConfigError)
      throw new StartRefused(
        `The configuration has ${error.problems.length === 1 ? 'a problem' : `${error.problems.length} problems`}:\n  ${error.problems.join('\n  ')}`,
      )
    throw error
  }
}

/** Everything that can be refused is refused before the first file is written. */
export async function prepare(config: Config): Promise<Setup> {
  checkKeys(config)
  const script = scriptOf(config)
  checkModels(config)
  await checkPort(config.host, config.port)
  const { workers, notice } = await workersOf(config)
  const dataFolder = openDataFolder(config.data)
  checkFleet(config.fleet, dataFolder)
  const lock = takeLock(join(dataFolder, 'serve.lock'))
  if (!lock)
    throw new StartRefused(
      `The data folder ${dataFolder} is in use by another Paddock. Stop that one, or name another folder with --data.`,
    )
  try {
    return {
      config,
      dataFolder,
      instanceId: instanceId(dataFolder),
      lock,
      operatorKey: keptKey(config.operator_key, join(dataFolder, 'operator-key'), 'sk_'),
      secretKey: keptKey(config.secret_key, join(dataFolder, 'secret-key'), '').secret,
      script,
      workers,
      workersNotice: notice,
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

function checkKeys(config: Config): void {
  if (config.operator_key !== '' && !/^\S{16,512}$/.test(config.operator_key))
    throw new StartRefused('PADDOCK_OPERATOR_KEY must have 16 to 512 characters without spaces.')
  if (config.secret_key !== '' && config.secret_key.length < 16)
    throw new StartRefused('PADDOCK_SECRET_KEY must have at least 16 characters.')
}

function scriptOf(config: Config): Script {
  const path = config['compute.simulated.script']
  if (path !== '' && config.fleet !== 'simulated')
    throw new StartRefused('compute.simulated.script is for the simulated fleet. Add --fleet simulated, or remove it.')
  try {
    return readScript(path)
  } catch (error) {
    throw new StartRefused((error as Error).message)
  }
}

function checkModels(config: Config): void {
  try {
    readOwnModels(config['models.catalogue'])
  } catch (error) {
    throw new StartRefused((error as Error).message)
  }
}

/** What was simulated and what was real never share a data folder: neither machines nor bills. */
function checkFleet(fleet: Config['fleet'], dataFolder: string): void {
  const isSimulated = existsSync(simulatedFolder(dataFolder))
  const isUsed = existsSync(join(dataFolder, 'instance.json'))
  if (fleet === 'simulated' && isUsed && !isSimulated)
    throw new StartRefused(
      `The data folder ${dataFolder} belongs to a fleet that is not simulated. Name another one with --data.`,
    )
  if (fleet !== 'simulated' && isSimulated)
    throw new StartRefused(
      `The data folder ${dataFolder} belongs to a simulated fleet. Start it with --fleet simulated, or name another one with --data.`,
    )
  if (fleet === 'simulated') makeFolder(simulatedFolder(dataFolder), 0o700)
}

/** Binds once without reusePort: a second server of ours would otherwise share the port silently. */
export async function checkPort(host: string, port: number): Promise<void> {
  if (port === 0) return
  const probe = createServer()
  await new Promise<void>((done, fail) => {
    probe.once('error', (error: NodeJS.ErrnoException) => fail(new StartRefused(portRefusal(host, port, error))))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => done()))
  })
}

async function workersOf(config: Config): Promise<ReturnType<typeof decideWorkers>> {
  const [asked, cores] = [config['gateway.workers'], availableParallelism()]
  return decideWorkers({ asked, cores, canSharePort: await canSharePort(config.host) })
}

/** Asks the system itself: where sockets cannot share a port, listening this way fails. */
function canSharePort(host: string): Promise<boolean> {
  const probe = createServer()
  return new Promise((done) => {
    probe.once('error', () => done(false))
    probe.listen({ host, port: 0, reusePort: true }, () => probe.close(() => done(true)))
  })
}

function portRefusal(host: string, port: number, error: NodeJS.ErrnoException): string {
  if (error.code === 'EADDRINUSE')
    return `Port ${port} on ${host} is taken by another program. Stop it, or choose another port with --port.`
  if (error.code === 'EACCES')
    return `Port ${port} needs more rights than this user has. Choose a port above 1023 with --port.`
  return `Cannot listen on ${host}:${port}: ${error.message}.`
}

function openDataFolder(path: string): string {
  const folder = resolve(path)
  try {
    // Not with `recursive`: where nothing can be made, as in /proc, Node would try for ever.
    makeFolder(folder, 0o700)
    if (!statSync(folder).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' })
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'EEXIST' || code === 'ENOTDIR'
        ? 'it is not a folder'
        : code === 'EACCES' || code === 'EROFS' || code === 'EPERM'
          ? 'this user may not write there'
          : code === 'ENOENT'
            ? 'it cannot be made there'
            : (error as Error).message
    throw new StartRefused(`The data folder ${folder} cannot be used: ${why}. Name another one with --data.`)
  }
  return realpathSync(folder)
}

function keptKey(given: string, path: string, prefix: string): { secret: string; isNew: boolean; path: string | null } {
  if (given !== '') return { secret: given, isNew: false, path: null }
  const kept = readIfThere(path)?.trim()
  if (kept !== undefined && kept !== '') return { secret: kept, isNew: false, path }
  const secret = `${prefix}${randomToken(32)}`
  writeFileAtomic(path, `${secret}\n`)
  return { secret, isNew: true, path }
}
