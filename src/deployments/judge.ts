/** What a deployment is called while it is in this situation, why, and when to look again. Pure. */
import { usdText } from '../kernel/money.ts'
import { type Phase, type Reason, type ReasonCode, reasonOf } from '../kernel/phase.ts'
import { spread } from '../kernel/spread.ts'
import { isStaying, type ReplicaPatch, type ReplicaView } from './replica.ts'
import type { PlanInput, PlanSettings, Situation } from './situation.ts'
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
  starting: 10_000,
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
  const readyReplicas = staying.filter((r) => r.phase === 'ready').length
  const [phase, code, message] = name(situation, readyReplicas, next)
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

function name(situation: Situation, ready: number, next: Next): Named {
  const { input, replicas, starts, braked, retryAt } = situation
  const { deployment, now } = input
  if (deployment.desired === 'deleted')
    return replicas.length === 0 ? ['deleted', 'deleted'] : ['stopping', 'stopping', 'It is being torn down.']
  if (deployment.desired === 'stopped') return replicas.length === 0 ? ['stopped', 'stopped'] : ['stopping', 'stopping']
  if (braked) return ['failed', 'crash_loop', `${starts.failed} starts in a row failed; last: ${starts.why}`]
  if (deployment.desiredReplicas === 0) return ['asleep', 'asleep']
  const rolling = replicas.some(
    (r) => isStaying(r) && (r.revisionId !== situation.target?.id || (r.after !== null && r.phase !== 'ready')),
  )
  const lacking = next.lack === null ? null : { code: lackCode[next.lack], message: lackMessage(situation, next) }
  const takes = `Revision ${situation.target?.number} takes over.`
  if (rolling) return ['rolling', 'rolling', lacking === null ? takes : `${takes} ${lacking.message}`]
  if (ready >= deployment.desiredReplicas) return ['serving', null]
  const starting = replicas.filter((r) => r.phase === 'planned' || r.phase === 'starting').length
  if (ready > 0) return partly(situation, { ready, starting, lacking })
  if (now < retryAt) return ['starting', 'start_failed', `The last start failed (${starts.why}) and is tried again.`]
  if (lacking !== null && starting === 0) return ['queued', lacking.code, lacking.message]
  if (deployment.phase === 'asleep' || deployment.phase === 'waking') return ['waking', 'waking']
  const also = lacking === null ? '' : ` More are wanted. ${lacking.message}`
  return ['starting', 'starting', `${starting > 1 ? `${starting} replicas are` : 'A replica is'} starting.${also}`]
}

const lackCode = { hardware: 'capacity_short', ceiling: 'price_ceiling' } as const

/** Some replicas serve, others are wanted. */
function partly(
  { input, starts, retryAt }: Situation,
  now: { ready: number; starting: number; lacking: { code: ReasonCode; message: string } | null },
): Named {
  const { ready, starting, lacking } = now
  const have = `${ready} of ${input.deployment.desiredReplicas} replicas are ready`
  if (input.now < retryAt) return ['degraded', 'start_failed', `${have}; the last start failed: ${starts.why}`]
  if (lacking === null) return ['scaling', 'scaling', `${have}; the others are starting.`]
  if (starting > 0) return ['scaling', 'scaling', `${have}, ${starting} starting. ${lacking.message}`]
  return ['serving', lacking.code, `${have}. ${lacking.message}`]
}

function lackMessage({ target, input }: Situation, { lack, waiting }: Next): string {
  if (lack === 'ceiling')
    return `Another replica would cost more than max_hourly_usd allows ($${usdText(target?.ceiling ?? 0n)} an hour).`
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

function wakeAt({ input, replicas, retryAt, braked }: Situation, next: Next): number | null {
  const { now, settings } = input
  const at: number[] = []
  for (const replica of replicas) {
    const phase = next.leaving.get(replica.id)?.phase ?? replica.phase
    const age = now - replica.createdAt
    if (phase === 'planned') at.push(now + Math.min(look.plannedSlow, Math.max(look.planned, age / 20)))
    if (phase === 'starting') at.push(now + Math.min(look.starting, settings.startDeadlineMs))
    if (phase === 'ready') at.push(now + readyPauseMs(replica, settings))
    if (phase === 'draining') at.push(now + Math.min(look.draining, settings.drainDeadlineMs))
    if (phase === 'deleting') at.push(now + look.deleting)
  }
  if (next.lack === 'hardware') at.push(now + shortLookMs(next.waiting))
  if (!braked && input.deployment.desired === 'running' && retryAt > now) at.push(retryAt)
  return at.length === 0 ? null : Math.min(...at)
}

/** Not all at the same moment, although a start looks at all. */
function readyPauseMs({ id, unhealthySince }: ReplicaView, { unresponsiveMs }: PlanSettings): number {
  if (unhealthySince !== null) return Math.min(look.unhealthy, unresponsiveMs)
  return look.ready * (0.75 + spread(id) / 2)
}

/** Whoever is far from its turn looks less often; when something frees, those who may take it are woken. */
function shortLookMs(waiting: Waiting | null): number {
  return Math.min(look.shortSlow, look.short + look.shortPerPlace * ((waiting?.position ?? 1) - 1))
}
