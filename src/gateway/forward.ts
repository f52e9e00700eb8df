/**
 * Stages 5 to 8 of a request that may be answered: wait until a replica is ready, send it there, and if that replica
 * cannot be reached or goes before it began to answer, send it elsewhere. Ends in a settled answer or a Fault.
 */
import type { Route, RouteReplica } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import { never } from '../kernel/never.ts'
import type { EngineDialect } from './admit.ts'
import { beginStream, sendPlain, shownModel, streamEnd } from './answer.ts'
import { edited, findUsage } from './answer-edit.ts'
import { attempt, type Outcome } from './attempt.ts'
import { engineFault } from './engine-error.ts'
import { EventStream } from './event-stream.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import type { InferenceParts } from './inference.ts'
import type { Ask } from './parse.ts'
import { outlook, pick } from './pick.ts'
import type { Link } from './replicas.ts'
import { type Ending, settle } from './settle.ts'
import { upstreamBody } from './upstream-body.ts'
import { estimatedUsage, readUsage, type Usage } from './usage.ts'

/**
 * How often a request that an engine may have seen is sent again. Bounded, because a request that kills engines would
 * otherwise go round until none is left; connections that were refused do not count.
 */
const resendsMaximum = 2
/** Largest event of a stream. */
const eventMaximumBytes = 8 * 1024 * 1024

let turn = 0

export async function forward(
  parts: InferenceParts,
  exchange: Exchange,
  ask: Ask,
  deployment: Route,
  engine: EngineDialect,
): Promise<void> {
  const { clock, replicas } = parts
  const body = upstreamBody(ask, deployment.servedName, engine.usage)
  let tried: Set<string> | null = null
  let resends = 0
  let needsSince = clock.monotonicMs()
  for (;;) {
    const { route, replica } = await nextReplica(parts, exchange, deployment, needsSince, tried)
    const link = replicas.enter(route, replica)
    exchange.replicaId = link.id
    try {
      const again = await send(parts, exchange, ask, route, link, body)
      if (again === null) return
      replicas.eject(link, again.why)
      if (again.seen && (resends += 1) > resendsMaximum) throw again.fault
      if (again.seen) needsSince = clock.monotonicMs()
    } finally {
      replicas.leave(link)
    }
    if (exchange.gone) throw new ClientGone()
    tried = (tried ?? new Set()).add(replica.id)
  }
}

