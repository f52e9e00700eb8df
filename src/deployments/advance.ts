/**
 * What one observation means for one replica. Pure. Decides the phase changes that follow from facts alone (it became
 * ready, it died, it is gone); what the deployment wants is decided in plan.ts.
 */
import type { Exit } from '../compute/contract.ts'
import type { StartMoments } from '../engines/contract.ts'
import type { ReplicaPatch, ReplicaView } from './replica.ts'
import type { PlanSettings } from './situation.ts'
import { filesDetail, momentsOf, overdueWhy, secondsText, startPhases as startPhaseNames } from './start.ts'

export interface Advance {
  replica: ReplicaView
  patch: ReplicaPatch | null
  /** A start that ended without ever being ready. */
  failedStart: { at: number; why: string; lastLines: string[] } | null
  becameReady: boolean
  why: string | null
}

export function advance(replica: ReplicaView, now: number, settings: PlanSettings): Advance {
  const still: Advance = { replica, patch: null, failedStart: null, becameReady: false, why: null }
  const { seen, phase } = replica
  if (phase === 'gone' || phase === 'planned' || seen === null) return overdue(still, now, settings)
  if (phase === 'deleting') {
    if (seen.state !== 'not_found') return still
    return apply(still, { phase: 'gone', goneAt: now, endedAt: replica.endedAt ?? now }, `${replica.id} is gone.`)
  }
  if (seen.state === 'exited') return ended(still, seen.exit)
  if (seen.state === 'not_found') return ended(still, lost(replica, now))
  if (phase === 'starting') return starting(still, now, settings)
  return serving(still, now)
}

function starting(still: Advance, now: number, settings: PlanSettings): Advance {
  const { replica } = still
  const { seen, probe } = replica
  const moments = momentsOf(replica, now)
  if (seen?.state === 'running' && probe?.state === 'ready') {
    const patch: ReplicaPatch = {
      phase: 'ready',
      readyAt: now,
      startPhases: moments,
      address: seen.address,
      port: seen.port,
      unhealthySince: null,
    }
    const took = secondsText(now - (moments.hardware ?? replica.createdAt))
    return { ...apply(still, patch, `${replica.id} is ready after ${took}.`), becameReady: true }
  }
  return overdue(note(still, moments, now), now, settings)
}

/** How often progress is written down: every change would be a turn. */
const progressEveryMs = 5_000

/** What began since the last look, and whether its files come on. */
function note(still: Advance, moments: StartMoments, now: number): Advance {
  const { startPhases, progress = null } = still.replica
  const began = startPhaseNames.some((phase) => moments[phase] !== undefined && startPhases[phase] === undefined)
  const noted = began ? apply(still, { startPhases: moments }, null) : still
  const detail = filesDetail(still.replica)
  if (detail === null || detail === progress?.detail) return noted
  if (progress !== null && now - progress.at < progressEveryMs) return noted
  // The first thing told is where it begins.
  return apply(noted, { progress: { at: progress === null ? (moments.files ?? now) : now, detail } }, null)
}

function serving(still: Advance, now: number): Advance {
  const { replica } = still
  if (replica.probe === null) return still
  if (replica.probe.state === 'ready')
    return replica.unhealthySince === null
      ? still
      : apply(still, { unhealthySince: null }, `${replica.id} answers again.`)
  if (replica.unhealthySince === null)
    return apply(still, { unhealthySince: now }, `${replica.id} did not answer its probe.`)
  // Whether and when it goes depends on what else there is: roll.ts.
  return still
}

function overdue(still: Advance, now: number, settings: PlanSettings): Advance {
  const { replica } = still
  if (replica.phase !== 'starting' && replica.phase !== 'planned') return still
  // A successor may wait long for the place that it takes over.
  if (replica.phase === 'planned' && replica.after !== null) return still
  const why = overdueWhy(replica, now, settings)
  if (why === null) return still
  return ended(still, { at: now, code: null, signal: null, lastLines: [], why })
}

function ended(still: Advance, exit: Exit): Advance {
  const { replica } = still
  const failed = replica.readyAt === null && replica.phase !== 'draining'
  const patch: ReplicaPatch = { phase: 'deleting', endedAt: exit.at, exit }
  const result = apply(still, patch, `${replica.id} ended: ${exit.why}`)
  return failed ? { ...result, failedStart: { at: exit.at, why: exit.why, lastLines: exit.lastLines } } : result
}

/** The provider knows nothing of it although it was created. The last sign of life is what can be vouched for. */
function lost(replica: ReplicaView, now: number): Exit {
  const { readyAt, seenAt = null, unhealthySince } = replica
  const lastSeen = readyAt === null ? now : Math.max(readyAt, seenAt ?? readyAt)
  const at = Math.min(now, unhealthySince ?? lastSeen)
  return { at, code: null, signal: null, lastLines: [], why: 'The provider no longer knows it.' }
}

function apply(from: Advance, patch: ReplicaPatch, why: string | null): Advance {
  const { goneAt: _goneAt, address: _address, port: _port, ...fields } = patch
  return { ...from, replica: { ...from.replica, ...fields }, patch: { ...from.patch, ...patch }, why: why ?? from.why }
}
