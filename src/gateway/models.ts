/** GET /v1/models: what the key can call, in OpenAI's shape with our own fields beside it. */
import { can, type Principal } from '../access/permissions.ts'
import { isSimulated, type Route, type RouteTable } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import { splitModel } from './adapters.ts'

/** One model, or all of the key's org by name. Throws Fault `model_not_found`. */
export function listModels(routes: RouteTable, principal: Principal, model: string | null): object {
  if (model === null) {
    const data = routes
      .entries()
      .filter((route) => isVisible(route, principal))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap(shownWithAdapters)
    return { object: 'list', data }
  }
  const byId = routes.byId(model)
  const route = byId?.orgId === principal.orgId ? byId : routes.byName(principal.orgId, model)
  if (route !== null && isVisible(route, principal)) return shown(route)
  const split = splitModel(model)
  const base = split && routes.byName(principal.orgId, split.base)
  if (base && isVisible(base, principal) && Object.hasOwn(base.adapters ?? {}, split.adapters))
    return shownAdapter(base, split.adapters)
  throw new Fault('model_not_found', `There is no model ${JSON.stringify(model.slice(0, 128))} here.`, {
    detail: { param: 'model' },
  })
}

function isVisible(route: Route, principal: Principal): boolean {
  return !route.removed && route.orgId === principal.orgId && can(principal, 'deployment:read', route.deploymentId)
}

function shownWithAdapters(route: Route): object[] {
  const adapters = Object.keys(route.adapters ?? {}).sort()
  return [shown(route), ...adapters.map((name) => shownAdapter(route, name))]
}

/** As a model of its own, with the deployment as its parent. */
function shownAdapter(route: Route, name: string): object {
  return { ...shown(route), id: `${route.name}:${name}`, parent: route.name }
}

function shown(route: Route): object {
  return {
    id: route.name,
    object: 'model',
    created: route.created,
    owned_by: route.orgId,
    root: route.modelId,
    deployment_id: route.deploymentId,
    phase: route.phase,
    ...(route.contextTokens > 0 ? { max_model_len: route.contextTokens } : {}),
    ...(route.emulated ? { emulated: true } : {}),
    ...(isSimulated(route) ? { simulated: true } : {}),
    ...(route.servedBy ? { served_by: route.servedBy } : {}),
  }
}
