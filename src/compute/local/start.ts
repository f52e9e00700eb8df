/**
 * From an admitted replica to a keeper. Every step may be repeated, by this process after an error or by another after
 * a crash: what exists already is used as it is, and of several keepers only one gets past its claim (keeper.ts).
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import type { Launch, LaunchHost } from '../../engines/contract.ts'
import { until } from '../../runtime/clock.ts'
import { createFileOnce, makeFolder } from '../../runtime/files.ts'
import { randomToken } from '../../runtime/ids.ts'
import { type Account, reachableBy } from '../../runtime/isolation.ts'
import { childEnv } from '../../runtime/processes.ts'
import { modulePath } from '../../runtime/self.ts'
import { ComputeError, type ReplicaOrder } from '../contract.ts'
import { placeEngineFiles } from './engine-files.ts'
import { visibleDevices } from './gpus.ts'
import { guarded } from './guard.ts'
import type { Host } from './host.ts'
import { tail } from './output.ts'
import type { Intent, KeeperOrder, RunFolder } from './run-folder.ts'
import { makeMarker, markerVariable } from './strays.ts'
import { placeWeights } from './weights.ts'

const address = '127.0.0.1'
/** A keeper needs a tenth of a second; more is a machine under great load. */
const keeperStartMsMaximum = 30_000
/** A keeper holds a few kilobytes; V8 would otherwise take its time to collect. */
const keeperMemory = ['--max-old-space-size=32', '--max-semi-space-size=1']

/** The order that counts for this replica: an earlier one, or this one written down. */
export async function writeOrder(host: Host, order: ReplicaOrder, intent: Intent): Promise<KeeperOrder> {
  const run = host.run(order.id)
  const known = run.order()
  if (known !== null) return known
  const scratch = await makeScratch(host, order, intent)
  const launchHost = await placeFiles(host, order, intent)
  const keeperOrder = await compose(host, order, intent, launchHost, scratch)
  createFileOnce(run.file('lease'), '')
  createFileOnce(run.file('order.json'), JSON.stringify(keeperOrder))
  return run.order() ?? keeperOrder
}

/** The one folder in which the engine may write: its home and working folder. */
async function makeScratch(host: Host, order: ReplicaOrder, { account }: Intent): Promise<string> {
  const own = host.replicaFolder(order.id)
  const scratch = join(own, 'scratch')
  if (account !== null) makeFolder(dirname(own), 0o755)
  await mkdir(scratch, { recursive: true, mode: 0o700 })
  if (account === null) return scratch
  await chown(own, 0, account.gid)
  await chmod(own, 0o750)
  await chown(scratch, account.uid, account.gid)
  await chmod(scratch, 0o700)
  if (!reachableBy(account, scratch))
    throw new ComputeError('unavailable', `Engines cannot reach ${own}: a folder above it is closed to other users.`)
  return scratch
}

async function placeFiles(host: Host, order: ReplicaOrder, intent: Intent): Promise<LaunchHost> {
  const { account, gpuIds, gpuVendor } = intent
  const { node, packageRoot, runtimePackages } = host.options
  const files = placeEngineFiles({ node, packageRoot }, runtimePackages?.() ?? [], account, host.codeFolder, (copy) =>
    host.claims.take([`code-${copy}-${order.id}`], 1, host.run(order.id).path),
  )
  const modelPath = await placeForEngine(host, order.id, intent, order.model.path)
  const placed: Record<string, string> = {}
  for (const [name, path] of Object.entries(order.files ?? {}))
    placed[name] = await placeForEngine(host, order.id, intent, path, name)
  const port = await freePort(host)
  return { address, port, threads: host.threads, gpuIds, gpuVendor, modelPath, files: placed, ...files }
}

/** The path under which this replica's engine reads it. `name`: of the folder that it gets; default: that of weights. */
export async function placeForEngine(
  host: Host,
  id: ReplicaOrder['id'],
  { account }: Intent,
  path: string,
  name?: string,
): Promise<string> {
  if (account === null || reachableBy(account, path)) return path
  const folder = name === undefined ? {} : { folder: `file-${name}` }
  return placeWeights(path, { store: host.weightsFolder, replicaFolder: host.replicaFolder(id), account, ...folder })
}

async function compose(
  host: Host,
  order: ReplicaOrder,
  { account, gpuIds, gpuVendor, at }: Intent,
  launchHost: LaunchHost,
  scratch: string,
): Promise<KeeperOrder> {
  const launch = launchOf(order, launchHost)
  await writeOwnFiles(scratch, launch.files ?? {}, account)
  const marker = makeMarker(host.options.instanceId, order.id, randomToken(12))
  const own = { HOME: scratch, TMPDIR: scratch, [markerVariable]: marker }
  return {
    replicaId: order.id,
    marker,
    address,
    port: launchHost.port,
    account,
    argv: guarded(launch.argv, { setpriv: await host.setpriv(), ownUid: account !== null }),
    env: childEnv({ ...launch.env, ...visibleDevices(gpuVendor, gpuIds), ...own }),
    cwd: scratch,
    stopGraceSeconds: launch.stopGraceSeconds,
    leaseSeconds: host.leaseSeconds,
    filesAt: at,
  }
}

/** What the engine alone may read, in the folder it is started in. */
async function writeOwnFiles(folder: string, files: Record<string, string>, account: Account | null): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, basename(name))
    await writeFile(path, content, { mode: 0o600 })
    if (account !== null) await chown(path, account.uid, account.gid)
  }
}

function launchOf(order: ReplicaOrder, launchHost: LaunchHost): Launch {
  try {
    return order.launch(launchHost)
  } catch (error) {
    throw new ComputeError('rejected', `The engine cannot be launched here: ${(error as Error).message}`, error)
  }
}

const portTriesMaximum = 50

/** Free now, and not promised to an engine that has yet to listen. */
async function freePort(host: Host): Promise<number> {
  const promised = new Set(host.runs().map((run) => run.order()?.port))
  for (let tries = 0; tries < portTriesMaximum; tries++) {
    const port = await anyPort()
    if (!promised.has(port)) return port
  }
  throw new ComputeError('unavailable', 'No free port was found on this machine.')
}

function anyPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, address, () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Starts a keeper and waits until one (this or another) has the replica. Throws ComputeError unavailable, not_ready. */
export async function startKeeper(host: Host, run: RunFolder, order: KeeperOrder): Promise<void> {
  const { node, packageRoot, folder } = host.options
  const complaints = openSync(run.file('keeper.log'), 'a', 0o600)
  // Spares each keeper the work of compiling: half of its start.
  const cache = join(folder, '.keeper-cache')
  mkdirSync(cache, { recursive: true, mode: 0o700 })
  const child = spawn(
    node,
    [...keeperMemory, modulePath('compute/local/keeper', packageRoot), run.path, order.marker],
    {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', complaints],
      env: childEnv({ NODE_COMPILE_CACHE: cache }),
    },
  )
  closeSync(complaints)
  child.unref()
  let over: string | null = null
  child.once('exit', (code, signal) => (over = `it ended with ${signal ?? `status ${code}`}`))
  child.once('error', (error) => (over = error.message))
  const claimed = () => existsSync(run.file('keeper.json'))
  await until(host.clock, 'the keeper’s start', keeperStartMsMaximum, () => claimed() || over !== null, 5).catch(
    (error: Error) => {
      throw new ComputeError('not_ready', error.message, error)
    },
  )
  if (claimed()) return
  const said = tail(run.file('keeper.log'), 5).join(' ')
  throw new ComputeError('unavailable', `The keeper did not start: ${over}. ${said}`.trim())
}
