/** Stages 5 and 6 as decisions: can this deployment answer now, and which replica is to. Pure. */
import type { Route, RouteReplica } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import { type FaultCode, faultTable } from '../kernel/fault-table.ts'
import { never } from '../kernel/never.ts'
import { answering } from '../kernel/phase.ts'

/** What this gateway knows of a replica. */
export interface ReplicaState {
  /** Requests of ours that are with the replica now. */
  inFlight: number
  /** Those of all workers of this host. */
  load: number
  /** Their tokens, estimated: what is still to be read, and what is expected to be written. */
  tokens: number
  /** Requests of ours that it has answered. */
  answered: number
  /** It refused or lost a connection and has not answered its probe since. */
  ejected: boolean
  /** Requests at once that it takes, as far as it has said; Infinity = it has turned nobody away. */
  room: number
}
export type StateOf = (replica: RouteReplica) => ReplicaState

/** Seconds after which a client may try again when no better guess is at hand. */
const retryAfterSeconds = 15

/**
 * The ready replica with the fewest requests in flight among those that get traffic, have room and are not in `tried`;
 * among equals the turn decides, so that sequential requests spread. null = none.
 */
export function pick(
  replicas: readonly RouteReplica[],
  stateOf: StateOf,
  tried: ReadonlySet<string> | null,
  turn: number,
): RouteReplica | null {
  let best: RouteReplica | null = null
  let bestLoad = Number.POSITIVE_INFINITY
  for (let i = 0; i < replicas.length; i++) {
    const replica = replicas[(i + turn) % replicas.length]!
    if (replica.state !== 'ready' || replica.weight <= 0 || tried?.has(replica.id)) continue
    const state = stateOf(replica)
    if (state.ejected || state.inFlight >= state.room) continue
    const load = state.load
    if (load >= bestLoad) continue
    best = replica
    bestLoad = load
  }
  return best
}

/**
 * What to do with a request that has no replica yet. `route` null = deleted meanwhile. `seenBy`: replicas that have had it
 * already. As long as there are others it waits for those; all may be back in a moment, as after a short outage.
 */
export function outlook(
  route: Route | null,
  stateOf: StateOf,
  seenBy: ReadonlySet<string> | null = null,
): 'ready' | 'hold' | Fault {
  if (route === null) return new Fault('not_found', 'The deployment was deleted.')
  const answer = answering[route.phase]
  switch (answer) {
    case 'yes':
    case 'hold':
      // A ready replica serves even before the phase has caught up with it.
      if (pick(route.replicas, stateOf, seenBy, 0) !== null) return 'ready'
      // Whoever asks sees that nobody is left to have it.
      if (seenBy !== null && !hasOthers(route, seenBy) && pick(route.replicas, stateOf, null, 0) !== null)
        return 'ready'
      return mayNotWake(route) ?? 'hold'
    case 'stopping':
      return new Fault('stopping', sentence(route, 'is stopping'), { retryAfterSeconds })
    case 'stopped':
    case 'failed':
      return new Fault(answer, sentence(route, answer === 'stopped' ? 'is stopped' : 'has failed'))
    case 'gone':
      return new Fault('not_found', 'The deployment was deleted.')
    default:
      return never(answer, 'answer of a phase')
  }
}

function hasOthers({ replicas }: Route, seenBy: ReadonlySet<string>): boolean {
  return replicas.some(({ id, state, weight }) => state === 'ready' && weight > 0 && !seenBy.has(id))
}

/** Asleep, and the quota has no room for it: no request is worth waiting for that. */
function mayNotWake(route: Route): Fault | null {
  if (route.phase !== 'asleep' || route.reason?.code !== 'quota_short') return null
  return new Fault('quota_short', sentence(route, 'is asleep'), { retryAfterSeconds: route.reason.retry_after })
}

/** The refusal of a request that was held as long as it may be: with the deployment's own reason where it has one. */
export function heldTooLong(route: Route, heldSeconds: number): Fault {
  const { reason } = route
  const code = reason && isUnavailability(reason.code) ? reason.code : fallbackCode(route)
  const why = reason?.message ?? (code === 'unavailable' ? 'No replica could take it.' : 'No replica is ready yet.')
  return new Fault(code, `${route.name} could not answer within ${heldSeconds} s: ${why}`, {
    retryAfterSeconds: reason?.retry_after ?? retryAfterSeconds,
  })
}

function fallbackCode(route: Route): FaultCode {
  if (route.phase === 'queued') return 'capacity_short'
  return answering[route.phase] === 'yes' && route.replicas.length > 0 ? 'unavailable' : 'starting'
}

function isUnavailability(code: string): code is FaultCode {
  return Object.hasOwn(faultTable, code) && faultTable[code as FaultCode].status === 503
}

function sentence(route: Route, what: string): string {
  return `${route.name} ${what}${route.reason ? `: ${route.reason.message}` : '.'}`
}
