/** Stage 6: a replica for a request, which is counted in flight with it in the same turn. */
import type { Route, RouteReplica } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import { routeWith } from './adapters.ts'
import type { Exchange } from './exchange.ts'
import type { InferenceParts } from './inference.ts'
import type { Ask } from './parse.ts'
import { outlook } from './pick.ts'
import type { Link } from './replicas.ts'
import { answerTokens, type Prompt, promptTokens, readPrompt } from './routing/prompt.ts'

/** `link` null = none is ready; it is to be held. */
export interface Taken {
  route: Route
  link: Link | null
}

/**
 * Picks a replica and counts the request in, in one go: a table that drains the replica must find the request counted
 * or the replica not picked. `avoided` have not answered it: they come last, those that may have seen it not at all. null = all that there are have had it already. Throws the Fault of a deployment
 * that will not answer.
 */
export function takeReplica(
  parts: InferenceParts,
  exchange: Exchange,
  ask: Ask,
  deploymentId: string,
  avoided: ReadonlySet<string> | null,
): Taken | null {
  const { routes, replicas } = parts
  const all = routes.byId(deploymentId)
  const route = exchange.adapters === null || all === null ? all : routeWith(all, exchange.adapters)
  if (route instanceof Fault) throw route
  const state = outlook(route, replicas.stateOf, exchange.seenBy)
  if (state instanceof Fault) throw state
  if (state === 'hold') return { route: route!, link: null }
  const replica = choose(parts, exchange, ask, route!, avoided)
  if (replica === null) return null
  exchange.link = replicas.enter(route!, replica, exchange.unreadTokens + exchange.answerTokens)
  exchange.replicaId = replica.id
  return { route: as(route!, replica), link: exchange.link }
}

/** Counts the request out again. */
export function leaveReplica({ replicas }: InferenceParts, exchange: Exchange, link: Link): void {
  exchange.link = null
  replicas.leave(link, exchange.unreadTokens + exchange.answerTokens)
}

function choose(
  { replicas, router, lengths }: InferenceParts,
  exchange: Exchange,
  ask: Ask,
  route: Route,
  avoided: ReadonlySet<string> | null,
): RouteReplica | null {
  const { seenBy } = exchange
  if (route.replicas.length === 1) {
    const [only] = route.replicas
    exchange.unreadTokens = promptTokens(ask, route.contextTokens)
    exchange.answerTokens = answerTokens(ask, route.contextTokens, lengths.usual(route.deploymentId))
    return seenBy?.has(only!.id) ? null : only!
  }
  const prompt = (exchange.prompt ??= promptOf(exchange, ask, route, lengths.usual(route.deploymentId)))
  let replica = router.pick(route, replicas.stateOf, avoided, prompt)
  if (replica === null && avoided !== null) replica = router.pick(route, replicas.stateOf, seenBy, prompt)
  exchange.unreadTokens = prompt.unread
  exchange.answerTokens = prompt.answerTokens
  return replica
}

function promptOf(
  { meant, request, adapters }: Exchange,
  ask: Ask,
  { contextTokens }: Route,
  usualAnswerTokens: number,
): Prompt {
  const said = request.headers['x-session-id']
  const adapter = adapters === null ? null : adapters.key
  const sessionId = typeof said === 'string' && said !== '' ? said : null
  return readPrompt(ask, { route: meant.route, adapter, sessionId, contextTokens, usualAnswerTokens })
}

/** The route as it is for this replica: while a deployment rolls, one of another revision may serve something else. */
function as(route: Route, { servedName, engine }: RouteReplica): Route {
  if (servedName === undefined && engine === undefined) return route
  return { ...route, servedName: servedName ?? route.servedName, engine: engine ?? route.engine }
}
