/**
 * How many replicas, and why. Pure: what it remembers is in the state, which the caller stores with the decision. Call
 * it with every report. In this order: schedule, wake, limits and sleep are judged at every call; the policy at its looks.
 *
 * It never takes anything away without a fresh report, and never while anybody waits (a lower ceiling excepted).
 */
import { boundsOf, type WindowLimits } from '../deployments/scaling.ts'
import { never } from '../kernel/never.ts'
import { type Facts, lookDue, sameAs, sleepsAt } from './look.ts'
import { type Cause, type DecideInput, type Decision, forget, moveTo, type ScalingState } from './state.ts'
import { stepsLook } from './steps.ts'
import { targetLook } from './target.ts'
import { demandOf, freshest, hadDemand, type LoadWindow, type Sample } from './window.ts'

export function decide(input: DecideInput): Decision {
  const { policy, window, now, settings } = input
  const override = input.override ?? null
  const bounds = boundsOf(policy, override)
  const sample = freshest(window, now, settings.freshSeconds)
  const state = follow(input.state, input, (sample?.ready ?? 0) > 0)
  const everySeconds = policy.policy === 'steps' ? settings.lookEverySeconds : settings.fastLookSeconds
  const facts: Facts = {
    input,
    state,
    bounds,
    everySeconds,
    capacity: Math.max(1, policy.targetConcurrency ?? input.capacityPerReplica),
  }
  // A limit that is another one than last time, or not the owner's own, is the schedule's doing.
  const limitCause: Cause = override !== null || input.state.override !== null ? 'schedule' : 'limits'
  if (state.desired === 0) return whileAsleep(facts, limitCause)
  const clipped = Math.min(bounds.ceiling, Math.max(bounds.floor, state.desired))
  if (clipped !== state.desired) return settle(facts, clipped, limitCause, limitsWhy(facts, clipped))
  if (sample === null)
    return sameAs({ ...facts, state: forget(state) }, 'no-reports', 'No fresh report of the load: everything stays.')
  if (sample.partial) return onlyMore(facts, sample)
  return fallAsleep(facts, demandOf(sample)) ?? look(facts, sample)
}

/** A gateway is silent: those that speak may ask for more, and nothing is taken away on what they do not know. */
function onlyMore(facts: Facts, sample: Sample): Decision {
  const { desired } = facts.state
  const unsure = (state: ScalingState): ScalingState => ({ ...state, looksDown: 0, calmSince: null })
  const decision = look({ ...facts, state: unsure(facts.state) }, sample)
  if (decision.desired > desired) return decision
  const state = decision.desired === desired ? unsure(decision.state) : forget(facts.state)
  return sameAs({ ...facts, state }, 'no-reports', 'A gateway does not report: nothing is taken away.')
}

function look(facts: Facts, sample: Sample): Decision {
  const { policy, now } = facts.input
  if (!policy.autoscalingEnabled) return sameAs(facts, 'limits', `Autoscaling is off: exactly ${facts.state.desired}.`)
  if (facts.state.readySince === null) return untilFirst(facts)
  const due = lookDue(facts.state, facts.everySeconds, now)
  if (!due) return sameAs(facts, 'steady', 'Between two looks.')
  const looked: Facts = { ...facts, state: due }
  switch (policy.policy) {
    case 'steps':
      return stepsLook(looked, sample)
    case 'target':
    case 'slo':
      return targetLook(looked, sample)
    default:
      return never(policy.policy, 'scaling policy')
  }
}

/**
 * Nothing has answered since it woke or was made: one start, however many ask. What is held meanwhile says how long the
 * start takes, not how many it needs; the first that answers shows that.
 */
function untilFirst(facts: Facts): Decision {
  const state = { ...forget(facts.state), lookedAt: facts.input.now }
  return sameAs({ ...facts, state }, 'steady', 'Its first replica is starting: the load is seen when that answers.')
}

