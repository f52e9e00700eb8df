/**
 * Brings whole models here. Those who want the same one share one job; who joins later sees the same progress. A job that
 * nobody wants any more stops, and what it brought stays for the next.
 */
import type { RemoteFile, RemoteFiles } from '../../engines/contract.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { type CacheLimits, type HubCache, snapshotKey } from './cache.ts'
import { bringFile } from './download.ts'
import { bytesText, sumBytes } from './file.ts'
import type { FileSource, SourceOf } from './file-source.ts'

export interface FetchOptions {
  cache: HubCache
  source: SourceOf
  clock: Clock
  log: Log
  limits: CacheLimits
  /** Files of one model that are brought at once. */
  filesAtOnce: number
  /** Which replicas live, as the provider here says. */
  liveReplicas(): Promise<(replicaId: string) => boolean>
  tell(told: FetchNews): Promise<void>
}

/** For events: what happened to one model that one deployment waits for. */
export interface FetchNews {
  what: 'started' | 'progress' | 'done' | 'failed'
  orgId: string
  deploymentId: string
  repo: string
  sha: string
  bytes: number
  totalBytes: number
  /** Of a failure: a sentence. */
  why: string
  tookMs: number
}

export interface FetchJob {
  /** Rejects with a Fault, or what the disk threw. */
  done: Promise<void>
  /** What to say of it, changing as it comes on. */
  detail(): string
}

interface Running extends FetchJob {
  content: RemoteFiles
  /** Replica id → its deployment and organisation. */
  waiting: Map<string, { deploymentId: string; orgId: string }>
  stop: AbortController
  bytes: Map<string, number>
  doneBytes(): number
}

/** Progress is told in tenths, and no more often than this. */
const newsEveryMs = 5_000

export class Fetches {
  readonly #options: FetchOptions
  readonly #running = new Map<string, Running>()
  #prepared: Promise<void> | null = null

  constructor(options: FetchOptions) {
    this.#options = options
  }

  /** Wants the model for this replica; the same job for all who want it. */
  want(content: RemoteFiles, replicaId: string, deploymentId: string): FetchJob {
    const key = snapshotKey(content)
    const known = this.#running.get(key)
    // One that was given up may not have ended yet; nobody can join it.
    const job = known === undefined || known.stop.signal.aborted ? this.#start(key, content) : known
    job.waiting.set(replicaId, { deploymentId, orgId: content.orgId })
    return job
  }

