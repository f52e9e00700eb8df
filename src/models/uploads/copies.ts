/**
 * Uploaded models on this machine's disk, where engines can read them: the stored file itself, else a copy that is
 * brought as files of the Hub are: once however many ask, checked by its hash, gone on with after a crash, and kept while
 * a replica that lives was made from it.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ComputeDriver } from '../../compute/contract.ts'
import type { ModelFiles, RemoteFiles } from '../../engines/contract.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { BringOrder, Brought } from '../adapters/sources.ts'
import { type CacheLimits, HubCache, snapshotPath } from '../hub/cache.ts'
import { FetchingCompute } from '../hub/compute.ts'
import { Fetches, type FetchNews } from '../hub/fetch.ts'
import { ReplicaFiles } from '../hub/replica-files.ts'
import { bucketSource, fileOf } from './bucket-source.ts'
import { checkedId, type ModelStorage } from './storage.ts'

/** An upload that is whole. */
export interface Whole {
  id: string
  /** null = nobody needs to be told. */
  name: string | null
  bytes: number
  sha256: string
}

export interface CopiesOptions {
  folder: string
  storage: ModelStorage
  clock: Clock
  log: Log
  limits: CacheLimits
  /** Of what is brought for a deployment. */
  tell(news: FetchNews): Promise<void>
}

export class Copies {
  readonly #options: CopiesOptions
  readonly #cache: HubCache
  readonly #fetches: Fetches
  readonly #forReplicas: ReplicaFiles
  readonly #computes: FetchingCompute[] = []
  /** Read here now → by how many. */
  readonly #held = new Map<string, number>()

  constructor(options: CopiesOptions) {
    const { folder, storage, clock, log, limits, tell } = options
    this.#options = options
    this.#cache = new HubCache(folder)
    this.#fetches = new Fetches({
      ...{ cache: this.#cache, clock, log, limits, filesAtOnce: 1 },
      source: bucketSource(storage),
      liveReplicas: () => this.#live(),
      // What is read here is no deployment's.
      tell: async (news) => (news.deploymentId === '' ? undefined : tell(news)),
    })
    this.#forReplicas = new ReplicaFiles({ cache: this.#cache, fetches: this.#fetches, now: () => clock.now() })
  }

  /** The provider, with copies brought before its engines start. */
  fetching(inner: ComputeDriver): ComputeDriver {
    const { storage, clock, folder } = this.#options
    if (storage.kind === 'disk') return inner
    const [cache, fetches] = [this.#cache, this.#fetches]
    const compute = new FetchingCompute({
      inner,
      cache,
      fetches,
      clock,
      folder: join(folder, 'waiting'),
      from: 'bucket',
    })
    this.#computes.push(compute)
    return compute
  }

  /** Where it is or will be, and what has to be brought there. */
  files(whole: Whole, orgId: string): Pick<ModelFiles, 'path' | 'remote'> {
    const stored = this.#options.storage.path(whole.id)
    if (stored !== null) return { path: stored }
    const remote = remoteOf(whole, orgId)
    return { path: this.#pathOf(remote), remote }
  }

  /** For a replica that asks again and again: its path when it is here, else how far it is. */
  async ask(whole: Whole, order: BringOrder): Promise<Brought> {
    const { path, remote } = this.files(whole, order.orgId)
    return remote === undefined ? { path } : this.#forReplicas.bring(remote, path, order)
  }

  leave(replicaId: string): void {
    this.#forReplicas.leave(replicaId)
  }

  /** Brings it here for as long as `work` reads it. Throws Faults when it cannot be had. */
  async reading<T>(whole: Whole, work: (path: string) => T | Promise<T>): Promise<T> {
    const { path, remote } = this.files(whole, '')
    if (remote === undefined) return work(path)
    const { id } = whole
    this.#held.set(id, (this.#held.get(id) ?? 0) + 1)
    try {
      await this.#cache.prepare()
      await this.#cache.use(remote, id, this.#options.clock.now())
      await this.#fetches.want(remote, id, '').done
      return await work(path)
    } finally {
      const left = this.#held.get(id)! - 1
      if (left > 0) this.#held.set(id, left)
      else this.#held.delete(id)
    }
  }

  /** Nobody may have it any more. */
  async remove(id: string): Promise<void> {
    if (this.#options.storage.kind !== 'disk') await this.#cache.drop(checkedId(id))
  }

  /** For a piece that is not believed yet; gone at the next start. */
  asidePath(id: string): string {
    return join(this.#options.folder, `${checkedId(id)}.aside.part`)
  }

  /** What a killed process left halfway, and copies as they were kept once. */
  async clear(): Promise<void> {
    const { folder } = this.#options
    for (const name of await readdir(folder).catch(() => []))
      if (/^mdl_[a-z0-9]+\.(?:aside\.part|part|gguf)$/.test(name)) await rm(join(folder, name), { force: true })
  }

  close(): void {
    this.#fetches.close()
  }

  #pathOf(remote: RemoteFiles): string {
    return join(snapshotPath(this.#options.folder, remote), remote.files[0]!.path)
  }

  async #live(): Promise<(id: string) => boolean> {
    const replicas = new Set<string>((await Promise.all(this.#computes.map((compute) => compute.list()))).flat())
    return (id) => replicas.has(id) || this.#held.has(id)
  }
}

/** Its id is its repository: another upload of the same bytes is another model, whose file is the same. */
function remoteOf(whole: Whole, orgId: string): RemoteFiles {
  const { id, name, sha256 } = whole
  const title = name === null ? {} : { title: `byom:${name}` }
  return { from: 'bucket', orgId, repo: checkedId(id), ...title, sha: sha256, files: [fileOf(whole)] }
}
