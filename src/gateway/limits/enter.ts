/** Stage 4, second half: limits. What has none costs three comparisons. */
import type { Route } from '../../deployments/routes.ts'
import type { Exchange } from '../exchange.ts'
import type { Ask } from '../parse.ts'
import { routeWords } from '../route-words.ts'
import { estimate } from './estimate.ts'
import type { Limiter } from './limiter.ts'
import { priorityOf } from './priority.ts'

/** null: it may go on at once. Throws and rejects as `Limiter.enter` does; throws `invalid_request` of a bad priority. */
export function enterLimits(limiter: Limiter, exchange: Exchange, ask: Ask, route: Route): Promise<void> | null {
  const principal = exchange.principal!
  const asked = exchange.request.headers['x-priority']
  if (asked !== undefined) exchange.priority = priorityOf(asked, principal.priority ?? 0)
  const { limits = null } = principal
  if (route.limits === undefined && limits === null && exchange.adapters?.limited !== true) return null
  const { generates } = routeWords[exchange.meant.route]
  return limiter.enter(exchange, route, principal, estimate(ask, exchange.bytesIn, route.contextTokens, generates))
}
