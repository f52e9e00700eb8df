/**
 * Where adapters come from beside a path on this disk: each source answers for one prefix. It says exactly what is meant
 * and what that is, before anything is brought; and it brings that, and nothing else, to where replicas find it.
 */
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import type { RemoteFile } from '../../engines/contract.ts'
import type { Querier } from '../../store/database.ts'
import type { AdapterFile } from './file.ts'

/** What an adapter was pinned to when it was added: the same bytes for ever. */
export type AdapterOrigin =
  | {
      kind: 'hub'
      repo: string
      /** As it was asked for. */
      revision: string
      /** The commit that it was then. */
      sha: string
      /** Below the repository: a file for gguf, a folder for peft ('' = the repository itself). */
      entry: string
      files: RemoteFile[]
    }
  | { kind: 'upload'; id: string; sizeBytes: number; sha256: string }

export interface PinnedAdapter {
  /** Its path is where it will be. */
  file: AdapterFile
  origin: AdapterOrigin
}

/** For whom it is brought. */
export interface BringOrder {
  orgId: string
  deploymentId: string
  replicaId: string
}

export type Brought = { path: string } | { detail: string }

export interface AdapterSource {
  /** Of the names it answers for: `hf:`, `byom:`. */
  prefix: string
  kind: AdapterOrigin['kind']
  /**
   * What the name means now. `format`: what the engine loads; where there is none of it, the other. May ask the Hub: never
   * within a transaction. Throws Faults.
   */
  pin(db: Querier, orgId: string, source: string, format: AdapterFormat): Promise<PinnedAdapter>
  /** Within the transaction that writes it down: nobody may have taken it away since. Throws Faults. */
  hold?(tx: Querier, orgId: string, source: string, origin: AdapterOrigin): Promise<void>
  /** Its path, or how far it is; asked again and again. Throws why it cannot be brought, once per try. */
  bring(origin: AdapterOrigin, order: BringOrder): Promise<Brought>
  /** This replica waits for nothing any more. */
  leave?(replicaId: string): void
}

export class AdapterSources {
  readonly #sources: AdapterSource[] = []

  add(source: AdapterSource): void {
    this.#sources.push(source)
  }

  /** null = it is a path. */
  of(source: string): AdapterSource | null {
    return this.#sources.find(({ prefix }) => source.startsWith(prefix)) ?? null
  }

  /** Where it is, or how far it is on its way. Throws why it cannot be brought. */
  async bring(adapter: { path: string; origin: AdapterOrigin | null }, order: BringOrder): Promise<Brought> {
    const { origin, path } = adapter
    if (origin === null) return { path }
    const source = this.#sources.find(({ kind }) => kind === origin.kind)
    if (source === undefined) throw new Error('This server has no longer what its adapters came from.')
    return source.bring(origin, order)
  }

  leave(replicaId: string): void {
    for (const source of this.#sources) source.leave?.(replicaId)
  }
}