  /** This replica wants nothing any more. */
  leave(replicaId: string): void {
    for (const job of this.#running.values())
      if (job.waiting.delete(replicaId) && job.waiting.size === 0) job.stop.abort(new Error('nobody wants it any more'))
  }

  /** Clears up what is left over and nobody brings. */
  async tidy(): Promise<void> {
    await this.#prepare()
    await this.#options.cache.tidy(this.#wanted(), this.#options.clock.now())
  }

  close(): void {
    for (const job of this.#running.values()) job.stop.abort(new Error('the server stops'))
  }

  #prepare(): Promise<void> {
    this.#prepared ??= this.#options.cache.prepare().catch((error) => {
      this.#prepared = null
      throw error
    })
    return this.#prepared
  }

  #wanted(): Set<string> {
    return new Set([...this.#running.values()].flatMap(({ content }) => content.files.map(({ digest }) => digest)))
  }

  #start(key: string, content: RemoteFiles): Running {
    const total = sumBytes(content.files)
    const bytes = new Map<string, number>()
    const doneBytes = () => content.files.reduce((sum, { path }) => sum + (bytes.get(path) ?? 0), 0)
    const job: Running = {
      content,
      waiting: new Map(),
      stop: new AbortController(),
      bytes,
      doneBytes,
      detail: () =>
        `${bytesText(doneBytes())} of ${bytesText(total)} of ${content.title ?? content.repo} are here (${doneBytes()} bytes).`,
      done: Promise.resolve(),
    }
    this.#running.set(key, job)
    job.done = this.#run(job, total).finally(() => {
      if (this.#running.get(key) === job) this.#running.delete(key)
    })
    job.done.catch(() => {})
    return job
  }

  async #run(job: Running, total: number): Promise<void> {
    const { cache, clock } = this.#options
    await this.#prepare()
    if (cache.isComplete(job.content)) return
    const began = clock.monotonicMs()
    const stop = new AbortController()
    try {
      const source = await this.#options.source(job.content)
      await this.#look(job)
      await this.#makeRoom(job, source, total)
      await this.#tell(job, 'started', total, began)
      void this.#tellProgress(job, total, began, stop.signal)
      await this.#bringAll(job, source)
      stop.abort()
      await this.#tell(job, 'done', total, began)
    } catch (error) {
      stop.abort()
      if (!job.stop.signal.aborted) await this.#tell(job, 'failed', total, began, (error as Error).message)
      throw error
    }
  }

  /** What is here already, from whomever. */
  async #look({ content, bytes }: Running): Promise<void> {
    for (const { path, digest } of content.files) bytes.set(path, (await this.#options.cache.here(digest)).bytes)
  }

  async #makeRoom(job: Running, source: FileSource, total: number): Promise<void> {
    const { cache, limits, clock, log, liveReplicas } = this.#options
    // What the others that are under way will still take.
    const others = [...this.#running.values()].filter((other) => other !== job && other.bytes.size > 0)
    const promised = others.reduce((sum, other) => sum + sumBytes(other.content.files) - other.doneBytes(), 0)
    const needed = Math.max(0, total - job.doneBytes()) + Math.max(0, promised)
    const isLive = await liveReplicas()
    const { removed, short } = await cache.makeRoom(needed, limits, isLive, this.#wanted(), clock.now())
    if (removed.length > 0) log.info({ removed }, 'models that nobody uses were cleared away')
    if (short !== null)
      throw source.noRoom(
        `There is no room for ${job.content.title ?? job.content.repo}: ${short}; the rest is in use.`,
      )
  }

  async #bringAll(job: Running, source: FileSource): Promise<void> {
    const { content, stop, bytes } = job
    const { cache, clock, filesAtOnce } = this.#options
    const queue = [...content.files].sort((a, b) => a.sizeBytes - b.sizeBytes)
    const one = (file: RemoteFile) => {
      const progress = (count: number) => bytes.set(file.path, count)
      return bringFile({ cache, source, clock, file, signal: stop.signal, progress })
    }
    const work = async () => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift())
        do await one(file)
        while (!(await cache.place(content, file)))
    }
    // All end before this does: nothing is written behind the back of whoever goes on.
    const ends = await Promise.allSettled(
      Array.from({ length: Math.min(filesAtOnce, queue.length) }, () =>
        work().catch((error) => {
          queue.length = 0
          throw error
        }),
      ),
    )
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed) throw failed.reason
  }

  async #tellProgress(job: Running, total: number, began: number, signal: AbortSignal): Promise<void> {
    let told = Math.floor((10 * job.doneBytes()) / total)
    for (;;) {
      await this.#options.clock.sleep(newsEveryMs, signal)
      if (signal.aborted) return
      const tenths = Math.floor((10 * job.doneBytes()) / total)
      if (tenths > told) await this.#tell(job, 'progress', total, began)
      told = Math.max(told, tenths)
    }
  }

  /** Once per deployment that waits. A database that is away keeps no file from coming. */
  async #tell(job: Running, what: FetchNews['what'], total: number, began: number, why = ''): Promise<void> {
    const { tell, clock, log } = this.#options
    const { repo: known, title: repo = known, sha } = job.content
    const tookMs = Math.round(clock.monotonicMs() - began)
    const deployments = new Map([...job.waiting.values()].map((one) => [one.deploymentId, one]))
    for (const { deploymentId, orgId } of deployments.values()) {
      const news = { what, orgId, deploymentId, repo, sha, bytes: job.doneBytes(), totalBytes: total, why, tookMs }
      await tell(news).catch((error: Error) => log.warn({ error: error.message }, 'a download could not be told of'))
    }
  }
}
