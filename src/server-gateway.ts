/** The gateway's process: the front door, and the feed that keeps its tables fresh. No SQL on the way of a request. */
import { report, unregister } from './access/gateways.ts'
import { Keyring } from './access/keyring.ts'
import { keyringSince, markUsed } from './access/store.ts'
import { RouteTable } from './deployments/routes.ts'
import { routesSince } from './deployments/store.ts'
import { enginesOf } from './engines/registry.ts'
import type { SettledRequest } from './gateway/exchange.ts'
import { startGateway } from './gateway/server.ts'
import { loadSnapshot, saveSnapshot } from './gateway/snapshot.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { makeLog } from './runtime/log.ts'
import { runPart } from './server-child.ts'
import type { GatewaySetup } from './server-parts.ts'
import { type Database, openDatabase } from './store/database.ts'
import { currentVersions, demandChannel, notifyNow, tablesChannel } from './store/tables.ts'
import { DemandCounts } from './usage/demand.ts'

const reportEveryMs = 1_000
const usedEveryMs = 5_000
const saveEveryMs = 30_000
const drainMs = 3_000

runPart<GatewaySetup>(async (setup, tell) => {
  const log = makeLog(setup.config['log.level'], 'gateway')
  const db = openDatabase({ connection: setup.connection, name: 'paddock gateway', log: (line) => log.warn({}, line) })
  const tables = { keyring: new Keyring(), routes: new RouteTable() }
  const feed = new Feed(setup, db, tables, log)
  await feed.load()
  const gateway = await startGateway({
    host: setup.config.host,
    port: setup.port,
    tables,
    engines: enginesOf(setup.config.fleet),
    control: { socketPath: setup.controlSocketPath },
    settings: setup.config,
    clock,
    log,
    onSettle: (settled) => feed.settled(settled),
    onHold: (deploymentId) => feed.holds(deploymentId),
    trust: () => feed.distrust(),
  })
  feed.inFlight = () => gateway.inFlight()
  feed.held = () => gateway.held()
  const stopping = new AbortController()
  const fed = feed.run(stopping.signal)
  tell({ kind: 'ready', port: gateway.port })
  return {
    stop: async () => {
      await gateway.close({ drainMs })
      stopping.abort()
      await fed
      await feed.leave()
      await db.close()
    },
  }
})

/** Brings keyring and routes from the database into memory and tells the register what was applied. */
class Feed {
  readonly #setup: GatewaySetup
  readonly #db: Database
  readonly #tables: { keyring: Keyring; routes: RouteTable }
  readonly #log: ReturnType<typeof makeLog>
  readonly #used = new Map<string, number>()
  #reported = ''
  #reportedAt = 0
  #savedUsedAt = 0
  #savedAt = 0
  /** When the snapshot was saved that we live on, ms since epoch; null = the database has been reached. */
  #snapshotFrom: number | null = null
  #wake: () => void = () => {}
  readonly #demand = new DemandCounts()
  #announce = false
  #poked = false
  inFlight: () => Record<string, number> = () => ({})
  held: () => Record<string, number> = () => ({})

  constructor(
    setup: GatewaySetup,
    db: Database,
    tables: { keyring: Keyring; routes: RouteTable },
    log: ReturnType<typeof makeLog>,
  ) {
    this.#setup = setup
    this.#db = db
    this.#tables = tables
    this.#log = log
  }

