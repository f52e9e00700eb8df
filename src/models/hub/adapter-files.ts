/** Adapters of the Hub: pinned by name, and brought beside the models, each once for all replicas that wait for it. */
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import type { Querier } from '../../store/database.ts'
import type { AdapterOrigin, AdapterSource, BringOrder, Brought, PinnedAdapter } from '../adapters/sources.ts'
import { pathOf } from './adapter.ts'
import type { HubCache } from './cache.ts'
import type { Fetches } from './fetch.ts'
import { ReplicaFiles } from './replica-files.ts'

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
  readonly #files: ReplicaFiles

  constructor(parts: HubAdapterParts) {
    this.#parts = parts
    this.#files = new ReplicaFiles(parts)
  }

  pin(_db: Querier, orgId: string, source: string, format: AdapterFormat): Promise<PinnedAdapter> {
    return this.#parts.pin(orgId, source, format)
  }

  async bring(origin: AdapterOrigin, order: BringOrder): Promise<Brought> {
    if (origin.kind !== 'hub') throw new Error(`${origin.kind} is not the Hub`)
    const { repo, sha, files } = origin
    return this.#files.bring({ orgId: order.orgId, repo, sha, files }, pathOf(origin, this.#parts.folder), order)
  }

  leave(replicaId: string): void {
    this.#files.leave(replicaId)
  }
}
