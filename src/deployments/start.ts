/**
 * The parts of a replica's start: when each began, how long it took, and which of them takes too long. Pure. Moments come
 * from whoever knows them best: the engine tells those of its own parts, the provider those before; what nobody tells is
 * the moment at which it was first seen.
 */
import type { StartMoments, StartPhase } from '../engines/contract.ts'
import type { ReplicaView } from './replica.ts'
import type { PlanSettings } from './situation.ts'

/** In their order. */
export const startPhases = ['hardware', 'files', 'load', 'warmup'] as const satisfies StartPhase[]
const moments = [...startPhases, 'ready'] as const

type Starting = Pick<ReplicaView, 'startPhases' | 'seen' | 'probe' | 'createdAt'>

/** What is known by now, each moment within the start and none before the one that it follows. */
export function momentsOf({ startPhases: noted, seen, probe, createdAt }: Starting, now: number): StartMoments {
  const known: StartMoments = { hardware: createdAt, ...noted }
  const first = (moment: StartPhase) => (known[moment] ??= now)
  if (seen?.state === 'pending') first(seen.phase ?? 'files')
  // The process loads from its first moment on, whether it says so or not.
  if (seen?.state === 'running') known.load = seen.startedAt
  if (probe?.state === 'not_ready' && probe.phase !== 'files') first(probe.phase)
  if (probe?.state === 'ready') known.ready = now
  const told = seen?.state === 'pending' || seen?.state === 'running' ? seen.began : undefined
  Object.assign(known, told, probe?.began)
  return inOrder(known, now)
}

function inOrder(known: StartMoments, now: number): StartMoments {
  const ordered: StartMoments = {}
  let earliest = Number.NEGATIVE_INFINITY
  for (const moment of moments) {
    const at = known[moment]
    if (at === undefined) continue
    earliest = Math.max(earliest, Math.min(Math.round(at), now))
    ordered[moment] = earliest
  }
  return ordered
}

/** ms that each part took; the last one until it was ready, else until `end`: the end of the start, or now. */
export function durationsOf(known: StartMoments, end: number): Partial<Record<StartPhase, number>> {
  const begun = startPhases.filter((phase) => known[phase] !== undefined)
  const until = (index: number) => known[begun[index + 1] ?? 'ready'] ?? end
  return Object.fromEntries(begun.map((phase, index) => [phase, Math.max(0, until(index) - known[phase]!)]))
}

/** The detail of what brings the files, where there is one: that it changes is progress. */
export function filesDetail({ seen, probe }: Pick<Starting, 'seen' | 'probe'>): string | null {
  if (seen?.state === 'pending' && seen.phase !== 'hardware') return seen.detail
  return probe?.state === 'not_ready' && probe.phase === 'files' ? probe.detail : null
}

const tooLong: Record<StartPhase, (time: string) => string> = {
  hardware: (time) => `There was no hardware for it within ${time}.`,
  files: (time) => `Its files made no progress for ${time}.`,
  load: (time) => `Its engine did not load within ${time}.`,
  warmup: (time) => `Its engine did not warm up within ${time}.`,
}

/**
 * Why this start has taken too long; null = it has not. As long as files are seen to come on, the clock of the whole start
 * stands still: how large they are is no fault.
 */
export function overdueWhy(replica: ReplicaView, now: number, settings: PlanSettings): string | null {
  const known = replica.startPhases
  const current = startPhases.findLast((phase) => known[phase] !== undefined) ?? 'hardware'
  const { progress = null } = replica
  const cameOn = progress !== null && known.files !== undefined ? Math.max(0, progress.at - known.files) : 0
  const limit = settings.phaseDeadlineMs?.[current]
  const since = Math.max(known[current] ?? replica.createdAt, current === 'files' ? (progress?.at ?? 0) : 0)
  // What cannot be asked may be further than was seen.
  const isKnown = replica.seen !== null
  if (isKnown && limit !== undefined && now - since >= limit) return tooLong[current](secondsText(limit))
  if (now - (replica.startedAt ?? replica.createdAt) - cameOn < settings.startDeadlineMs) return null
  const took = durationsOf(known, now)
  const longest = [...startPhases].sort((a, b) => (took[b] ?? 0) - (took[a] ?? 0))[0]!
  const most = `${longest} took ${secondsText(took[longest] ?? 0)} of it`
  return `It was not ready within ${secondsText(settings.startDeadlineMs)}: ${most}.`
}

export function secondsText(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`
}
