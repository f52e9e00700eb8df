/**
 * Stages 5 to 8 of a request that may be answered: wait until a replica is ready, send it there, and if that replica
 * cannot be reached or goes before it began to answer, send it elsewhere. Ends in a settled answer or a Fault.
 */
import type { Route } from '../deployments/routes.ts'
import type { EngineType } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { adapterMembers } from './adapters.ts'
import { admit, type EngineDialect } from './admit.ts'
import { beginStream } from './answer.ts'
import { attempt } from './attempt.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import type { InferenceParts } from './inference.ts'
import type { Ask } from './parse.ts'
import { routeWords } from './route-words.ts'
import { Sending } from './sending.ts'
import { begin, requireBegun } from './settle.ts'
import { leaveReplica, takeReplica } from './take.ts'
import { upstreamBody } from './upstream-body.ts'

/**
 * How often a request that an engine may have seen is sent again. Bounded, because a request that kills engines would
 * otherwise go round until none is left; connections that were refused do not count.
 */
const resendsMaximum = 2

/** What an engine is told, which depends on what the chosen replica serves. */
interface Told {
  name: string
  engine: EngineType
  body: string | Buffer
}

export async function forward(
  parts: InferenceParts,
  exchange: Exchange,
  ask: Ask,
  deployment: Route,
  engine: EngineDialect,
): Promise<void> {
  const { deploymentId } = deployment
  const { meant } = exchange
  const { fields } = ask
  let told: Told | null = null
  let avoided: Set<string> | null = null
  let lastFault: Fault | null = null
  let needsSince = parts.clock.monotonicMs()
  parts.retries.earn(deploymentId, needsSince)
  for (;;) {
    const taken = takeReplica(parts, exchange, ask, deploymentId, avoided)
    // Whoever could answer has had it already.
    if (taken === null) throw lastFault
    if (taken.link === null) {
      await hold(parts, exchange, taken.route, needsSince)
      continue
    }
    const { link, route } = taken
    try {
      if (exchange.adapters !== null) told = adapted(parts, exchange, ask, route)
      else if (!isFor(told, route)) {
        // Since it arrived the deployment may have rolled to another engine, which has fields of its own to refuse.
        const { usage } = route.engine === deployment.engine ? engine : admit(parts.engines, route, meant.route, fields)
        const body = upstreamBody(ask, route.servedName, routeWords[meant.route].tellsUsage ? usage : null)
        told = { name: route.servedName, engine: route.engine, body }
      }
      const beginning = begin(exchange, parts)
      if (beginning !== null) await beginning
      requireBegun(exchange, parts)
      if (exchange.gone) throw new ClientGone()
      const sending = new Sending(parts, exchange, ask, route)
      const again = sending.conclude(await attempt(parts, exchange, link, told.body, ask.stream ? sending : null))
      if (again === null) {
        parts.replicas.answered(link)
        if (routeWords[meant.route].generates) parts.lengths.learn(deploymentId, exchange.answeredTokens)
        // It must be known for good that it was answered before the client can know it.
        const ending = parts.metering?.written() ?? null
        if (ending !== null) await ending
        sending.finish()
        return
      }
      if (again.busy) parts.replicas.turnedAway(link, again.why)
      else parts.replicas.eject(link, again.why)
      avoided = (avoided ?? new Set()).add(link.id)
      lastFault = again.fault
      if (again.seen) {
        exchange.seenBy = (exchange.seenBy ?? new Set()).add(link.id)
        needsSince = resend(parts, deploymentId, exchange.seenBy, again.fault)
      }
    } finally {
      leaveReplica(parts, exchange, link)
    }
    if (exchange.gone) throw new ClientGone()
  }
}

/** From now on it needs another replica. Throws `fault` when it is not to be sent again. */
function resend({ retries, clock }: InferenceParts, deploymentId: string, seen: Set<string>, fault: Fault): number {
  const now = clock.monotonicMs()
  if (seen.size > resendsMaximum || !retries.spend(deploymentId, now)) throw fault
  return now
}

/** Told anew for every replica: each knows its adapters by names of its own. */
function adapted({ engines }: InferenceParts, { adapters, meant, replicaId }: Exchange, ask: Ask, route: Route): Told {
  const engine = admit(engines, route, meant.route, ask.fields)
  if (engine.adapters === undefined)
    throw new Fault('engine_unsupported', `The engine ${route.engine} takes no LoRA adapters.`)
  const { model, members } = adapterMembers(route, replicaId!, adapters!, engine.adapters)
  const usage = routeWords[meant.route].tellsUsage ? engine.usage : null
  return { name: model, engine: route.engine, body: upstreamBody(ask, model, usage, members) }
}

function isFor(told: Told | null, { servedName, engine }: Route): told is Told {
  return told !== null && told.name === servedName && told.engine === engine
}

async function hold(parts: InferenceParts, exchange: Exchange, route: Route, needsSince: number): Promise<void> {
  const { holding, clock } = parts
  const from = clock.monotonicMs()
  // Nothing has it now: a server that stops must not wait for it.
  exchange.replicaId = null
  try {
    await holding.wait(exchange, route, needsSince, () => comment(exchange, clock.monotonicMs()))
  } finally {
    exchange.heldMs += clock.monotonicMs() - from
  }
}

/** Tells whoever waits in between that this connection is alive. Streams only: a plain answer has no room for it. */
function comment(exchange: Exchange, now: number): void {
  if (!exchange.ask?.stream || exchange.gone) return
  beginStream(exchange, now)
  const text = ': waiting for a replica\n\n'
  exchange.bytesOut += text.length
  exchange.response.write(text)
}
