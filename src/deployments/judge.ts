/** What a deployment is called while it is in this situation, why, and when to look again. Pure. */
import { usdText } from '../kernel/money.ts'
import { type Phase, type Reason, type ReasonCode, reasonOf } from '../kernel/phase.ts'
import { spread } from '../kernel/spread.ts'
import { startingLookMs } from './look-again.ts'
import { isAnswering, isLost, isStaying, type ReplicaPatch, type ReplicaView } from './replica.ts'
import type { PlanInput, PlanSettings, Situation } from './situation.ts'
import { stoppedBecause, stoppingBecause } from './stopped.ts'
import type { Lack } from './take.ts'
import { type Waiting, waitingText } from './waiting.ts'

interface Verdict {
  phase: Phase
  reason: Reason | null
  readyReplicas: number
  wakeAt: number | null
  why: string[]
}

/**
 * How often a thing is looked at while it is in a state, ms. Changes of what started, runs or goes are the watcher's to
 * see, at once: these looks are for what it may miss.
 */
const look = {
  planned: 50,
  plannedSlow: 1_000,
  starting: startingLookMs,
  ready: 60_000,
  unhealthy: 1_000,
  draining: 250,
  deleting: 1_000,
  short: 5_000,
  shortPerPlace: 100,
  shortSlow: 60_000,
}

interface Next {
  leaving: Map<string, ReplicaPatch>
  lack: Lack
  waiting: Waiting | null
}

export function judge(situation: Situation, next: Next): Verdict {
  const { input } = situation
  const staying = situation.replicas.filter((r) => !next.leaving.has(r.id))
  const readyReplicas = staying.filter(isAnswering).length
  const silent = staying.filter((r) => r.phase === 'ready' && !isAnswering(r))
  const [phase, code, message] = name(situation, { ready: readyReplicas, silent, lack: lackOf(situation, next) })
  const reason = code === null ? null : makeReason(situation, code, message)
  return {
    phase,
    reason,
    readyReplicas,
    wakeAt: wakeAt(situation, next),
    why: reason ? [reason.message] : [sentence(phase, input)],
  }
}

type Named = [phase: Phase, code: ReasonCode | null, message?: string]

interface Seen {
  ready: number
  /** Were ready and do not answer now. */
  silent: ReplicaView[]
  lack: { code: ReasonCode; message: string } | null
}

function name(situation: Situation, { ready, silent, lack }: Seen): Named {
  const { input, replicas, starts, braked, retryAt } = situation
  const { deployment, now } = input
  if (deployment.desired === 'deleted')
    return replicas.length === 0 ? ['deleted', 'deleted'] : ['stopping', 'stopping', 'It is being torn down.']
  if (deployment.desired === 'stopped') return atRest(situation)
  if (braked) return ['failed', 'crash_loop', `${starts.failed} starts in a row failed; last: ${starts.why}`]
  const limited = deployment.limited ?? null
  if (deployment.desiredReplicas === 0)
    return limited === null ? ['asleep', 'asleep'] : ['asleep', limited.code, `It cannot wake. ${limited.message}`]
  if (isRolling(situation)) return ['rolling', 'rolling', rollingMessage(situation, lack)]
  if (ready >= deployment.desiredReplicas)
    return limited === null ? ['serving', null] : ['serving', limited.code, `More is wanted. ${limited.message}`]
  const starting = replicas.filter((r) => r.phase === 'planned' || r.phase === 'starting').length
  if (ready > 0) return partly(situation, { ready, silent, starting, lack })
  if (now < retryAt) return ['starting', 'start_failed', `The last start failed (${starts.why}) and is tried again.`]
  if (silent.length > 0) return ['degraded', 'unresponsive', silentMessage(situation, silent)]
  if (lack !== null && starting === 0) return ['queued', lack.code, lack.message]
  if (deployment.phase === 'asleep' || deployment.phase === 'waking') return ['waking', 'waking']
  const also = lack === null ? '' : ` More are wanted. ${lack.message}`
  return ['starting', 'starting', `${starting > 1 ? `${starting} replicas are` : 'A replica is'} starting.${also}`]
}

const lackCode = { hardware: 'capacity_short', spare: 'capacity_short', ceiling: 'price_ceiling' } as const

/** Nobody to answer any more, or soon; whoever stopped it is named. */
function atRest({ input, replicas }: Situation): Named {
  const stopped = input.deployment.stopped ?? { by: 'person', until: null, refused: null }
  if (replicas.length > 0) return ['stopping', 'stopping', stoppingBecause(stopped.by)]
  return ['stopped', ...stoppedBecause(stopped)]
}

