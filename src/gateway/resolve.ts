/** Stages 2 and 3: who asks, and which deployment is meant. What belongs to another organisation does not exist. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Keyring } from '../access/keyring.ts'
import { can, type Principal } from '../access/permissions.ts'
import type { Route, RouteTable } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'

/** Throws Fault `missing_key` or `invalid_key`. */
export function authenticate(keyring: Keyring, headers: IncomingHttpHeaders, now: number): Principal {
  const actAs = headers['x-paddock-org']
  return keyring.authenticate(headers.authorization, now, typeof actAs === 'string' ? actAs : undefined)
}

export interface Meant {
  /** From the path; null on /v1. */
  orgId: string | null
  deploymentId: string | null
  /** From the body; null when absent. */
  model: string | null
}

/** Throws Fault `not_found`, `model_not_found`, `invalid_request` or `forbidden`. */
export function resolve(routes: RouteTable, principal: Principal, meant: Meant): Route {
  const route = meant.deploymentId === null ? byModel(routes, principal, meant.model) : byPath(routes, principal, meant)
  if (!can(principal, 'deployment:invoke', route.deploymentId))
    throw new Fault('forbidden', `This key lacks deployment:invoke on ${route.name}.`)
  return route
}

function byModel(routes: RouteTable, principal: Principal, model: string | null): Route {
  if (model === null) throw new Fault('invalid_request', '"model" is missing.', { detail: { param: 'model' } })
  const byId = routes.byId(model)
  const route = byId?.orgId === principal.orgId ? byId : routes.byName(principal.orgId, model)
  if (!route) throw modelNotFound(model)
  return route
}

function byPath(routes: RouteTable, principal: Principal, meant: Meant): Route {
  const orgId = meant.orgId ?? principal.orgId
  const member = principal.operator || principal.orgId === orgId
  // By id or by name, as on every other route of a deployment; a name cannot look like an id.
  const asked = meant.deploymentId ?? ''
  const route = member ? (routes.byId(asked) ?? routes.byName(orgId, asked)) : null
  if (route === null || route.orgId !== orgId)
    throw new Fault('not_found', `There is no deployment ${meant.deploymentId}.`)
  // Whether its model was named rightly is told to those only who may call it.
  if (can(principal, 'deployment:invoke', route.deploymentId) && !names(route, meant.model))
    throw modelNotFound(meant.model ?? '')
  return route
}

function names(route: Route, model: string | null): boolean {
  return model === null || model === route.deploymentId || model === route.name || model === route.modelId
}

function modelNotFound(model: string): Fault {
  return new Fault('model_not_found', `There is no model ${JSON.stringify(model.slice(0, 128))} here.`, {
    detail: { param: 'model' },
  })
}
