/**
 * The way of an inference request: authenticate → read and parse → resolve → admit → hold → pick → relay → settle.
 * Everything that goes wrong is thrown to `serve`, which settles once and answers once.
 */
import type { Keyring } from '../access/keyring.ts'
import type { RouteTable } from '../deployments/routes.ts'
import { Fault, toFault } from '../kernel/fault.ts'
import type { Roster } from '../kernel/roster.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import { adaptersAsked } from './adapters.ts'
import { admit, type Engines } from './admit.ts'
import { refuse } from './answer.ts'
import type { AttemptLimits } from './attempt.ts'
import { type BodyLimits, checkBodyHeaders, readBody } from './body.ts'
import { requireClearKeys } from './clear-keys.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import { forward } from './forward.ts'
import type { Holding } from './hold.ts'
import { enterLimits } from './limits/enter.ts'
import { type MediaLimits, requireAllowedMedia } from './media.ts'
import { parseAsk } from './parse.ts'
import { largeBytes, parseLarge } from './parse-large.ts'
import type { Replicas } from './replicas.ts'
import { authenticate, resolve } from './resolve.ts'
import type { AnswerLengths } from './routing/answer-length.ts'
import type { RetryBudget } from './routing/retry-budget.ts'
import type { Router } from './routing/router.ts'
import { type SettleParts, settle } from './settle.ts'

export interface InferenceParts extends SettleParts {
  keyring: Keyring
  routes: RouteTable
  engines: Engines
  replicas: Replicas
  router: Router
  lengths: AnswerLengths
  retries: RetryBudget
  /** Under way now. */
  active: Roster<Exchange>
  holding: Holding
  limits: BodyLimits & AttemptLimits & MediaLimits
  deadlines: Deadlines
  trust: TablesTrust
}

/** Why keys and routes cannot be relied on now, in words; null = they can. */
export type TablesTrust = () => string | null

/** Throws Fault `unavailable`: keys that are not known yet must not be taken for wrong ones, nor old ones for valid. */
export function requireTables(trust: TablesTrust): void {
  const why = trust()
  if (why !== null) throw new Fault('unavailable', `This gateway cannot serve: ${why}.`, { retryAfterSeconds: 2 })
}

/** Answers and settles the request, whatever happens; it is in `parts.active` until then. Never throws. */
export function serveInference(parts: InferenceParts, exchange: Exchange, expectsContinue: boolean): void {
  const { keyring, limits, clock, deadlines, active } = parts
  const { request } = exchange
  active.add(exchange)
  try {
    requireTables(parts.trust)
    exchange.principal = authenticate(keyring, request, exchange.receivedAt)
    exchange.authMs = clock.monotonicMs() - exchange.startedAt
    parts.metering?.requireRoom()
    checkBodyHeaders(request, limits.maxBytes)
    if (expectsContinue) exchange.response.writeContinue()
    readBody(exchange, limits, deadlines, (read) => void answer(parts, exchange, read))
  } catch (thrown) {
    giveUp(parts, exchange, thrown)
    active.remove(exchange)
  }
}

async function answer(parts: InferenceParts, exchange: Exchange, read: Buffer | Error): Promise<void> {
  const { routes, engines, clock, active } = parts
  const { meant } = exchange
  try {
    if (read instanceof Error) throw read
    const readAt = clock.monotonicMs()
    const ask = read.length > largeBytes ? await parseLarge(exchange, read) : parseAsk(read)
    exchange.ask = ask
    const deployment = resolve(routes, exchange.principal!, meant, ask.model)
    exchange.deployment = deployment
    const engine = admit(engines, deployment, meant.route, ask.fields)
    if (deployment.adapters !== undefined) exchange.adapters = adaptersAsked(deployment, ask.model, engine)
    requireClearKeys(ask)
    requireAllowedMedia(ask, parts.limits.mediaDomains)
    exchange.routeMs = clock.monotonicMs() - readAt
    const entering = enterLimits(parts.limiter, exchange, ask, deployment)
    if (entering !== null) await entering
    await forward(parts, exchange, ask, deployment, engine)
  } catch (thrown) {
    giveUp(parts, exchange, thrown)
  }
  active.remove(exchange)
}

function giveUp(parts: InferenceParts, exchange: Exchange, thrown: unknown): void {
  const { log, deadlines } = parts
  if (thrown instanceof ClientGone) {
    settle(exchange, { status: 499, code: 'client_closed', usage: null }, parts)
    return
  }
  const fault = toFault(thrown)
  if (fault.status >= 500) {
    const { requestId, deployment, replicaId } = exchange
    const words = {
      requestId,
      code: fault.code,
      why: fault.internal,
      deploymentId: deployment?.deploymentId,
      replicaId,
    }
    if (fault.code === 'internal') log.error({ ...words, stack: (fault.cause as Error)?.stack }, 'a request failed')
    else log.info(words, 'a request was not answered')
  }
  if (!exchange.settled) settle(exchange, { status: fault.status, code: fault.code, usage: null }, parts)
  refuse(exchange, fault, deadlines)
}
