/**
 * A provider whose replicas get their files first: a create is accepted at once, the files come, and then the engine is
 * started. While they come the replica is pending, and what is said of it changes as they do, so that its start counts as
 * coming on. What is wanted is written down: when this process dies, `observe` asks that the create be made again, and what
 * was brought is there.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  type ComputeDriver,
  ComputeError,
  type Exit,
  type Observation,
  type ReplicaOrder,
} from '../../compute/contract.ts'
import type { RemoteFiles } from '../../engines/contract.ts'
import { isId, type ReplicaId } from '../../kernel/ids.ts'
import type { Clock } from '../../runtime/clock.ts'
import { createFileOnce } from '../../runtime/files.ts'
import type { HubCache } from './cache.ts'
import type { Fetches, FetchJob } from './fetch.ts'

export interface FetchingOptions {
  inner: ComputeDriver
  fetches: Fetches
  cache: HubCache
  clock: Clock
  /** Where it is written down which replicas wait for files. */
  folder: string
  /** Whose files it brings; what others have is their business. */
  from?: RemoteFiles['from']
}

interface Waiting {
  job: FetchJob
  since: number
  /** It did not work out. */
  exit: Exit | null
}

const askedAgain = 'Its files are asked for again.'
/** Tries to start the engine once the files are here, when the provider cannot be asked. */
const createTries = 5
const createPauseMs = 1_000

export class FetchingCompute implements ComputeDriver {
  readonly name: string
  readonly #options: FetchingOptions
  /** Written down, by this process or the one before it. */
  readonly #wanted: Set<string>
  readonly #waiting = new Map<string, Waiting>()

  constructor(options: FetchingOptions) {
    this.#options = options
    this.name = options.inner.name
    mkdirSync(options.folder, { recursive: true, mode: 0o700 })
    this.#wanted = new Set(readdirSync(options.folder).filter((name) => isId('rep', name)))
  }

  offers() {
    return this.#options.inner.offers()
  }

  async create(order: ReplicaOrder): Promise<void> {
    const { inner, clock, cache } = this.#options
    const { remote } = order.model
    if (remote === undefined || remote.from !== this.#options.from) return inner.create(order)
    if (this.#waiting.get(order.id)?.exit === null) return
    createFileOnce(this.#note(order.id), '')
    this.#wanted.add(order.id)
    await cache.prepare()
    await cache.use(remote, order.id, clock.now())
    const job = this.#options.fetches.want(remote, order.id, order.deploymentId)
    const waiting: Waiting = { job, since: clock.now(), exit: null }
    this.#waiting.set(order.id, waiting)
    void this.#finish(order, waiting)
  }

  async observe(id: ReplicaId): Promise<Observation> {
    const waiting = this.#waiting.get(id)
    if (waiting !== undefined) {
      if (waiting.exit !== null) return { state: 'exited', exit: waiting.exit }
      const began = { files: waiting.since }
      return { state: 'pending', phase: 'files', detail: waiting.job.detail(), began }
    }
    const seen = await this.#options.inner.observe(id)
    const isUnfinished = this.#wanted.has(id) && (seen.state === 'not_found' || seen.state === 'pending')
    return isUnfinished ? { state: 'pending', phase: 'files', detail: askedAgain, again: true } : seen
  }

  async list(): Promise<ReplicaId[]> {
    return [...new Set([...(await this.#options.inner.list()), ...(this.#wanted as Set<ReplicaId>)])]
  }

  async delete(id: ReplicaId, options?: { graceSeconds?: number }): Promise<void> {
    this.#options.fetches.leave(id)
    this.#forget(id)
    await this.#options.inner.delete(id, options)
  }

  async placeFile(id: ReplicaId, name: string, path: string): Promise<string> {
    return (await this.#options.inner.placeFile?.(id, name, path)) ?? path
  }

  async logs(id: ReplicaId, lines: number): Promise<string[]> {
    const waiting = this.#waiting.get(id)
    return waiting === undefined ? this.#options.inner.logs(id, lines) : [waiting.job.detail()]
  }

  renew(ids: ReplicaId[]): Promise<void> {
    return this.#options.inner.renew(ids)
  }

  async sweep(): Promise<unknown> {
    await this.#options.fetches.tidy()
    return this.#options.inner.sweep?.()
  }

  /** Stops what is under way; it stays written down. */
  close(): void {
    this.#options.fetches.close()
  }

  async #finish(order: ReplicaOrder, waiting: Waiting): Promise<void> {
    const isWanted = () => this.#waiting.get(order.id) === waiting
    try {
      await waiting.job.done
      if (isWanted()) await this.#createInner(order, isWanted)
      if (isWanted()) this.#forget(order.id)
    } catch (error) {
      if (!isWanted()) return
      const why = (error as Error).message
      waiting.exit = { at: this.#options.clock.now(), code: null, signal: null, lastLines: [], why }
    }
  }

  async #createInner(order: ReplicaOrder, isWanted: () => boolean): Promise<void> {
    const { inner, clock } = this.#options
    for (let tries = 1; isWanted(); tries++) {
      try {
        await inner.create(order)
        // It was deleted while it was being made.
        if (!isWanted()) await inner.delete(order.id, { graceSeconds: 0 })
        return
      } catch (error) {
        const passes =
          error instanceof ComputeError && (error.meaning === 'unavailable' || error.meaning === 'not_ready')
        if (!passes || tries === createTries) throw error
        await clock.sleep(createPauseMs)
      }
    }
  }

  #note(id: string): string {
    return join(this.#options.folder, id)
  }

  #forget(id: string): void {
    this.#waiting.delete(id)
    if (!this.#wanted.delete(id)) return
    rmSync(this.#note(id), { force: true })
  }
}
