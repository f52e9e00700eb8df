/**
 * Two gateways with one journal folder, control, a database behind a door, an engine that writes down what it serves,
 * and clients: killed, cut off and started again at random. The parts are the real ones, each in its process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashKey } from '../../../src/access/keyring.ts'
import { publishRoute } from '../../../src/deployments/store.ts'
import { systemClock, until } from '../../../src/runtime/clock.ts'
import { readConfig } from '../../../src/runtime/config.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { modulePath } from '../../../src/runtime/self.ts'
import type { Config } from '../../../src/runtime/settings.ts'
import { type GatewaySetup, gatewayProgram } from '../../../src/server-gateway-setup.ts'
import { nextVersion } from '../../../src/store/tables.ts'
import { type TestDatabase, testDatabase } from '../../../src/store/testing.ts'
import { bytesBelow } from '../../../src/usage/journal/disk.ts'
import { readSegment } from '../../../src/usage/journal/reader.ts'
import { requestIdOf } from '../../../src/usage/journal/record.ts'
import { Shipper } from '../../../src/usage/journal/shipper.ts'
import { isRefused, recordLines } from '../../../src/usage/store.ts'
import type { Random } from '../../paper/random.ts'
import { Clients } from './clients.ts'
import { Door } from './door.ts'
import type { ServedLog } from './engine.ts'
import { KilledPart, type Program, startWithinMs } from './part.ts'
import { type Verdict, verify } from './verify.ts'

export interface WorldOptions {
  random: Random
  /** Where compiled code is kept from start to start. */
  cacheFolder: string
  gateways: number
  /** The last of them has two workers. */
  hasWorkers: boolean
  /** Module that plants a bug into the gateways. */
  plant?: string
  /** Some of what killed gateways leave is kept, to be given to the ledger again. */
  keepsCopies: boolean
}

const key = 'sk_kill-test'
const model = 'steady'
const clientsPerGateway = 2
const takeOverWithinMs = 60_000

export class MeteringWorld {
  readonly clients: Clients
  readonly random: Random
  readonly #folder = mkdtempSync(join(tmpdir(), 'paddock-metering-'))
  readonly #journal = join(this.#folder, 'journal')
  readonly #copies = join(this.#folder, 'copies')
  readonly #plant: string | null
  readonly #keepsCopies: boolean
  readonly #cacheFolder: string
  readonly db: TestDatabase
  readonly #door: Door
  readonly #engine: ChildProcess
  readonly #control: KilledPart
  readonly gateways: KilledPart[]
  /** Of each gateway. */
  readonly #workers: number[]
  #workersPort = 0
  #enginePort = 0
  #copied = 0
  /** Lines that were given to the ledger again. */
  repeated = 0

