/**
 * `paddock serve`: the supervisor. It owns Postgres (when embedded), control and the gateway, restarts whichever dies,
 * renews the engines' leases, and stops all of it in order. This is the composition root; the parts are listed in
 * server-control.ts (API, loops, drivers) and server-gateway.ts.
 */
import { createServer } from 'node:net'
import { join } from 'node:path'
import { loadHardware } from './models/hardware.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { environment } from './runtime/environment.ts'
import { type Log, makeLog } from './runtime/log.ts'
import { modulePath } from './runtime/self.ts'
import type { Config } from './runtime/settings.ts'
import { Part } from './server-child.ts'
import { type GatewaySetup, gatewayProgram, workerConnections } from './server-gateway-setup.ts'
import { inProcess } from './server-launch.ts'
import {
  type ControlSetup,
  controlSocketPath,
  ownCompute,
  removeControlSocket,
  type SimulatedSetup,
  simulatedFolder,
} from './server-parts.ts'
import { prepare, readSettings, type ServeFlags, type Setup, StartRefused } from './server-setup.ts'
import type { Connection } from './store/connection.ts'
import { startEmbeddedPostgres } from './store/embedded.ts'
import { migrate } from './store/migrate.ts'

/** Longest for each step of a clean stop; together under ten seconds. */
const gatewayDrainMs = 3_000
const gatewayLeaveMs = 1_000
const controlStopMs = 2_000
const enginesStopSeconds = 2
/** Signals closer together than this are one. */
const sameSignalMs = 1_000

/** Exit status of `serve`: 0 after a clean stop, 1 when it could not start. */
export async function serve(flags: ServeFlags): Promise<number> {
  try {
    const config = readSettings(flags, environment())
    return await new Supervisor(await prepare(config)).run()
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error
    process.stderr.write(`paddock: ${error.message}\n`)
    return 1
  }
}

interface Postgres {
  connection: Connection
  stop(): Promise<void>
}

class Supervisor {
  readonly #setup: Setup
  readonly #config: Config
  readonly #log: Log
  readonly #stop = new AbortController()
  #postgres: Promise<Postgres>
  #port: number
  readonly #controlSocket: string
  readonly #control: Part<ControlSetup>
  readonly #gateway: Part<GatewaySetup>
  readonly #simulated: Part<SimulatedSetup>

