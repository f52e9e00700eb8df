/**
 * Requests that name LoRA adapters: `<deployment>:<adapter>`, or a mixture `<deployment>:<a>@0.7+<b>@0.3`. They go to
 * replicas alone that have loaded all that is named. A request without one never comes here.
 */
import type { Route, RouteReplica } from '../deployments/routes.ts'
import type { AdapterShare, EngineAdapters } from '../engines/contract.adapters.ts'
import { Fault } from '../kernel/fault.ts'

export interface AdapterAsk {
  /** As one text, for whoever compares: of the same shares in the same order the same. */
  key: string
  /** Without scales, for the ledger. */
  names: string
  shares: readonly { name: string; scale: number }[]
  /** One of them has limits of its own. */
  limited: boolean
}

const sharesMaximum = 8
const scaleMaximum = 4
/** Routes that leave replicas out are kept for so many adapters of one route. */
const keptMaximum = 64

/** What stands before and behind the colon that begins the adapters; null = there is none. */
export function splitModel(model: string): { base: string; adapters: string } | null {
  const at = model.lastIndexOf(':')
  return at < 1 ? null : { base: model.slice(0, at), adapters: model.slice(at + 1) }
}

/** Whether all adapters that are named are this deployment's. */
export function hasAdapters(route: Route, adapters: string): boolean {
  const own = route.adapters
  return own !== undefined && adapters.split('+').every((share) => Object.hasOwn(own, share.split('@', 1)[0]!))
}

/**
 * What the request asks for; null = the model as it is. `model` was resolved to this route. Throws Faults
 * `invalid_request` and `engine_unsupported`.
 */
export function adaptersAsked(
  route: Route,
  model: string | null,
  engine: { adapters?: EngineAdapters | undefined },
): AdapterAsk | null {
  if (model === null || model === route.name || model === route.deploymentId || model === route.modelId) return null
  const split = splitModel(model)
  if (split === null || !hasAdapters(route, split.adapters)) return null
  const parts = split.adapters.split('+')
  if (parts.length > sharesMaximum) throw wrong(`at most ${sharesMaximum} adapters can be mixed`)
  const shares = parts.map(readShare)
  const names = shares.map(({ name }) => name)
  if (new Set(names).size < names.length) throw wrong('an adapter is named twice')
  const isPlain = shares.length === 1 && shares[0]!.scale === 1
  if (!isPlain && engine.adapters?.mixes !== true)
    throw new Fault(
      'engine_unsupported',
      `The engine ${route.engine} uses one adapter per request, as it was trained; it cannot mix or scale them.`,
      { action: `Ask for one: "${route.name}:${names[0]}".`, detail: { param: 'model' } },
    )
  const key = shares.map(({ name, scale }) => `${name}@${scale}`).join('+')
  const limited = names.some((name) => route.adapters![name]!.limits !== undefined)
  return { key, names: names.sort().join('+'), shares, limited }
}

function readShare(text: string): { name: string; scale: number } {
  const at = text.indexOf('@')
  if (at === -1) return { name: text, scale: 1 }
  const scale = /^\d{1,2}(\.\d{1,4})?$/.test(text.slice(at + 1)) ? Number(text.slice(at + 1)) : 0
  if (!(scale > 0 && scale <= scaleMaximum))
    throw wrong(`the scale of an adapter is a number above 0 and up to ${scaleMaximum}, as in "name@0.7"`)
  return { name: text.slice(0, at), scale }
}

function wrong(what: string): Fault {
  return new Fault('invalid_request', `model: ${what}.`, { detail: { param: 'model' } })
}

/** The route with those replicas only that have loaded what is asked. Faults: it was removed, or nobody can load it. */
export function routeWith(route: Route, asked: AdapterAsk): Route | Fault {
  for (const { name } of asked.shares) {
    const known = route.adapters?.[name]
    if (known === undefined)
      return new Fault('model_not_found', `${route.name} has no adapter ${JSON.stringify(name)} any more.`)
    if (known.failed !== null)
      return new Fault('adapter_failed', `The adapter ${name} of ${route.name} could not be loaded: ${known.failed}`)
  }
  const has = (replica: RouteReplica) => hasAll(replica, asked)
  if (route.replicas.every(has)) return route
  let kept = narrowed.get(route)
  if (kept === undefined || kept.size >= keptMaximum) narrowed.set(route, (kept = new Map()))
  let narrow = kept.get(asked.key)
  if (narrow === undefined) kept.set(asked.key, (narrow = { ...route, replicas: route.replicas.filter(has) }))
  return narrow
}

const narrowed = new WeakMap<Route, Map<string, Route>>()

function hasAll({ adapters }: RouteReplica, { shares }: AdapterAsk): boolean {
  if (adapters === undefined) return false
  for (const { name } of shares) if (!Object.hasOwn(adapters, name)) return false
  return true
}

/** Members of the body by which this replica's engine is asked for them, and the model's name. */
export function adapterMembers(
  route: Route,
  replicaId: string,
  asked: AdapterAsk,
  adapters: EngineAdapters,
): { model: string; members: Record<string, unknown> } {
  const handles = route.replicas.find(({ id }) => id === replicaId)?.adapters ?? {}
  const shares: AdapterShare[] = asked.shares.map(({ name, scale }) => ({ handle: handles[name]!, scale }))
  return adapters.ask(shares, route.servedName)
}
