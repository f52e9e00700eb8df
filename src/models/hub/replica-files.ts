/** Files for replicas that ask again and again whether they are here: each job once for all who wait for it. */
import type { RemoteFiles } from '../../engines/contract.ts'
import type { BringOrder, Brought } from '../adapters/sources.ts'
import type { HubCache } from './cache.ts'
import type { Fetches } from './fetch.ts'

export class ReplicaFiles {
  readonly #parts: { cache: HubCache; fetches: Fetches; now(): number }
  /** Replica and path → what went wrong, until somebody is told. */
  readonly #failed = new Map<string, Error>()
  /** Replica and path: whose job is under way. */
  readonly #waiting = new Set<string>()

  constructor(parts: { cache: HubCache; fetches: Fetches; now(): number }) {
    this.#parts = parts
  }

  /** `path`: where it will be. Throws why it could not be brought, once per try. */
  async bring(content: RemoteFiles, path: string, { deploymentId, replicaId }: BringOrder): Promise<Brought> {
    const { cache, fetches, now } = this.#parts
    const key = `${replicaId} ${path}`
    const failed = this.#failed.get(key)
    if (failed !== undefined) {
      this.#failed.delete(key)
      throw failed
    }
    await cache.prepare()
    await cache.use(content, replicaId, now())
    if (cache.isComplete(content)) return { path }
    const job = fetches.want(content, replicaId, deploymentId)
    if (!this.#waiting.has(key)) {
      this.#waiting.add(key)
      void job.done
        .catch((error: Error) => {
          // Who left did so because nobody wants it.
          if (this.#waiting.has(key)) this.#failed.set(key, error)
        })
        .finally(() => this.#waiting.delete(key))
    }
    return { detail: job.detail() }
  }

  leave(replicaId: string): void {
    for (const known of [this.#waiting, this.#failed])
      for (const key of [...known.keys()]) if (key.startsWith(`${replicaId} `)) known.delete(key)
    this.#parts.fetches.leave(replicaId)
  }
}