/** Some replicas serve, others are wanted. */
function partly(situation: Situation, now: Seen & { starting: number }): Named {
  const { input, starts, retryAt } = situation
  const have = `${now.ready} of ${input.deployment.desiredReplicas} replicas are ready`
  if (input.now < retryAt) return ['degraded', 'start_failed', `${have}; the last start failed: ${starts.why}`]
  if (now.silent.length > 0) return ['degraded', 'unresponsive', `${have}. ${silentMessage(situation, now.silent)}`]
  if (now.lack === null) return ['scaling', 'scaling', `${have}; the others are starting.`]
  if (now.starting > 0) return ['scaling', 'scaling', `${have}, ${now.starting} starting. ${now.lack.message}`]
  return ['serving', now.lack.code, `${have}. ${now.lack.message}`]
}

/** Another revision is about to take over, or takes over a place. */
function isRolling({ replicas, target }: Situation): boolean {
  const staying = replicas.filter(isStaying)
  if (staying.some((r) => r.revisionId !== target?.id)) return true
  return target?.proven === false && staying.some((r) => r.after !== null && r.phase !== 'ready')
}

function silentMessage({ input: { now, settings } }: Situation, silent: ReplicaView[]): string {
  const names = silent.map(({ id }) => id).join(', ')
  const answer = silent.length === 1 ? 'answers' : 'answer'
  const lost = silent.some((replica) => isLost(replica, now, settings))
  return `${names} ${answer} no probes${lost ? ' any more; another one is to take its place' : ''}.`
}

function rollingMessage(situation: Situation, lack: Seen['lack']): string {
  const takes = `Revision ${situation.target?.number} takes over.`
  return lack === null ? takes : `${takes} ${lack.message}`
}

function lackOf(situation: Situation, next: Next): Seen['lack'] {
  return next.lack === null ? null : { code: lackCode[next.lack], message: lackMessage(situation, next) }
}

function lackMessage({ target, input }: Situation, { lack, waiting }: Next): string {
  if (lack === 'ceiling')
    return `Another replica would cost more than max_hourly_usd allows ($${usdText(target?.ceiling ?? 0n)} an hour).`
  if (lack === 'spare')
    return 'It waits for a spare place: it would start where the only replica answers now, for longer than requests are held. Change it with allow_downtime: true if it may.'
  return waiting === null ? 'There is no free hardware.' : waitingText(waiting, input.deployment.desiredReplicas)
}

/** `since` stays when the code stays. Retry-After follows from what is known. */
function makeReason({ input, retryAt }: Situation, code: ReasonCode, message?: string): Reason {
  const before = input.deployment.reason
  const reason = reasonOf(code, new Date(input.now), message)
  const since = before?.code === code ? before.since : reason.since
  if (code !== 'start_failed') return { ...reason, since }
  return { ...reason, since, retry_after: Math.min(60, Math.max(1, Math.ceil((retryAt - input.now) / 1000))) }
}

function sentence(phase: Phase, input: PlanInput): string {
  return phase === 'serving' ? `All ${input.deployment.desiredReplicas} wanted replicas are ready.` : `It is ${phase}.`
}

function wakeAt({ input, replicas, retryAt, forgivenAt, braked }: Situation, next: Next): number | null {
  const { now, settings } = input
  const at: number[] = []
  for (const replica of replicas) {
    const phase = next.leaving.get(replica.id)?.phase ?? replica.phase
    const age = now - replica.createdAt
    if (phase === 'planned') at.push(now + Math.min(look.plannedSlow, Math.max(look.planned, age / 20)))
    if (phase === 'starting') at.push(now + Math.min(look.starting, settings.startDeadlineMs))
    if (phase === 'ready') at.push(now + readyPauseMs(replica, now, settings))
    if (phase === 'draining') at.push(now + Math.min(look.draining, settings.drainDeadlineMs))
    if (phase === 'deleting') at.push(now + look.deleting)
  }
  if (next.lack === 'hardware' || next.lack === 'spare') at.push(now + shortPauseMs(next.waiting))
  if (!braked && input.deployment.desired === 'running' && retryAt > now) at.push(retryAt)
  if (forgivenAt !== null) at.push(Math.max(now, forgivenAt))
  return at.length === 0 ? null : Math.min(...at)
}

/** Whoever is far from its turn looks less often; when something frees, those who may take it are woken. */
function shortPauseMs(waiting: Waiting | null): number {
  return Math.min(look.shortSlow, look.short + look.shortPerPlace * Math.max(0, (waiting?.position ?? 1) - 1))
}

/** Not all at the same moment, although a start looks at all. */
function readyPauseMs({ id, unhealthySince }: ReplicaView, now: number, { unresponsiveMs }: PlanSettings): number {
  if (unhealthySince !== null) {
    const untilLost = unhealthySince + unresponsiveMs - now
    return untilLost > 0 ? Math.min(look.unhealthy, untilLost) : look.unhealthy
  }
  return look.ready * (0.75 + spread(id) / 2)
}
