/**
 * The feed of a gateway: brings keyring and routes from the database into memory, and tells the register what was
 * applied, what is in flight, and what is asked. A report is made after what was read is applied, never before: it is
 * what the drain handshake and the autoscaler believe.
 */
import type { GatewayReport } from './access/gateways.ts'
import type { Keyring, KeyringEntry } from './access/keyring.ts'
import type { Route, RouteTable } from './deployments/routes.ts'
import { loadSnapshot, saveSnapshot } from './gateway/snapshot.ts'
import type { Clock } from './runtime/clock.ts'
import type { Log } from './runtime/log.ts'
import { DemandCounts } from './usage/demand.ts'
import type { SettledRequest } from './usage/request.ts'

const reportEveryMs = 1_000
const usedEveryMs = 5_000
const saveEveryMs = 30_000
/** Between two snapshots of changed routes there are so many times what a snapshot takes: large tables take long. */
const savePauses = 50

/** What the feed asks of the database. */
export interface FeedSource {
  versions(): Promise<{ keyring: number; routes: number }>
  /** What is newer than that version, oldest first. */
  keyringSince(version: number): Promise<KeyringEntry[]>
  routesSince(version: number): Promise<Route[]>
  /** Calls `look` when something was published, until the returned function is called. */
  onPublished(look: () => void): () => void
  report(state: GatewayReport, now: number): Promise<void>
  /** Somebody waits: whoever decides how many there are should look now. */
  announce(): Promise<void>
  /** Key id → when it was used last. */
  markUsed(usedAt: Map<string, number>): Promise<void>
  unregister(id: string, lastReportAt: number): Promise<void>
}

export interface FeedParts {
  id: string
  source: FeedSource
  tables: { keyring: Keyring; routes: RouteTable }
  clock: Clock
  log: Log
  snapshotPath: string
  /** Default true; of several that have the same path one is to. */
  savesSnapshot?: boolean
  pollMs: number
  maxStaleSeconds: number
}

export /** Brings keyring and routes from the database into memory and tells the register what was applied. */
class Feed {
  readonly #parts: FeedParts
  readonly #used = new Map<string, number>()
  #reported = ''
  #reportedAt = 0
  #savedUsedAt = 0
  #savedAt = 0
  #saveTookMs = 0
  /** Routes were changed since the snapshot. */
  #unsaved = false
  /** When the snapshot was saved that we live on, ms since epoch; null = the database has been reached. */
  #snapshotFrom: number | null = null
  #wake: () => void = () => {}
  readonly #demand = new DemandCounts()
  #announce = false
  #poked = false
  inFlight: () => Record<string, number> = () => ({})
  held: () => Record<string, number> = () => ({})

  constructor(parts: FeedParts) {
    this.#parts = parts
  }

