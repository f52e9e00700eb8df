/** What a decision is made from, what it remembers and what it answers. Plain JSON: the caller stores it. */
import type { ScalingPolicy, WindowLimits } from '../deployments/scaling.ts'
import type { LoadWindow } from './window.ts'

export interface DecideSettings {
  /** `steps` looks this often. */
  lookEverySeconds: number
  /** `target` and `slo` look this often. */
  fastLookSeconds: number
  /** `steps`: more waiting than this per ready replica asks for one more. */
  queueDepthUp: number
  /** p90 of the time to the first token that asks for one more, where no SLA names a target. */
  latencyUpMs: number
  /** `target` and `slo`: the load is averaged over this … */
  windowSeconds: number
  /** … and sudden growth is seen over this. */
  panicSeconds: number
  /** Without a report younger than this nothing is taken away. */
  freshSeconds: number
}

export const defaultDecideSettings: DecideSettings = {
  lookEverySeconds: 30,
  fastLookSeconds: 2,
  queueDepthUp: 2,
  latencyUpMs: 2000,
  windowSeconds: 60,
  panicSeconds: 6,
  freshSeconds: 4,
}

/** Looks in a row that must agree. */
export const looksInARow = 3
/** A replica is planned to be this full. */
export const plannedShare = 0.7
/** Sudden growth: wanting this many times what is ready. A step up without it is at most this factor. */
export const growthFactor = 2

export interface ScalingState {
  /** Wished replicas. `decide` is the only one who writes it. */
  desired: number
  /** When `desired` last changed; ms since epoch, as all moments here. null = never. */
  changedAt: number | null
  lookedAt: number | null
  /** Looks in a row that asked for more, and for less. */
  looksUp: number
  looksDown: number
  /** Since when every look said that one replica less would do. */
  calmSince: number | null
  /** Since when, after waking, a replica answers: idle time counts from there. null = none has yet. */
  readySince: number | null
  /** Last look that found replicas on their way: latency measured before that says nothing yet. */
  startingAt: number | null
  /** Sudden growth was seen: nothing goes down before this. */
  panicUntil: number | null
  /** It was told to sleep, by a person or the schedule: it does as soon as nobody asks, until somebody does. */
  sleepAsked: boolean
  /** What the schedule said at the last decision. */
  override: WindowLimits | null
}

export type Cause =
  | 'load'
  | 'latency'
  | 'idle'
  | 'wake'
  /** Floor, ceiling, or autoscaling off. */
  | 'limits'
  /** Less would do, but the cooldown is not over. */
  | 'cooldown-held'
  | 'schedule'
  /** No fresh report: nothing is taken away on a guess. */
  | 'no-reports'
  | 'steady'

export interface DecideInput {
  window: LoadWindow
  policy: ScalingPolicy
  state: ScalingState
  sla: { ttftTargetMs: number | null }
  /** Requests at once that one replica's engine takes; `policy.targetConcurrency` goes before it. */
  capacityPerReplica: number
  /** ms since epoch */
  now: number
  settings: DecideSettings
  /** The window of its schedule that is in force. */
  override?: WindowLimits | null
}

export interface Decision {
  desired: number
  state: ScalingState
  /** A step down that is due but for cooldown or idle timeout comes at this moment at the earliest; null = none is. */
  holdUntil: number | null
  /** When the policy looks again. Wake, idle, limits and schedule are judged at every call. */
  nextLookAt: number
  /** A sentence for the owner. */
  why: string
  cause: Cause
}

/** Begins awake: with `desired` replicas wished (the floor, usually). */
export function firstState(desired: number): ScalingState {
  return {
    desired,
    changedAt: null,
    lookedAt: null,
    looksUp: 0,
    looksDown: 0,
    calmSince: null,
    readySince: null,
    startingAt: null,
    panicUntil: null,
    sleepAsked: false,
    override: null,
  }
}

/** The state with another wish; whatever was counted for the old one is forgotten. */
export function moveTo(state: ScalingState, desired: number, now: number): ScalingState {
  const woke = state.desired === 0
  const sleeps = desired === 0
  return {
    ...forget(state),
    desired,
    changedAt: now,
    // After waking the first look is a full interval away: what was held meanwhile says little about the load.
    lookedAt: woke ? now : state.lookedAt,
    readySince: woke || sleeps ? null : state.readySince,
    startingAt: desired > state.desired ? now : state.startingAt,
    panicUntil: sleeps ? null : state.panicUntil,
    sleepAsked: woke ? false : state.sleepAsked,
  }
}

/** Nothing counted: the looks begin anew. */
export function forget(state: ScalingState): ScalingState {
  return { ...state, looksUp: 0, looksDown: 0, calmSince: null }
}

/** Told to sleep by a person: it does once nobody asks, whatever the floor, until somebody asks. */
export function askToSleep(state: ScalingState): ScalingState {
  return { ...state, sleepAsked: true }
}

/** Woken by a person, to `desired` replicas. */
export function wake(state: ScalingState, desired: number, now: number): ScalingState {
  const awake = { ...state, sleepAsked: false }
  return state.desired > 0 ? awake : moveTo(awake, desired, now)
}