  constructor(setup: Setup) {
    this.#setup = setup
    this.#config = setup.config
    this.#port = setup.config.port
    this.#log = makeLog(setup.config['log.level'], 'supervisor')
    if (setup.workersNotice !== null) this.#log.warn({}, setup.workersNotice)
    this.#controlSocket = controlSocketPath(setup.dataFolder, setup.instanceId)
    this.#postgres = this.#startPostgres()
    this.#postgres.catch(() => {})
    const part = { clock, log: this.#log }
    const cacheFolder = join(setup.dataFolder, 'compile-cache')
    this.#control = new Part({
      ...part,
      name: 'control',
      launch: inProcess({ cacheFolder, module: modulePath('server-control') }),
      setup: () => this.#controlSetup(),
    })
    this.#gateway = new Part({
      ...part,
      name: 'gateway',
      launch: inProcess({ cacheFolder, ...gatewayProgram(this.#config, setup.workers) }),
      setup: () => this.#gatewaySetup(),
    })
    this.#simulated = new Part({
      ...part,
      name: 'simulated',
      launch: inProcess({ cacheFolder, module: modulePath('server-simulated') }),
      setup: async () => this.#simulatedSetup(),
    })
  }

  async run(): Promise<number> {
    this.#listenForSignals()
    try {
      if (this.#port === 0) this.#port = await freePort(this.#config.host)
      const started = Promise.all([this.#startSimulated(), this.#control.start(), this.#gateway.start()])
      await Promise.race([started, aborted(this.#stop.signal)])
    } catch (error) {
      const asked = this.#stop.signal.aborted
      await this.#shutDown()
      if (asked) return 0
      throw new StartRefused((error as Error).message)
    }
    if (!this.#stop.signal.aborted) this.#greet()
    void this.#renewLeases()
    await aborted(this.#stop.signal)
    await this.#shutDown()
    return 0
  }

  /** Starts the database, migrates it, and starts it again whenever it ends by itself. */
  async #startPostgres(): Promise<Postgres> {
    const { database_url: url } = this.#config
    if (url !== '') {
      await this.#migrate({ url })
      return { connection: { url }, stop: async () => {} }
    }
    const postgres = await startEmbeddedPostgres({
      dataFolder: this.#setup.dataFolder,
      systemFolder: this.#config.system_folder,
      uidBase: this.#config['isolation.uid_base'],
      moreConnections: (this.#setup.workers - 1) * workerConnections,
      clock,
      log: (line) => this.#log.info({}, line),
    })
    await this.#migrate(postgres.connection)
    void postgres.exited.then(() => this.#restartPostgres())
    return postgres
  }

  async #restartPostgres(): Promise<void> {
    for (let pauseMs = 50; !this.#stop.signal.aborted; pauseMs = Math.min(pauseMs * 2, 5_000)) {
      this.#log.warn({}, 'the database ended and is started again')
      try {
        const started = this.#startPostgres()
        await started
        this.#postgres = started
        return
      } catch (error) {
        this.#log.error({ error: (error as Error).message }, 'the database does not start')
        await clock.sleep(pauseMs, this.#stop.signal)
      }
    }
  }

  async #migrate(connection: Connection): Promise<void> {
    await migrate({ connection, clock, log: (line) => this.#log.info({}, line) })
  }

  async #controlSetup(): Promise<ControlSetup> {
    const { connection } = await this.#postgres
    const { dataFolder, instanceId, operatorKey, secretKey } = this.#setup
    return {
      config: this.#config,
      connection,
      dataFolder,
      instanceId,
      operatorKey: operatorKey.secret,
      secretKey,
      socketPath: this.#controlSocket,
      publicUrl: this.#publicUrl(),
    }
  }

  async #startSimulated(): Promise<void> {
    if (this.#config.fleet === 'simulated') await this.#simulated.start()
  }

  #simulatedSetup(): SimulatedSetup {
    return {
      folder: simulatedFolder(this.#setup.dataFolder),
      script: this.#setup.script,
      types: loadHardware(this.#config['compute.prices'])
        .all()
        .map(({ slug, gpusPerUnit, regions }) => ({ slug, gpusPerUnit, regions })),
      cpuSlots: this.#config['compute.local.cpu_slots'],
    }
  }

  async #gatewaySetup(): Promise<GatewaySetup> {
    const { dataFolder, instanceId } = this.#setup
    // A gateway can start without the database: it serves from its snapshot.
    const connection = await this.#postgres.then((p) => p.connection)
    return {
      config: this.#config,
      connection,
      id: `gw_${instanceId}`,
      port: this.#port,
      controlSocketPath: this.#controlSocket,
      snapshotPath: join(dataFolder, 'gateway-snapshot.json'),
      journalFolder: join(dataFolder, 'journal'),
      workers: this.#setup.workers,
      worker: 0,
    }
  }

  #publicUrl(): string {
    if (this.#config.public_url !== '') return this.#config.public_url.replace(/\/+$/, '')
    const host = this.#config.host.includes(':') ? `[${this.#config.host}]` : this.#config.host
    return `http://${host === '0.0.0.0' || host === '[::]' ? '127.0.0.1' : host}:${this.#port}`
  }

  #greet(): void {
    const { operatorKey, dataFolder } = this.#setup
    const lines = [`Paddock serves at ${this.#publicUrl()}  (API reference: ${this.#publicUrl()}/docs/api)`]
    lines.push(`Data: ${dataFolder}`)
    if (operatorKey.isNew)
      lines.push(`Operator key, shown this once: ${operatorKey.secret}`, `It is kept in ${operatorKey.path}`)
    if (!isLoopback(this.#config.host) && !this.#config.public_url.startsWith('https://'))
      lines.push(
        'Warning: this is plain HTTP on an address that others can reach; keys and prompts travel unencrypted. Put TLS in front and set public_url.',
      )
    process.stdout.write(`${lines.join('\n')}\n`)
  }

  /** Engines live on when control does not: whoever lives keeps them. */
  async #renewLeases(): Promise<void> {
    const compute = ownCompute(this.#config, this.#setup, this.#log)
    const everyMs = Math.min(60_000, (this.#config['compute.local.lease_seconds'] * 1000) / 5)
    while (!this.#stop.signal.aborted) {
      await compute
        .list()
        .then((ids) => compute.renew(ids))
        .catch((error: Error) => this.#log.warn({ error: error.message }, 'leases could not be renewed'))
      await clock.sleep(everyMs, this.#stop.signal)
    }
  }

  #listenForSignals(): void {
    let askedAt: number | null = null
    const onSignal = () => {
      const now = clock.monotonicMs()
      askedAt ??= now
      this.#stop.abort()
      // Asked again: do not wait for anybody. A signal to the whole group arrives twice, once through our wrapper.
      if (now - askedAt >= sameSignalMs) process.exit(130)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    process.on('SIGHUP', onSignal)
  }

  /** Gateway first (finish what is in flight), then control, engines, database. */
  async #shutDown(): Promise<void> {
    this.#stop.abort()
    await this.#gateway.stop(gatewayDrainMs + gatewayLeaveMs)
    await this.#control.stop(controlStopMs)
    if (!this.#config.keep_engines)
      await ownCompute(this.#config, this.#setup, this.#log)
        .endAll({ graceSeconds: enginesStopSeconds })
        .catch((error: Error) => this.#log.error({ error: error.message }, 'engines could not be ended'))
    await this.#simulated.stop(controlStopMs)
    await this.#postgres.then((postgres) => postgres.stop()).catch(() => {})
    removeControlSocket(this.#controlSocket, this.#setup.dataFolder)
    this.#setup.lock.release()
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

async function freePort(host: string): Promise<number> {
  const probe = createServer()
  return new Promise((done, fail) => {
    probe.once('error', fail)
    probe.listen({ host, port: 0 }, () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => done(port))
    })
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) =>
    signal.aborted ? done() : signal.addEventListener('abort', () => done(), { once: true }),
  )
}
