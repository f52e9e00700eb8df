/** Adapters of the Hub: pinned by name, and brought beside the models, each once for all replicas that wait for it. */
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import type { Querier } from '../../store/database.ts'
import type { AdapterOrigin, AdapterSource, BringOrder, Brought, PinnedAdapter } from '../adapters/sources.ts'
import { pathOf } from './adapter.ts'
import type { HubCache } from './cache.ts'
import type { Fetches } from './fetch.ts'

interface HubAdapterParts {
  folder: string
  cache: HubCache
  fetches: Fetches
  now(): number
  pin(orgId: string, source: string, format: AdapterFormat): Promise<PinnedAdapter>
}

export class HubAdapters implements AdapterSource {
  readonly prefix = 'hf:'
  readonly kind = 'hub'
  readonly #parts: HubAdapterParts
  /** Replica and commit → what went wrong, until somebody is told. */
  readonly #failed = new Map<string, Error>()
  /** Replica and commit: whose job is under way. */
  readonly #waiting = new Set<string>()

  constructor(parts: HubAdapterParts) {
    this.#parts = parts
  }

  pin(_db: Querier, orgId: string, source: string, format: AdapterFormat): Promise<PinnedAdapter> {
    return this.#parts.pin(orgId, source, format)
  }

  async bring(origin: AdapterOrigin, { orgId, deploymentId, replicaId }: BringOrder): Promise<Brought> {
    if (origin.kind !== 'hub') throw new Error(`${origin.kind} is not the Hub`)
    const { cache, fetches, folder, now } = this.#parts
    const path = pathOf(origin, folder)
    const key = `${replicaId} ${path}`
    const failed = this.#failed.get(key)
    if (failed !== undefined) {
      this.#failed.delete(key)
      throw failed
    }
    await cache.prepare()
    await cache.use(origin, replicaId, now())
    if (cache.isComplete(origin)) return { path }
    const { repo, sha, files } = origin
    const job = fetches.want({ orgId, repo, sha, files }, replicaId, deploymentId)
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
