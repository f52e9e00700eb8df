/** What every policy's look shares: when it is due, what was seen, and the one step down. */
import {
  type Cause,
  type DecideInput,
  type Decision,
  forget,
  looksInARow,
  moveTo,
  plannedShare,
  type ScalingState,
} from './state.ts'
import { average, demandOf, gapSecondsMaximum, hadDemand, peak, type Sample } from './window.ts'

export interface Facts {
  input: DecideInput
  state: ScalingState
  bounds: { floor: number; ceiling: number; maySleep: boolean }
  /** Seconds between two looks. */
  everySeconds: number
  /** Requests at once that one replica carries. */
  capacity: number
}

/** Rounding must neither add a replica nor keep one. */
const crumb = 1e-9

/** The state with this look counted; null = not yet. After a gap, or a clock set back, looks in a row begin anew. */
export function lookDue(state: ScalingState, everySeconds: number, now: number): ScalingState | null {
  if (state.lookedAt === null) return { ...state, lookedAt: now }
  const every = everySeconds * 1000
  const since = now - state.lookedAt
  if (since < 0 || since > Math.max(3 * every, gapSecondsMaximum * 1000)) return { ...forget(state), lookedAt: now }
  if (since < every) return null
  // On a grid, so that a caller who comes every few seconds does not stretch the interval.
  return { ...state, lookedAt: since < 2 * every ? state.lookedAt + every : now }
}

/** Requests that wait for a place: held, turned away, or more at the replicas than these carry. */
export function waitingIn(sample: Sample, capacity: number): number {
  return sample.held + sample.rejected + Math.max(0, sample.inFlight - sample.ready * capacity)
}

/**
 * Mean of the last `seconds`, of the newest sample where none is as young. What was held before anything answered is
 * not among them: it is being worked off.
 */
export function recent(facts: Facts, sample: Sample, seconds: number, of: (sample: Sample) => number): number {
  const { now, window } = facts.input
  const answering = facts.state.readySince === null ? seconds : (now - facts.state.readySince) / 1000
  return average(window, now, Math.min(seconds, answering), of) ?? of(sample)
}

/** Replicas for so many requests at once, none fuller than planned. */
export function replicasFor(demand: number, capacity: number): number {
  return Math.ceil(demand / (plannedShare * capacity) - crumb)
}

/** p90 of the time to the first token is above what was promised, else above the setting. */
export function isSlow({ input }: Facts, sample: Sample): boolean {
  return sample.ttftMsP90 !== null && sample.ttftMsP90 > promisedMs(input)
}

export function promisedMs({ sla, settings }: DecideInput): number {
  return sla.ttftTargetMs ?? settings.latencyUpMs
}

/** One replica less carries what was seen over `seconds`, and nobody waited. */
export function oneLessDoes(facts: Facts, sample: Sample, seconds: number): boolean {
  const { input, state, bounds, capacity } = facts
  if (state.desired <= bounds.floor) return false
  const waited = peak(input.window, input.now, seconds, (one) => waitingIn(one, capacity)) ?? 0
  if (waited > 0 || waitingIn(sample, capacity) > 0) return false
  const demand = Math.max(recent(facts, sample, seconds, demandOf), demandOf(sample))
  return demand <= plannedShare * capacity * (state.desired - 1) + crumb
}

/** A calm look: one replica less after three of them, once the cooldown is over. */
export function calmLook(facts: Facts): Decision {
  const { state, input } = facts
  const looksDown = Math.min(looksInARow, state.looksDown + 1)
  const calm = { ...state, looksUp: 0, looksDown, calmSince: state.calmSince ?? input.now }
  const counted = { ...facts, state: calm }
  if (looksDown < looksInARow)
    return sameAs(counted, 'steady', `Look ${looksDown} of ${looksInARow} at which ${state.desired - 1} would do.`)
  const until = calm.calmSince + input.policy.cooldownSeconds * 1000
  const seconds = Math.ceil((until - input.now) / 1000)
  if (seconds > 0) {
    const held = sameAs(counted, 'cooldown-held', `${state.desired - 1} would do; cooldown for ${seconds} s more.`)
    // It may fall asleep before.
    return { ...held, holdUntil: held.holdUntil === null ? until : Math.min(until, held.holdUntil) }
  }
  return step(
    counted,
    state.desired - 1,
    'load',
    `${state.desired - 1} carry the load at ${plannedShare * 100} %, and the cooldown is over`,
  )
}

/** Another number; the sentence gets its arrow. */
export function step(facts: Facts, desired: number, cause: Cause, why: string): Decision {
  const before = facts.state.desired
  return sameAs(
    { ...facts, state: moveTo(facts.state, desired, facts.input.now) },
    cause,
    `${why}: ${before} → ${desired}.`,
  )
}

/** The state as it is. */
export function sameAs(facts: Facts, cause: Cause, why: string): Decision {
  const { state, input, everySeconds } = facts
  const nextLookAt = (state.lookedAt ?? input.now) + everySeconds * 1000
  return {
    desired: state.desired,
    state,
    holdUntil: facts.bounds.maySleep ? sleepsAt(facts) : null,
    nextLookAt,
    why,
    cause,
  }
}

/** When the idle timeout is over if nobody asks until then; null = somebody does, or no replica has answered since it woke. */
export function sleepsAt({ state, input }: Facts): number | null {
  const { quietSince, samples } = input.window
  if (state.desired === 0 || state.readySince === null || quietSince === null) return null
  const last = samples.at(-1)
  if (last === undefined || hadDemand(last)) return null
  return Math.max(quietSince, state.readySince) + input.policy.idleTimeoutSeconds * 1000
}
