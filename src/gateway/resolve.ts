/** Stages 2 and 3: who asks, and which deployment is meant. What belongs to another organisation does not exist. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { bearer, hashKey, type Keyring } from '../access/keyring.ts'
import { can, type Principal } from '../access/permissions.ts'
import type { Route, RouteTable } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import type { Phase } from '../kernel/phase.ts'
import { hasAdapters, splitModel } from './adapters.ts'
import type { ClientRequest } from './door/client.ts'

/** The last key of each connection: clients send the same one again and again, and hashing is not free. */
const hashed = new WeakMap<Socket, { authorization: string | undefined; hash: string }>()

/** Throws Fault `missing_key` or `invalid_key`. */
export function authenticate(
  keyring: Keyring,
  request: Pick<ClientRequest, 'headers' | 'socket'>,
  now: number,
): Principal {
  const { headers, socket } = request
  const { 'x-paddock-org': actAs } = headers
  const authorization = headers.authorization ?? anthropicKey(headers)
  let last = hashed.get(socket)
  if (last === undefined || last.authorization !== authorization) {
    last = { authorization, hash: hashKey(bearer(authorization)) }
    hashed.set(socket, last)
  }
  return keyring.principalOf(last.hash, now, typeof actAs === 'string' ? actAs : undefined)
}

/** Anthropic's clients send their key in a header of its own. */
function anthropicKey(headers: IncomingHttpHeaders): string | undefined {
  const key = headers['anthropic-version'] === undefined ? undefined : headers['x-api-key']
  return typeof key === 'string' ? `Bearer ${key}` : undefined
}

/** What the path names; null on /v1. */
export interface MeantByPath {
  orgId: string | null
  deploymentId: string | null
}

/** `model` comes from the body. Throws Fault `not_found`, `model_not_found`, `invalid_request` or `forbidden`. */
export function resolve(routes: RouteTable, principal: Principal, meant: MeantByPath, model: string | null): Route {
  const { deploymentId } = meant
  const route =
    deploymentId === null
      ? byModel(routes, principal, model)
      : byPath(routes, principal, meant.orgId ?? principal.orgId, deploymentId, model)
  if (!can(principal, 'deployment:invoke', route.deploymentId))
    throw new Fault('forbidden', `This key lacks deployment:invoke on ${route.name}.`)
  return route
}

function byModel(routes: RouteTable, principal: Principal, model: string | null): Route {
  if (model === null) throw new Fault('invalid_request', '"model" is missing.', { detail: { param: 'model' } })
  const route = known(routes, principal, model) ?? withAdapters(routes, principal, model)
  if (!route) throw modelNotFound(model)
  return route
}

function known(routes: RouteTable, principal: Principal, name: string): Route | null {
  const byId = routes.byId(name)
  const route = byId?.orgId === principal.orgId ? byId : routes.byName(principal.orgId, name)
  return route ?? byUpload(routes, principal, name)
}

/** `<deployment>:<adapter>`, where the deployment has it. Throws Fault `model_not_found` that says which there are. */
function withAdapters(routes: RouteTable, principal: Principal, model: string): Route | null {
  const split = splitModel(model)
  const route = split && known(routes, principal, split.base)
  if (!route || hasAdapters(route, split.adapters)) return route
  throw can(principal, 'deployment:read', route.deploymentId) ? adapterNotFound(route, model) : modelNotFound(model)
}

/** `byom:<name>` means the one deployment of it that runs, else the one there is. Throws Fault `conflict` when several do. */
function byUpload(routes: RouteTable, principal: Principal, model: string): Route | null {
  const all = routes.byUpload(principal.orgId, model)
  const callable = all.filter(({ deploymentId }) => can(principal, 'deployment:invoke', deploymentId))
  const running = callable.filter(({ phase }) => !resting.has(phase))
  const meant = running.length > 0 ? running : callable.length > 0 ? callable : all.slice(0, 1)
  if (meant.length === 0) return null
  if (meant.length === 1) return meant[0]!
  const names = meant.map(({ name }) => name).sort()
  throw new Fault('conflict', `${model} runs in ${names.length} deployments: ${names.slice(0, 10).join(', ')}.`, {
    action: 'Name one of the deployments as the model.',
    detail: { param: 'model', deployments: names },
  })
}

const resting: ReadonlySet<Phase> = new Set<Phase>(['stopping', 'stopped', 'failed', 'deleted'])

function byPath(routes: RouteTable, principal: Principal, orgId: string, asked: string, model: string | null): Route {
  const member = principal.operator || principal.orgId === orgId
  // By id or by name, as on every other route of a deployment; a name cannot look like an id.
  const route = member ? (routes.byId(asked) ?? routes.byName(orgId, asked)) : null
  if (route === null || route.orgId !== orgId) throw new Fault('not_found', `There is no deployment ${asked}.`)
  // Whether its model was named rightly is told to those only who may call it.
  if (can(principal, 'deployment:invoke', route.deploymentId) && !names(route, model)) throw modelNotFound(model ?? '')
  return route
}

function names(route: Route, model: string | null): boolean {
  if (model === null || model === route.deploymentId || model === route.name || model === route.modelId) return true
  const split = route.adapters === undefined ? null : splitModel(model)
  return split !== null && hasAdapters(route, split.adapters) && names(route, split.base)
}

/** To those who may know of the deployment it says which adapters there are. */
function adapterNotFound({ name, adapters = {} }: Route, model: string): Fault {
  const names = Object.keys(adapters).sort()
  return modelNotFound(model, names.length === 0 ? `${name} has no adapters.` : `${name} has ${names.join(', ')}.`)
}

function modelNotFound(model: string, action?: string): Fault {
  return new Fault('model_not_found', `There is no model ${JSON.stringify(model.slice(0, 128))} here.`, {
    action,
    detail: { param: 'model' },
  })
}
