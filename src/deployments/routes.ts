/**
 * The route table: what the gateway knows of every deployment, in memory. Written by the reconciler as versioned
 * documents, filled by deltas and from the snapshot on disk.
 */
import type { Limits } from '../access/limits.ts'
import type { EngineType } from '../engines/contract.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import { isUploadName } from '../models/uploads/names.ts'

export interface RouteReplica {
  id: string
  address: string
  port: number
  /** Bearer key that the engine demands. */
  key: string
  /** `draining`: it goes, or does not answer its probes: finish what is there, send nothing new. */
  state: 'ready' | 'draining'
  /** Share of traffic of this replica's revision, 0 … 100. */
  weight: number
  /** What it serves where that is not what the route says: it belongs to another revision. */
  servedName?: string
  engine?: EngineType
  /** Adapters that it has loaded: name → handle by which its engine knows it. Absent = none. */
  adapters?: Readonly<Record<string, string>>
}

export interface RouteAdapter {
  /** Why no replica could load it; null = some have it or may yet. */
  failed: string | null
  /** Of its own, besides those of its deployment. Absent = none is set. */
  limits?: Limits
}

export interface Route {
  deploymentId: string
  orgId: string
  name: string
  modelId: string
  /** Name under which the engines of the current revision serve the model. */
  servedName: string
  engine: EngineType
  phase: Phase
  reason: Reason | null
  replicas: RouteReplica[]
  /** Tokens per sequence; 0 = unknown. */
  contextTokens: number
  emulated: boolean
  /** Absent = none is set. */
  limits?: Limits
  /** By name. Absent = it has none. */
  adapters?: Readonly<Record<string, RouteAdapter>>
  /** Model that really answers when it is another than asked for (emulated fleets). */
  servedBy?: string | null
  /** Epoch seconds, for /v1/models. */
  created: number
  removed: boolean
  version: number
}

/** Its engines compute nothing. */
export function isSimulated(route: Route): boolean {
  return route.engine === 'simulated'
}

export class RouteTable {
  readonly #byId = new Map<string, Route>()
  readonly #byName = new Map<string, Route>()
  /** Of models that organisations uploaded: org/model → deployments of it by id. */
  readonly #byUpload = new Map<string, Map<string, Route>>()
  readonly #waiting = new Map<string, Set<() => void>>()
  version = 0

  /** Applies a delta in any order and wakes whoever waits for one of the changed deployments. */
  apply(routes: readonly Route[]): void {
    for (const route of routes) {
      const old = this.#byId.get(route.deploymentId)
      if (old && old.version > route.version) continue
      if (old && this.#byName.get(nameKey(old))?.deploymentId === old.deploymentId) this.#byName.delete(nameKey(old))
      if (old && isUploadName(old.modelId)) this.#byUpload.get(uploadKey(old))?.delete(old.deploymentId)
      this.#byId.set(route.deploymentId, route)
      if (!route.removed && isUploadName(route.modelId)) this.#noteUpload(route)
      if (!route.removed) this.#byName.set(nameKey(route), route)
      this.version = Math.max(this.version, route.version)
      for (const wake of this.#waiting.get(route.deploymentId) ?? []) wake()
    }
  }

  entries(): Route[] {
    return [...this.#byId.values()]
  }

  /** A live deployment by id, whichever org owns it. */
  byId(deploymentId: string): Route | null {
    const route = this.#byId.get(deploymentId)
    return route && !route.removed ? route : null
  }

  /** A live deployment by its name in one org. */
  byName(orgId: string, name: string): Route | null {
    return this.#byName.get(`${orgId}/${name}`) ?? null
  }

  /** Live deployments of a model that the org uploaded, `byom:<name>`. */
  byUpload(orgId: string, modelId: string): Route[] {
    return [...(this.#byUpload.get(`${orgId}/${modelId}`)?.values() ?? [])]
  }

  #noteUpload(route: Route): void {
    const key = uploadKey(route)
    const known = this.#byUpload.get(key) ?? new Map<string, Route>()
    this.#byUpload.set(key, known.set(route.deploymentId, route))
  }

  /** Calls `wake` at every change of this deployment until the returned function is called. */
  watch(deploymentId: string, wake: () => void): () => void {
    let set = this.#waiting.get(deploymentId)
    if (!set) this.#waiting.set(deploymentId, (set = new Set()))
    set.add(wake)
    return () => {
      set.delete(wake)
      if (set.size === 0) this.#waiting.delete(deploymentId)
    }
  }
}

function uploadKey({ orgId, modelId }: Route): string {
  return `${orgId}/${modelId}`
}

function nameKey(route: Route): string {
  return `${route.orgId}/${route.name}`
}