  private constructor(
    { random, gateways, hasWorkers, plant, keepsCopies, cacheFolder }: WorldOptions,
    db: TestDatabase,
    door: Door,
  ) {
    this.random = random
    this.#cacheFolder = cacheFolder
    this.#plant = plant === undefined ? null : new URL(plant, import.meta.url).href
    this.#keepsCopies = keepsCopies
    this.db = db
    this.#door = door
    this.clients = new Clients(key, model, random)
    mkdirSync(this.#copies)
    this.#engine = fork(new URL('engine.ts', import.meta.url), [], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: [],
    })
    const config = this.#config()
    this.#control = this.#part({ module: modulePath('server-control'), args: [] }, () => this.#controlSetup(), null)
    this.#workers = Array.from({ length: gateways }, (_, n) => (hasWorkers && n === gateways - 1 ? 2 : 1))
    this.gateways = this.#workers.map((count, n) =>
      this.#part(gatewayProgram(config, count), () => this.#gatewaySetup(n), this.#plant),
    )
  }

  static async open(options: WorldOptions): Promise<MeteringWorld> {
    const db = await testDatabase()
    const world = new MeteringWorld(options, db, await Door.open(db.connection))
    try {
      const [{ port }] = (await once(world.#engine, 'message')) as [{ port: number }]
      world.#enginePort = port
      world.#workersPort = await freePort()
      await world.#furnish()
      for (const part of [world.#control, ...world.gateways]) part.start()
      for (const gateway of world.gateways) world.clients.ask(clientsPerGateway, gateway)
      for (const gateway of world.gateways) await world.#settledIn(gateway)
      return world
    } catch (error) {
      await world.close()
      throw error
    }
  }

  /** It has answered, and has kept what it would start from while the database is away. */
  async #settledIn(gateway: KilledPart): Promise<void> {
    await gateway.answers(1)
    const { snapshotPath } = gateway.setup() as { snapshotPath: string }
    await until(systemClock, 'its tables are kept', startWithinMs, () => existsSync(snapshotPath))
  }

  /** Kills it and starts it again at once; `ready` is not waited for. Some of what it leaves is kept as a copy. */
  async killGateway(gateway: KilledPart): Promise<void> {
    const { pid } = gateway
    await gateway.kill()
    if (this.#keepsCopies) this.#copyOf(pid)
    gateway.start()
  }

  async killControl(): Promise<void> {
    await this.#control.kill()
    this.#control.start()
  }

  shutDoor(): void {
    this.#door.shut()
  }

  unshutDoor(): void {
    this.#door.unshut()
  }

  /** Of everything that the database has not taken. */
  journalBytes(): Promise<number> {
    return bytesBelow(this.#journal)
  }

  get copies(): number {
    return this.#copied
  }

  /** What dead gateways left is given to the ledger once more: in another order, in other batches, some of it twice. */
  async repeat(): Promise<void> {
    for (const name of readdirSync(this.#copies)) {
      const lines = await this.#linesOf(join(this.#copies, name))
      if (this.random.chance(0.5)) rmSync(join(this.#copies, name), { recursive: true })
      const shuffled = lines.map((line) => ({ line, at: this.random.float() })).sort((a, b) => a.at - b.at)
      for (let from = 0; from < shuffled.length; ) {
        const batch = shuffled.slice(from, from + this.random.int(1, 200)).map(({ line }) => line)
        for (let times = this.random.int(1, 2); times > 0; times--) await recordLines(this.db, batch)
        this.repeated += batch.length
        from += batch.length
      }
    }
  }

  /** The living have taken over what the dead left: there are no folders but their own. */
  async takenOver(): Promise<void> {
    this.unshutDoor()
    await Promise.all(this.gateways.map((gateway) => gateway.ready()))
    await until(
      systemClock,
      'what the dead left is taken over',
      takeOverWithinMs,
      () => this.#folders() === this.#workers.reduce((all, count) => all + count, 0),
    )
  }

  /** Everybody stops; whatever is still in a journal is shipped; then the ledger must be right. */
  async verdict(): Promise<Verdict> {
    await this.clients.end()
    this.unshutDoor()
    await Promise.all(this.gateways.map((gateway) => gateway.kill('SIGTERM')))
    await this.#shipRest()
    await this.repeat()
    return verify(this.db, await this.#log(), this.clients.told)
  }

  async close(): Promise<void> {
    await this.clients.end()
    await Promise.all([...this.gateways, this.#control].map((part) => part.kill()))
    if (this.#engine.connected) {
      const gone = once(this.#engine, 'exit')
      this.#engine.disconnect()
      await gone
    }
    await this.#door.close()
    await this.db.close()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 })
  }

  /** For messages about failures. */
  words(): string {
    return [this.#control, ...this.gateways].map(({ words }) => words).join('\n')
  }

  async #log(): Promise<ServedLog> {
    const answer = once(this.#engine, 'message')
    this.#engine.send('log')
    const [{ log }] = (await answer) as [{ log: ServedLog }]
    return log
  }

  #folders(): number {
    return readdirSync(this.#journal, { withFileTypes: true }).filter((entry) => entry.isDirectory()).length
  }

  /** Of a dead one only: what a living one has begun may still be settled. Another may take it over meanwhile. */
  #copyOf(pid: number): void {
    if (this.random.chance(0.4)) return
    for (const name of readdirSync(this.#journal).filter((one) => one.startsWith(`writer-${pid}-`)))
      try {
        cpSync(join(this.#journal, name), join(this.#copies, `${(this.#copied += 1)}`), { recursive: true })
      } catch {
        // It is gone, or half of it.
      }
  }

  /** All that a dead gateway has settled, and what it had begun. A copy may be in pieces. */
  async #linesOf(folder: string): Promise<string[]> {
    const settled = new Map<string, string>()
    const begun = new Map<string, string>()
    const segments = readdirSync(folder)
      .filter((one) => one.endsWith('.segment'))
      .sort()
    for (const name of segments)
      for await (const { lines } of readSegment(join(folder, name), 0, true))
        for (const { kind, text } of lines)
          if (kind !== 'head') (kind === 'open' ? begun : settled).set(requestIdOf(text), text)
    return [...settled.values(), ...[...begun].filter(([id]) => !settled.has(id)).map(([, line]) => line)]
  }

  async #shipRest(): Promise<void> {
    const ledger = { record: (lines: readonly string[]) => recordLines(this.db, lines), refuses: isRefused }
    const shipper = new Shipper({ root: this.#journal, ledger, horizon: () => 0, clock: systemClock, log: silentLog })
    await shipper.pass(undefined, true)
    if (this.#folders() > 0 || shipper.state().rejected > 0) throw new Error('some of the journal cannot be shipped')
  }

  #part(program: Program, setup: () => object, preload: string | null): KilledPart {
    return new KilledPart({ program, setup, preload, cacheFolder: this.#cacheFolder })
  }

  #gatewaySetup(n: number): GatewaySetup {
    const workers = this.#workers[n] ?? 1
    return {
      config: this.#config(),
      connection: this.#door.connection,
      id: `gw_${n}`,
      port: workers > 1 ? this.#workersPort : (this.gateways[n]?.port ?? 0),
      controlSocketPath: join(this.#folder, 'control.sock'),
      snapshotPath: join(this.#folder, `snapshot-${n}.json`),
      journalFolder: this.#journal,
      workers,
      worker: 0,
    }
  }

  #controlSetup(): object {
    return {
      config: this.#config(),
      connection: this.#door.connection,
      dataFolder: this.#folder,
      instanceId: 'kill',
      operatorKey: 'sk_operator-of-the-kill-test',
      secretKey: 'a secret key of the kill test, long enough',
      socketPath: join(this.#folder, 'control.sock'),
      publicUrl: 'http://127.0.0.1',
    }
  }

  /** Segments as small as can be, so that they change and go all the time. */
  #config(): Config {
    const flags = { 'log.level': 'warn', 'journal.segment_bytes': 65_536, data: this.#folder }
    return readConfig({ flags, env: {}, file: undefined })
  }

  /**
   * An organisation, a key, and a route to the engine. To control its deployment is one that was deleted, so that it
   * leaves the route as it is.
   */
  async #furnish(): Promise<void> {
    const now = new Date()
    await this.db.tx(async (tx) => {
      await tx.run('insert into orgs (id, name, created_at) values ($1, $1, $2)', ['org_kill', now])
      await tx.run(
        `insert into api_keys (id, org_id, name, role, hash, hint, created_at, version)
         values ('key_kill', 'org_kill', 'kill', 'developer', $1, 'test', $2, $3)`,
        [hashKey(key), now, await nextVersion(tx, 'keyring')],
      )
      await tx.run(
        `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, created_at, updated_at,
           deleted_at)
         values ('dep_kill', 'org_kill', $1, '{}', 'deleted', 0, 1, 'deleted', $2, $2, $2)`,
        [model, now],
      )
      await publishRoute(tx, {
        deploymentId: 'dep_kill',
        orgId: 'org_kill',
        name: model,
        modelId: 'paddock/starter',
        servedName: 'served',
        engine: 'llamacpp',
        phase: 'serving',
        reason: null,
        replicas: [
          { id: 'rep_kill', address: '127.0.0.1', port: this.#enginePort, key: 'k', state: 'ready', weight: 100 },
        ],
        contextTokens: 4096,
        emulated: false,
        created: 1,
        removed: false,
        version: 1,
      })
    })
  }
}

/** Workers share a port that is known before. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