  /** A snapshot that grows too old while the database stays away: a key in it may have been revoked long ago. */
  distrust(): string | null {
    if (this.#snapshotFrom === null) return null
    const age = Math.round((this.#parts.clock.now() - this.#snapshotFrom) / 1000)
    if (age <= this.#parts.maxStaleSeconds) return null
    return `the database is away and keys and routes are ${age} s old`
  }

  settled({ keyId, deploymentId, code, stream, timings }: SettledRequest): void {
    const now = this.#parts.clock.now()
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
    this.#demand.touch(deploymentId, this.#parts.clock.now())
    this.#announce = true
    this.#poke()
  }

  /** First fill: from the database, else from a snapshot that is not too old. */
  async load(): Promise<void> {
    try {
      await this.#look()
    } catch (error) {
      const { snapshotPath, clock, maxStaleSeconds, log, tables } = this.#parts
      const snapshot = loadSnapshot(snapshotPath, clock.now(), maxStaleSeconds)
      if (snapshot === null) throw error
      log.warn({ savedAt: snapshot.savedAt }, 'the database is away: serving from the snapshot')
      this.#snapshotFrom = snapshot.savedAt
      tables.keyring.apply(snapshot.keyring)
      tables.routes.apply(snapshot.routes)
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { source, clock, log, pollMs } = this.#parts
    const unlisten = source.onPublished(() => this.#poke())
    while (!signal.aborted) {
      this.#poked = false
      await this.#look().catch((error: Error) => log.warn({ error: error.message }, 'tables could not be refreshed'))
      await this.#saveUsed(usedEveryMs).catch(() => {})
      const stop = new AbortController()
      this.#wake = () => stop.abort()
      if (this.#poked) continue
      await clock.sleep(pollMs, AbortSignal.any([signal, stop.signal]))
    }
    unlisten()
  }

  async #look(): Promise<void> {
    const { keyring, routes } = this.#parts.tables
    const before = keyring.version
    if (await this.refresh()) {
      this.#unsaved = true
      this.#demand.keepOnly((deploymentId) => routes.byId(deploymentId) !== null)
    }
    await this.report()
    await this.#save(keyring.version !== before)
  }

  /** Reads what is newer and applies it; true when something was. */
  async refresh(): Promise<boolean> {
    const { source, tables } = this.#parts
    const { keyring, routes } = tables
    const newest = await source.versions()
    const changed = keyring.version < newest.keyring || routes.version < newest.routes
    while (keyring.version < newest.keyring)
      if (!this.#apply(keyring, await source.keyringSince(keyring.version))) break
    while (routes.version < newest.routes) if (!this.#apply(routes, await source.routesSince(routes.version))) break
    // A version whose row was published again since has no row of its own; everything up to here is known all the same.
    keyring.version = Math.max(keyring.version, newest.keyring)
    routes.version = Math.max(routes.version, newest.routes)
    this.#snapshotFrom = null
    return changed
  }

  /**
   * Changed keys at once: a revoked one must not come back. Also without changes, so that the snapshot's age says since
   * when the database is away.
   */
  async #save(atOnce: boolean): Promise<void> {
    const { clock, log, snapshotPath, savesSnapshot, tables } = this.#parts
    if (savesSnapshot === false) return
    const now = clock.now()
    const pause = this.#unsaved ? Math.min(saveEveryMs, savePauses * this.#saveTookMs) : saveEveryMs
    if (!atOnce && Math.abs(now - this.#savedAt) < pause) return
    this.#savedAt = now
    this.#unsaved = false
    const began = clock.monotonicMs()
    const snapshot = { keyring: tables.keyring.entries(), routes: tables.routes.entries(), savedAt: now }
    await saveSnapshot(snapshotPath, snapshot, clock).catch((error: Error) =>
      log.warn({ error: error.message }, 'the snapshot of the tables could not be saved'),
    )
    this.#saveTookMs = clock.monotonicMs() - began
  }

  #apply<E>(table: { apply(entries: readonly E[]): void }, entries: E[]): boolean {
    table.apply(entries)
    return entries.length > 0
  }

  /** Says what is so now: at every change at once, else as a sign of life. */
  async report(): Promise<void> {
    const { id, source, tables, clock } = this.#parts
    const now = clock.now()
    const state = {
      id,
      keyringVersion: tables.keyring.version,
      routesVersion: tables.routes.version,
      inFlight: this.inFlight(),
      demand: this.#demand.read(this.held(), now),
    }
    const text = JSON.stringify(state)
    if (text === this.#reported && now - this.#reportedAt < reportEveryMs) return
    // Whoever begins to wait while this is written is announced with the next report.
    const announce = this.#announce
    this.#announce = false
    try {
      await source.report(state, now)
    } catch (error) {
      this.#announce ||= announce
      throw error
    }
    this.#reported = text
    this.#reportedAt = now
    if (announce) await source.announce()
  }

  async #saveUsed(everyMs: number): Promise<void> {
    if (this.#used.size === 0 || this.#parts.clock.now() - this.#savedUsedAt < everyMs) return
    const batch = new Map(this.#used)
    this.#used.clear()
    this.#savedUsedAt = this.#parts.clock.now()
    await this.#parts.source.markUsed(batch)
  }

  async leave(): Promise<void> {
    await this.#saveUsed(0).catch(() => {})
    await this.#parts.source.unregister(this.#parts.id, this.#reportedAt).catch(() => {})
  }
}
