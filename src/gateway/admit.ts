/** Stage 4: may this request be sent to that engine at all? Limits, concurrency and budgets are asked here as well. */
import type { Route } from '../deployments/routes.ts'
import type { EngineDriver, EngineType, InferenceRoute } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { lastingField } from './route-words.ts'

/** What the gateway needs of an engine driver. */
export type EngineDialect = Pick<
  EngineDriver,
  'routes' | 'usage' | 'refusedField' | 'healthPath' | 'readiness' | 'adapters'
>
export type Engines = ReadonlyMap<EngineType, EngineDialect>

/** Throws Fault `engine_unsupported` or `engine_parameter_refused`. */
export function admit(
  engines: Engines,
  deployment: Pick<Route, 'engine'>,
  route: InferenceRoute,
  fields: Record<string, unknown>,
): EngineDialect {
  const engine = engines.get(deployment.engine)
  if (!engine) throw new Fault('engine_unsupported', `This server does not have the engine ${deployment.engine}.`)
  if (!engine.routes.has(route)) {
    const served = [...engine.routes].join(', ')
    throw new Fault(
      'engine_unsupported',
      `The engine ${deployment.engine} does not serve ${route}; it serves ${served}.`,
    )
  }
  const refused = lastingField(route, fields) ?? engine.refusedField(route, fields)
  if (refused !== null)
    throw new Fault('engine_parameter_refused', `The field "${refused}" is not passed to ${deployment.engine}.`, {
      detail: { param: refused },
    })
  return engine
}
