/** What the gateway is told of a deployment. Pure. */
import { type LimitsChange, setLimits } from '../access/limits.ts'
import type { Offer } from '../compute/contract.ts'
import { servedNameOf } from '../engines/contract.ts'
import { canonical } from '../kernel/canonical.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import { type AdapterSummary, withAdapters } from './adapters/summary.ts'
import { onlyEmulated, type Wanted } from './place.ts'
import type { ReplicaPhase } from './replica.ts'
import type { Route, RouteReplica } from './routes.ts'

export interface RouteSource {
  deployment: {
    id: string
    orgId: string
    name: string
    modelId: string
    emulated: boolean
    /** The model that really answers, when it is another one. */
    servedBy: string | null
    createdAt: Date
    desired: string
    /** Absent = none is set. */
    limits?: LimitsChange
    adapters?: AdapterSummary | null
  }
  engine: Route['engine']
  contextTokens: number
  phase: Phase
  reason: Reason | null
  replicas: {
    id: string
    phase: ReplicaPhase
    /** It does not answer its probes: what is there may finish, nothing new is sent. */
    silent: boolean
    address: string | null
    port: number | null
    key: string
    /** Share of traffic of its revision. */
    weight: number
    /** Of its revision. */
    modelId: string
    engine: Route['engine']
  }[]
}

/**
 * Is what answers something else than what was named: slots of this machine, or another model? As long as a replica
 * serves, what serves says it, so that it changes when a roll has taken over; before that, what is to be started.
 */
export function emulatedNow(now: {
  serving: { emulated: boolean; modelId: string }[]
  target: { modelId: string; hardware: readonly Wanted[] }
  offers: readonly Offer[]
  standIn(modelId: string): string | null
  before: boolean
}): boolean {
  const { serving, target, offers, standIn } = now
  if (serving.length > 0) return serving.some(({ emulated, modelId }) => emulated || standIn(modelId) !== null)
  if (standIn(target.modelId) !== null) return true
  const isKnown = offers.some((offer) => target.hardware.some(({ gpuType }) => gpuType === offer.gpuType))
  return isKnown ? onlyEmulated(target.hardware, offers) : now.before
}

/** The route as it should be; `version` is the caller's to set. Replicas in a fixed order, so that equal means equal. */
export function makeRoute(source: RouteSource): Route {
  const { deployment } = source
  const limits = setLimits(deployment.limits ?? {})
  const replicas = source.replicas.flatMap((r): RouteReplica[] => {
    if ((r.phase !== 'ready' && r.phase !== 'draining') || r.address === null || r.port === null) return []
    const state = r.silent ? 'draining' : r.phase
    const servedName = r.modelId === deployment.modelId ? {} : { servedName: servedNameOf(r.modelId) }
    const engine = r.engine === source.engine ? {} : { engine: r.engine }
    const { id, address, port, key, weight } = r
    return [{ id, address, port, key, state, weight, ...servedName, ...engine }]
  })
  const route: Route = {
    deploymentId: deployment.id,
    orgId: deployment.orgId,
    name: deployment.name,
    modelId: deployment.modelId,
    servedName: servedNameOf(deployment.modelId),
    engine: source.engine,
    phase: source.phase,
    reason: source.reason,
    replicas: replicas.sort((a, b) => (a.id < b.id ? -1 : 1)),
    contextTokens: source.contextTokens,
    emulated: deployment.emulated,
    ...(limits === null ? {} : { limits }),
    servedBy: deployment.servedBy,
    created: Math.floor(deployment.createdAt.getTime() / 1000),
    removed: deployment.desired === 'deleted',
    version: 0,
  }
  return withAdapters(route, deployment.adapters ?? null)
}

/** True when a gateway would behave the same under both. */
export function sameRoute(a: Route | null, b: Route): boolean {
  if (a === null) return false
  return canonical({ ...a, version: 0 }) === canonical({ ...b, version: 0 })
}