/** A replica that may be sent to now; waits for one as long as a request may be held. */
async function nextReplica(
  parts: InferenceParts,
  exchange: Exchange,
  deployment: Route,
  needsSince: number,
  tried: ReadonlySet<string> | null,
): Promise<{ route: Route; replica: RouteReplica }> {
  const { routes, replicas, holding, clock } = parts
  for (;;) {
    const route = routes.byId(deployment.deploymentId)
    const state = outlook(route, replicas.stateOf)
    if (state instanceof Fault) throw state
    if (state === 'ready') {
      turn = (turn + 1) % 0x3fffffff
      const choices = route!.replicas
      // Those that were tried and answer their probe again come last.
      const replica = pick(choices, replicas.stateOf, tried, turn) ?? pick(choices, replicas.stateOf, null, turn)
      return { route: route!, replica: replica! }
    }
    const from = clock.monotonicMs()
    try {
      await holding.wait(exchange, route!, needsSince, () => comment(exchange, clock.monotonicMs()))
    } finally {
      exchange.heldMs += clock.monotonicMs() - from
    }
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

/** `seen`: the engine may have seen the request. `fault`: what the client is told when nobody else can answer. */
interface Again {
  why: string
  seen: boolean
  fault: Fault
}

/** One attempt; null when the request is answered and settled, else why it must be sent again. Throws Faults. */
async function send(
  parts: InferenceParts,
  exchange: Exchange,
  ask: Ask,
  route: Route,
  link: Link,
  body: Buffer,
): Promise<Again | null> {
  const model = shownModel(ask.model ?? route.name, route)
  let stream: EventStream | null = null
  const begin = (): EventStream => {
    beginStream(exchange, parts.clock.monotonicMs())
    stream = new EventStream({ model, usage: ask.usage, maxEventBytes: eventMaximumBytes })
    return stream
  }
  const outcome = await attempt({
    exchange,
    link,
    route: exchange.meant.route,
    body,
    begin: ask.stream ? begin : null,
    limits: parts.limits,
    clock: parts.clock,
    deadlines: parts.deadlines,
  })
  return conclude(parts, exchange, outcome, stream, model)
}

function conclude(
  parts: InferenceParts,
  exchange: Exchange,
  outcome: Outcome,
  stream: EventStream | null,
  model: string | null,
): Again | null {
  switch (outcome.kind) {
    case 'unsent':
      return { why: outcome.why, seen: false, fault: unavailable() }
    case 'lost':
      return {
        why: outcome.why,
        seen: true,
        fault: new Fault('engine_failed', 'The engine broke off.', { internal: outcome.why }),
      }
    case 'whole':
      if (outcome.status === 503) return { why: 'status 503', seen: true, fault: unavailable() }
      if (outcome.status !== 200) throw engineFault(outcome.status, outcome.body.toString('utf8'))
      return endPlain(parts, exchange, outcome, model)
    case 'streamed':
      return endStream(parts, exchange, stream!)
    case 'failed':
      return fail(parts, exchange, stream, outcome.fault)
    case 'gone':
      return end(parts, exchange, { status: 499, code: 'client_closed', usage: usageSoFar(exchange, stream) })
    default:
      return never(outcome, 'outcome of an attempt')
  }
}

function endPlain(
  parts: InferenceParts,
  exchange: Exchange,
  answer: { contentType: string; body: Buffer },
  model: string | null,
): null {
  // A client that asked for a stream and was told `200` has begun to read events; this is none.
  if (exchange.streaming) throw new Fault('engine_failed', 'The engine did not answer with a stream.')
  const text = answer.body.toString('latin1')
  const found = findUsage(text)
  const usage = found === null ? null : readUsage(text.slice(found.valueStart, found.valueEnd))
  const now = parts.clock.monotonicMs()
  exchange.contentCame(now)
  if (exchange.gone) return end(parts, exchange, { status: 499, code: 'client_closed', usage })
  end(parts, exchange, { status: 200, code: null, usage })
  const shown = model === null ? text : edited(text, model, null, 'keep')
  sendPlain(exchange, answer.contentType, shown === text ? answer.body : shown, now)
  return null
}

function endStream(parts: InferenceParts, exchange: Exchange, stream: EventStream): null {
  const rest = stream.end()
  const usage = usageSoFar(exchange, stream)
  // The engine's own error event has passed already.
  const failed = stream.errorText !== null
  const ending = failed ? ({ status: 500, code: 'engine_failed' } as const) : ({ status: 200, code: null } as const)
  exchange.bytesOut += rest.length + streamEnd.length
  end(parts, exchange, { ...ending, usage })
  exchange.response.end(rest + streamEnd, 'latin1')
  return null
}

/** The engine cannot finish. What was used is known to the ledger; whether it is charged follows from the status. */
function fail(parts: InferenceParts, exchange: Exchange, stream: EventStream | null, fault: Fault): never {
  const usage = usageSoFar(exchange, stream)
  end(parts, exchange, { status: fault.status, code: fault.code, usage })
  throw fault
}

function end(parts: InferenceParts, exchange: Exchange, ending: Ending): null {
  settle(exchange, ending, parts.clock.monotonicMs(), parts.onSettle, parts.log)
  return null
}

function usageSoFar(exchange: Exchange, stream: EventStream | null): Usage | null {
  if (stream === null || stream.events === 0) return null
  return readUsage(stream.usageText) ?? estimatedUsage(exchange.bytesIn, stream.events)
}

function unavailable(): Fault {
  return new Fault('unavailable', 'The engine does not answer.', { retryAfterSeconds: 2 })
}