  /** A snapshot that grows too old while the database stays away: a key in it may have been revoked long ago. */
  distrust(): string | null {
    if (this.#snapshotFrom === null) return null
    const age = Math.round((clock.now() - this.#snapshotFrom) / 1000)
    if (age <= this.#setup.config['tables.max_stale_seconds']) return null
    return `the database is away and keys and routes are ${age} s old`
  }

  settled({ keyId, deploymentId, code, stream, timings }: SettledRequest): void {
    const now = clock.now()
    if (keyId !== null) this.#used.set(keyId, now)
    if (deploymentId === null) return
    const ttftMs = stream && timings.ttft !== null ? Math.max(0, timings.ttft - timings.queue) : null
    this.#demand.ended(deploymentId, code, ttftMs, now)
  }

  /** Look again now, also when a look is under way. */
  #poke(): void {
    this.#poked = true
    this.#wake()
  }

  /** Somebody waits: say so at once, it may have to be woken. */
  holds(deploymentId: string): void {
    this.#demand.touch(deploymentId, clock.now())
    this.#announce = true
    this.#poke()
  }

  /** First fill: from the database, else from a snapshot that is not too old. */
  async load(): Promise<void> {
    try {
      await this.#look()
    } catch (error) {
      const snapshot = loadSnapshot(
        this.#setup.snapshotPath,
        clock.now(),
        this.#setup.config['tables.max_stale_seconds'],
      )
      if (snapshot === null) throw error
      this.#log.warn({ savedAt: snapshot.savedAt }, 'the database is away: serving from the snapshot')
      this.#snapshotFrom = snapshot.savedAt
      this.#tables.keyring.apply(snapshot.keyring)
      this.#tables.routes.apply(snapshot.routes)
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const unlisten = this.#db.listen(tablesChannel, () => this.#poke())
    while (!signal.aborted) {
      this.#poked = false
      await this.#look().catch((error: Error) =>
        this.#log.warn({ error: error.message }, 'tables could not be refreshed'),
      )
      await this.#saveUsed(usedEveryMs).catch(() => {})
      const stop = new AbortController()
      this.#wake = () => stop.abort()
      if (this.#poked) continue
      const both = AbortSignal.any([signal, stop.signal])
      await clock.sleep(this.#setup.config['tables.poll_milliseconds'], both)
    }
    unlisten()
  }

  async #look(): Promise<void> {
    const { keyring, routes } = this.#tables
    const newest = await currentVersions(this.#db)
    const changed = keyring.version < newest.keyring || routes.version < newest.routes
    while (keyring.version < newest.keyring)
      if (!this.#apply(keyring, await keyringSince(this.#db, keyring.version))) break
    while (routes.version < newest.routes) if (!this.#apply(routes, await routesSince(this.#db, routes.version))) break
    // A version whose row was published again since has no row of its own; everything up to here is known all the same.
    keyring.version = Math.max(keyring.version, newest.keyring)
    routes.version = Math.max(routes.version, newest.routes)
    this.#snapshotFrom = null
    await this.#report()
    await this.#save(changed)
  }

  /** Also without changes, so that the snapshot's age says since when the database is away. */
  async #save(changed: boolean): Promise<void> {
    const { keyring, routes } = this.#tables
    const now = clock.now()
    if (!changed && now - this.#savedAt < saveEveryMs) return
    this.#savedAt = now
    const snapshot = { keyring: keyring.entries(), routes: routes.entries(), savedAt: now }
    await saveSnapshot(this.#setup.snapshotPath, snapshot).catch((error: Error) =>
      this.#log.warn({ error: error.message }, 'the snapshot of the tables could not be saved'),
    )
  }

  #apply<E>(table: { apply(entries: readonly E[]): void }, entries: E[]): boolean {
    table.apply(entries)
    return entries.length > 0
  }

  /** At every change at once, else as a sign of life. */
  async #report(): Promise<void> {
    const { keyring, routes } = this.#tables
    const state = {
      id: this.#setup.id,
      keyringVersion: keyring.version,
      routesVersion: routes.version,
      inFlight: this.inFlight(),
      demand: this.#demand.read(this.held(), clock.now()),
    }
    const text = JSON.stringify(state)
    const now = clock.now()
    if (text === this.#reported && now - this.#reportedAt < reportEveryMs) return
    const announce = this.#announce
    this.#announce = false
    await report(this.#db, state, now)
    if (announce) await notifyNow(this.#db, demandChannel)
    this.#reported = text
    this.#reportedAt = now
  }

  async #saveUsed(everyMs: number): Promise<void> {
    if (this.#used.size === 0 || clock.now() - this.#savedUsedAt < everyMs) return
    const batch = new Map(this.#used)
    this.#used.clear()
    this.#savedUsedAt = clock.now()
    await markUsed(this.#db, batch)
  }

  async leave(): Promise<void> {
    await this.#saveUsed(0).catch(() => {})
    await unregister(this.#db, this.#setup.id, this.#reportedAt).catch(() => {})
  }
}
