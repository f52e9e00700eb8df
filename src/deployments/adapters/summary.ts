/** What the gateways are told of a deployment's adapters. Pure. */
import { type Limits, type LimitsChange, setLimits } from '../../access/limits.ts'
import type { Route, RouteAdapter } from '../routes.ts'

/** On the deployment's row. */
export interface AdapterSummary {
  /** By name. `failed`: no replica could load it, and why; null = some have it, or may yet. `limits` absent = none. */
  names: Record<string, { id: string; failed: string | null; limits?: Limits }>
  /** Replica → name → handle by which its engine knows it. */
  ready: Record<string, Record<string, string>>
}

export interface SummarySource {
  adapters: { id: string; name: string; limits?: LimitsChange }[]
  states: { adapterId: string; replicaId: string; state: string; handle: string | null; detail: string | null }[]
}

/** `adapters`: those that are there to be called. */
export function summaryOf({ adapters, states }: SummarySource): AdapterSummary {
  const summary: AdapterSummary = { names: {}, ready: {} }
  for (const { id, name, limits } of adapters) {
    const of = states.filter(({ adapterId }) => adapterId === id)
    const failed = of.length > 0 && of.every(({ state }) => state === 'failed') ? (of[0]!.detail ?? '') : null
    const set = setLimits(limits ?? {})
    summary.names[name] = { id, failed, ...(set === null ? {} : { limits: set }) }
    for (const { replicaId, state, handle } of of)
      if (state === 'ready' && handle !== null) (summary.ready[replicaId] ??= {})[name] = handle
  }
  return summary
}

/** The route as it is with these adapters. */
export function withAdapters(route: Route, summary: AdapterSummary | null): Route {
  const { adapters: _before, ...plain } = route
  const replicas = route.replicas.map(({ adapters: _had, ...replica }) => {
    const ready = summary?.ready[replica.id]
    return ready === undefined ? replica : { ...replica, adapters: ready }
  })
  if (summary === null || Object.keys(summary.names).length === 0) return { ...plain, replicas }
  const names = Object.entries(summary.names).map(([name, { id: _id, ...told }]): [string, RouteAdapter] => [
    name,
    told,
  ])
  return { ...plain, replicas, adapters: Object.fromEntries(names) }
}
