/**
 * Starts that failed, in a row: what counts as one, what forgives them, and how long the next one waits. Pure.
 *
 * A start has worked when its replica has been ready for `stableMs`. One that ended without being ready has failed; so has
 * one that was ready and ended, or fell silent for good, before that. Of replicas that were ready together only the first
 * such end counts: most likely they ended of the same thing, and what is counted is tries.
 */
import type { Exit } from '../compute/contract.ts'
import type { Advance } from './advance.ts'
import { isLost, type ReplicaView } from './replica.ts'
import { noStarts, type PlanInput, type PlanSettings, type Starts } from './situation.ts'

type FailedStart = NonNullable<Advance['failedStart']>

/**
 * Failures of the revision `targetId`, which should run, since its last start that worked. Where the last one that served
 * is gone, another start is due before it counts as failed, unless it was itself no start that worked.
 */
export function countStarts(input: PlanInput, advances: Advance[], serves: boolean, targetId?: string): Starts {
  const { deployment, replicas, settings, now } = input
  const own = advances.filter(({ replica }) => replica.revisionId === targetId)
  const served = !serves && replicas.some((replica) => replica.phase === 'ready')
  let starts = forgive(deployment.starts, own, now, settings)
  if (served) starts = { ...starts, failed: Math.min(starts.failed, settings.brakeAfter - 1) }
  for (const { replica, patch, failedStart } of own) {
    const early = earlyEnd(replica, patch?.exit ?? null, now, settings)
    if (failedStart !== null) starts = withFailure(starts, failedStart)
    // Ready since before the last failure: that one told of it.
    else if (early !== null && replica.readyAt! > starts.lastAt) starts = withFailure(starts, early)
  }
  return starts
}

/** A start after the last failure that has worked: all before it is forgotten. */
function forgive(starts: Starts, own: readonly Advance[], now: number, settings: PlanSettings): Starts {
  if (starts.failed === 0) return starts
  // Clock set back: a failure in the future would never be forgiven, nor its pause be over.
  const sane = own.some(({ becameReady }) => becameReady) ? { ...starts, lastAt: Math.min(starts.lastAt, now) } : starts
  const worked = own.some(({ replica }) => startedSince(sane, replica) && now >= stableAt(replica, settings))
  return worked ? noStarts : sane
}

function withFailure(starts: Starts, { at, why, lastLines }: FailedStart): Starts {
  return { failed: starts.failed + 1, lastAt: Math.max(starts.lastAt, at), why, lastLines }
}

/** How it ended, or when it fell silent for good, although it had not been ready for long; null = it did not. */
function earlyEnd(replica: ReplicaView, exit: Exit | null, now: number, settings: PlanSettings): FailedStart | null {
  const { readyAt, unhealthySince, drainAt } = replica
  // What was told to go may go.
  if (readyAt === null || drainAt !== null) return null
  const silent = isLost(replica, now, settings)
    ? { at: unhealthySince!, why: 'It answered no probe any more.', lastLines: [] }
    : null
  const end = exit ?? silent
  if (end === null || end.at >= stableAt(replica, settings)) return null
  const lived = Math.max(0, Math.round((end.at - readyAt) / 1000))
  return { at: end.at, why: `It was ready for ${lived} s. ${end.why}`, lastLines: end.lastLines }
}

function stableAt({ readyAt }: Pick<ReplicaView, 'readyAt'>, { stableMs = 0 }: PlanSettings): number {
  return readyAt! + stableMs
}

/** It answers, and was started after the last failure. */
function startedSince({ lastAt }: Starts, { phase, readyAt, unhealthySince }: ReplicaView): boolean {
  return phase === 'ready' && unhealthySince === null && readyAt !== null && readyAt >= lastAt
}

/** No new start before this moment, ms since epoch: exponential; over as soon as one has come up since. */
export function retryAt(starts: Starts, replicas: readonly ReplicaView[], settings: PlanSettings): number {
  if (starts.failed === 0 || replicas.some((replica) => startedSince(starts, replica))) return 0
  return starts.lastAt + backoffMs(starts.failed, settings)
}

/** When a start turns out to have worked, ms since epoch; null = nothing is to be forgiven, or none is up. */
export function forgivenAt(starts: Starts, replicas: readonly ReplicaView[], settings: PlanSettings): number | null {
  if (starts.failed === 0) return null
  const up = replicas.filter((replica) => startedSince(starts, replica))
  return up.length === 0 ? null : Math.min(...up.map((replica) => stableAt(replica, settings)))
}

/** Base, 2 × base, 4 × base … up to the maximum. */
export function backoffMs(failed: number, settings: Pick<PlanSettings, 'backoffMs' | 'backoffMaximumMs'>): number {
  return Math.min(settings.backoffMaximumMs, settings.backoffMs * 2 ** Math.min(failed - 1, 30))
}
