/** What a deployment is called while it is in this situation, why, and when to look again. Pure. */
import { type Phase, type Reason, type ReasonCode, reasonOf } from '../kernel/phase.ts'
import { isStaying, type ReplicaPatch } from './replica.ts'
import type { PlanInput, Situation } from './situation.ts'

interface Verdict {
  phase: Phase
  reason: Reason | null
  readyReplicas: number
  wakeAt: number | null
  why: string[]
}

/** How often a thing is looked at while it is in a state, ms. */
const look = { starting: 50, startingSlow: 1000, ready: 1_000, draining: 250, deleting: 100, short: 5_000 }

export function judge(situation: Situation, next: { leaving: Map<string, ReplicaPatch>; short: boolean }): Verdict {
  const { input } = situation
  const staying = situation.replicas.filter((r) => !next.leaving.has(r.id))
  const readyReplicas = staying.filter((r) => r.phase === 'ready').length
  const [phase, code, message] = name(situation, readyReplicas, next.short)
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

function name(situation: Situation, ready: number, short: boolean): Named {
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
  if (rolling) return ['rolling', 'rolling', `Revision ${situation.target?.number} takes over.`]
  if (ready >= deployment.desiredReplicas) return ['serving', null]
  if (ready > 0) return partly(situation, ready, short)
  if (now < retryAt) return ['starting', 'start_failed', `The last start failed (${starts.why}) and is tried again.`]
  if (short) return ['queued', 'capacity_short', shortMessage(situation)]
  if (deployment.phase === 'asleep' || deployment.phase === 'waking') return ['waking', 'waking']
  return ['starting', 'starting']
}

function partly({ input, starts, retryAt }: Situation, ready: number, short: boolean): Named {
  const have = `${ready} of ${input.deployment.desiredReplicas} replicas are ready`
  if (input.now < retryAt) return ['degraded', 'start_failed', `${have}; the last start failed: ${starts.why}`]
  if (short) return ['serving', 'capacity_short', `${have}; there is no free hardware for more.`]
  return ['scaling', 'scaling', `${have}; the others are starting.`]
}

function shortMessage({ target }: Situation): string {
  const wanted = target?.hardware.map((h) => `${h.gpuCount} × ${h.gpuType}`).join(' or ') ?? 'hardware'
  return `Waiting for ${wanted}: none is free. It starts as soon as something frees; fewer replicas or comparable hardware may start sooner.`
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

function wakeAt(
  { input, replicas, retryAt, braked }: Situation,
  next: { leaving: Map<string, ReplicaPatch>; short: boolean },
): number | null {
  const { now, settings } = input
  const at: number[] = []
  for (const replica of replicas) {
    const phase = next.leaving.get(replica.id)?.phase ?? replica.phase
    const age = now - replica.createdAt
    if (phase === 'planned' || phase === 'starting')
      at.push(now + Math.min(look.startingSlow, Math.max(look.starting, age / 20)))
    if (phase === 'ready') at.push(now + Math.min(look.ready, settings.unresponsiveMs))
    if (phase === 'draining') at.push(now + Math.min(look.draining, settings.drainDeadlineMs))
    if (phase === 'deleting') at.push(now + look.deleting)
  }
  if (next.short) at.push(now + look.short)
  if (!braked && input.deployment.desired === 'running' && retryAt > now) at.push(retryAt)
  return at.length === 0 ? null : Math.min(...at)
}