/** What changes by itself: the schedule's word, and since when it answers. */
function follow(before: ScalingState, input: DecideInput, ready: boolean): ScalingState {
  const { now, settings } = input
  const override = input.override ?? null
  const sleepAsked = stillAsked(before, override)
  // Clock set back: a moment in the future would hold things up until then.
  const readySince = before.desired === 0 || !ready ? before.readySince : Math.min(before.readySince ?? now, now)
  const panic = Math.min(before.panicUntil ?? 0, now + settings.windowSeconds * 1000)
  // The first that answers after a wait: the looks begin here.
  const waited = before.readySince === null && readySince !== null && before.lookedAt !== null
  const begun = waited ? { lookedAt: now, startingAt: now } : {}
  return { ...before, ...begun, override, sleepAsked, readySince, panicUntil: panic > now ? panic : null }
}

/** A window that says sleep asks at its beginning and takes it back at its end; one that says awake takes it back too. */
function stillAsked({ sleepAsked, override: before }: ScalingState, override: WindowLimits | null): boolean {
  if (override?.action === before?.action) return sleepAsked
  if (override?.action === 'sleep') return true
  if (before?.action === 'sleep') return false
  return sleepAsked && !(override?.action === 'scale' && override.min > 0)
}

/** Nothing is to run: any demand wakes, also one in a report that came late, held or turned away. */
function whileAsleep(facts: Facts, limitCause: Cause): Decision {
  const { state, bounds, input } = facts
  if (askedSince(input.window, state)) {
    const { floor } = bounds
    return settle(facts, floor, 'wake', `Somebody asks: waking to ${floor} ${floor === 1 ? 'replica' : 'replicas'}.`)
  }
  if (bounds.maySleep || state.sleepAsked) return sameAs(facts, 'idle', 'Asleep: the next request wakes it.')
  return settle(facts, bounds.floor, limitCause, limitsWhy(facts, bounds.floor))
}

/** Told to sleep, only those who wait count: what was being answered when it was told ends where it is. */
function askedSince({ samples }: LoadWindow, { changedAt, sleepAsked }: ScalingState): boolean {
  const last = samples.at(-1)
  if (sleepAsked) return last !== undefined && waitFor(last) > 0
  if (last !== undefined && demandOf(last) > 0) return true
  return samples.some((sample) => sample.at > (changedAt ?? -1) && hadDemand(sample))
}

function waitFor({ held, rejected }: Sample): number {
  return held + rejected
}

/** The step to zero: the idle timeout alone, from any number of replicas; or at once when it was told to. */
function fallAsleep(facts: Facts, demand: number): Decision | null {
  const { state, bounds, input } = facts
  if (state.sleepAsked && demand === 0) {
    const scheduled = state.override?.action === 'sleep'
    return settle(
      facts,
      0,
      scheduled ? 'schedule' : 'idle',
      `Told to sleep${scheduled ? ' by its schedule' : ''}, and nobody asks.`,
    )
  }
  const sleepAt = sleepsAt(facts)
  if (!bounds.maySleep || sleepAt === null || input.now < sleepAt) return null
  return settle(facts, 0, 'idle', `Nobody asked for ${input.policy.idleTimeoutSeconds} s: going to sleep.`)
}

function limitsWhy({ state, input, bounds }: Facts, desired: number): string {
  const whose = state.override === null ? 'the' : 'its schedule’s'
  if (!input.policy.autoscalingEnabled) return `Autoscaling is off: exactly ${desired} instead of ${state.desired}.`
  const limit = desired === bounds.floor && state.desired < desired ? 'floor' : 'ceiling'
  return `${state.desired} → ${desired}: ${whose} ${limit} is ${desired}.`
}

/** At once. */
function settle(facts: Facts, desired: number, cause: Cause, why: string): Decision {
  const { state, input } = facts
  if (desired === state.desired) return sameAs(facts, cause, why)
  return sameAs({ ...facts, state: moveTo(state, desired, input.now) }, cause, why)
}
