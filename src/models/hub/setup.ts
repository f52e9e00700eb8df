/** Everything of the Hub that one server has, put together from its settings. */
import type { ComputeDriver } from '../../compute/contract.ts'
import type { ModelFiles } from '../../engines/contract.ts'
import { record } from '../../events/store.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Seal } from '../../runtime/seal.ts'
import type { Database } from '../../store/database.ts'
import type { AdapterSource } from '../adapters/sources.ts'
import type { KnownBase } from '../supported/judge.ts'
import { pinHubAdapter } from './adapter.ts'
import { HubAdapters } from './adapter-files.ts'
import { type CacheLimits, HubCache } from './cache.ts'
import { HubClient } from './client.ts'
import { FetchingCompute } from './compute.ts'
import { Fetches, type FetchNews } from './fetch.ts'
import { hubSource } from './file-source.ts'
import { HubHttp } from './http.ts'
import { bounded, type HubSource, pinHubModel } from './pin.ts'
import { HubTokens } from './tokens.ts'

export interface HubOptions {
  db: Database
  seal: Seal
  clock: Clock
  log: Log
  /** Address of the Hub; '' = there is none. */
  endpoint: string
  /** Where its files are kept. */
  folder: string
  /** Longest that a create waits for what the Hub says. */
  timeoutMs: number
  limits: CacheLimits
  filesAtOnce: number
  /** What fine-tunes rest on. */
  bases(): readonly KnownBase[]
}

export interface Hub {
  tokens: HubTokens
  /** null = there is no Hub. */
  pin: ((orgId: string, modelId: string, formats: readonly ModelFiles['format'][]) => Promise<HubSource>) | null
  /** LoRA adapters; null = there is no Hub. */
  adapters: AdapterSource | null
  /** The provider, with files brought before its engines start. */
  fetching(inner: ComputeDriver): ComputeDriver
  close(): Promise<void>
}

export function makeHub(options: HubOptions): Hub {
  const { db, seal, clock, endpoint, timeoutMs } = options
  if (endpoint === '') {
    const tokens = new HubTokens({ db, seal, clock, whoAmI: null })
    return { tokens, pin: null, adapters: null, fetching: (inner) => inner, close: async () => {} }
  }
  const http = new HubHttp({ endpoint })
  const client = new HubClient(http)
  const waits = { clock, timeoutMs, client }
  const whoAmI: NonNullable<ConstructorParameters<typeof HubTokens>[0]['whoAmI']> = (token) =>
    bounded(waits, (signal) => client.whoAmI(token, signal))
  const tokens = new HubTokens({ db, seal, clock, whoAmI })
  const made: FetchingCompute[] = []
  const liveReplicas = async () => {
    const ids = new Set<string>((await Promise.all(made.map((compute) => compute.list()))).flat())
    return (id: string) => ids.has(id)
  }
  const ofAdapters = makeFetches(options, client, tokens, liveReplicas)
  return {
    tokens,
    adapters: new HubAdapters({
      ...ofAdapters,
      folder: options.folder,
      now: () => clock.now(),
      pin: async (orgId, source, format) => {
        const asking = { ...waits, cacheBytesMaximum: options.limits.bytesMaximum, folder: options.folder }
        return pinHubAdapter(source, await tokens.of(orgId), format, asking)
      },
    }),
    pin: async (orgId, modelId, formats) => {
      const asking = { ...waits, cacheBytesMaximum: options.limits.bytesMaximum, bases: options.bases() }
      return pinHubModel(modelId, await tokens.of(orgId), formats, asking)
    },
    fetching: (inner) => {
      const compute = fetchingCompute(options, client, tokens, inner)
      made.push(compute)
      return compute
    },
    close: async () => {
      for (const compute of made) compute.close()
      ofAdapters.fetches.close()
      await http.close()
    },
  }
}

function fetchingCompute(
  options: HubOptions,
  client: HubClient,
  tokens: HubTokens,
  inner: ComputeDriver,
): FetchingCompute {
  const { clock, folder } = options
  const liveReplicas = async () => {
    const ids = new Set<string>(await compute.list())
    return (id: string) => ids.has(id)
  }
  const { fetches, cache } = makeFetches(options, client, tokens, liveReplicas)
  const compute: FetchingCompute = new FetchingCompute({ inner, fetches, cache, clock, folder: `${folder}/waiting` })
  return compute
}

function makeFetches(
  { db, clock, log, folder, limits, filesAtOnce }: HubOptions,
  client: HubClient,
  tokens: HubTokens,
  liveReplicas: () => Promise<(replicaId: string) => boolean>,
): { fetches: Fetches; cache: HubCache } {
  const cache = new HubCache(folder)
  const fetches = new Fetches({
    cache,
    source: hubSource(client, (orgId) => tokens.of(orgId)),
    clock,
    log,
    limits,
    filesAtOnce,
    liveReplicas,
    tell: (news) => tell(db, news, new Date(clock.now())),
  })
  return { fetches, cache }
}

/** As events of the deployments that wait. */
export function tell(db: Database, news: FetchNews, at: Date): Promise<void> {
  const { what, orgId, deploymentId, repo, sha, bytes, totalBytes, why, tookMs } = news
  const event = { orgId, deploymentId, at }
  const of = { repo, sha, bytes, total_bytes: totalBytes }
  return db.tx(async (tx) => {
    if (what === 'started') await record(tx, { ...event, type: 'model.download_started', data: of })
    if (what === 'progress') await record(tx, { ...event, type: 'model.download_progress', data: of })
    if (what === 'done') await record(tx, { ...event, type: 'model.downloaded', data: { ...of, took_ms: tookMs } })
    if (what === 'failed') await record(tx, { ...event, type: 'model.download_failed', data: { ...of, why } })
  })
}
