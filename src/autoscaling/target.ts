/**
 * `target`: as many replicas as the demand of the last minute fills to 70 %, counted against all that were asked for, so
 * that those on their way are not asked for twice. Demand of the last seconds that wants twice what is ready is sudden:
 * then it may jump, and nothing goes down for a minute after. `slo` is the same, and one more while latency is above
 * what was promised.
 */
import { calmLook, type Facts, isSlow, oneLessDoes, promisedMs, recent, replicasFor, sameAs, step } from './look.ts'
import { type Decision, forget, growthFactor, looksInARow } from './state.ts'
import { demandOf, type Sample } from './window.ts'

/** `slo`: seconds after the last start before latency is believed; it is measured over requests of before. */
const settleSeconds = 30
/** `slo`: nothing goes down while latency is above this share of what was promised. */
const comfortableLatency = 0.8

export function targetLook(looked: Facts, sample: Sample): Decision {
  const facts = notice(looked, sample)
  const { state, input, bounds, capacity } = facts
  const sudden = replicasFor(recent(facts, sample, input.settings.panicSeconds, demandOf), capacity)
  const panics = sudden >= growthFactor * Math.max(1, sample.ready) && demandOf(sample) > 0
  const panicUntil = panics ? input.now + input.settings.windowSeconds * 1000 : state.panicUntil
  const seen = { ...facts, state: { ...state, panicUntil } }
  const steady = replicasFor(recent(facts, sample, input.settings.windowSeconds, demandOf), capacity)
  const wanted = panicUntil === null ? Math.min(steady, growthFactor * state.desired) : Math.max(steady, sudden)
  if (wanted > state.desired) return grow(seen, wanted, panicUntil !== null)
  if (input.policy.policy === 'slo' && isSlow(facts, sample)) return slowLook(seen, sample)
  if (panicUntil === null && mayShrink(seen, sample)) return calmLook(seen)
  const why =
    state.desired > bounds.floor && panicUntil !== null
      ? 'Sudden growth a moment ago: nothing goes down.'
      : `${state.desired} is right for the load.`
  return sameAs({ ...seen, state: forget(seen.state) }, 'steady', why)
}

function mayShrink(facts: Facts, sample: Sample): boolean {
  const { policy, settings } = facts.input
  const near = policy.policy === 'slo' && (sample.ttftMsP90 ?? 0) > comfortableLatency * promisedMs(facts.input)
  return !near && oneLessDoes(facts, sample, settings.windowSeconds)
}

/** Remembers when replicas were last on their way. */
function notice(facts: Facts, sample: Sample): Facts {
  const { state, input } = facts
  const starting = sample.pending > 0 || sample.ready < state.desired
  return starting ? { ...facts, state: { ...state, startingAt: input.now } } : facts
}

function grow(facts: Facts, wanted: number, sudden: boolean): Decision {
  const { state, bounds, capacity } = facts
  const desired = Math.min(wanted, bounds.ceiling)
  const what = `The load ${sudden ? 'suddenly ' : ''}fills ${wanted} replicas of ${capacity} requests to 70 %`
  if (desired > state.desired) return step(facts, desired, 'load', what)
  return sameAs({ ...facts, state: forget(facts.state) }, 'limits', `${what}, but the ceiling is ${bounds.ceiling}.`)
}

/** Too slow though the load is carried: one more after three looks, and not again before that one has shown its effect. */
function slowLook(facts: Facts, sample: Sample): Decision {
  const { state, input, bounds } = facts
  const what = `p90 time to first token ${Math.round(sample.ttftMsP90 ?? 0)} ms above ${promisedMs(input)} ms`
  const looksUp = Math.min(looksInARow, state.looksUp + 1)
  const counted = { ...facts, state: { ...forget(state), looksUp } }
  if (state.desired >= bounds.ceiling)
    return sameAs(counted, 'limits', `The ceiling is ${bounds.ceiling}, with ${what}.`)
  const settled = state.startingAt === null || Math.abs(input.now - state.startingAt) >= settleSeconds * 1000
  if (!settled) return sameAs(counted, 'latency', `Replicas have just started: waiting for their effect, with ${what}.`)
  if (looksUp < looksInARow) return sameAs(counted, 'latency', `Look ${looksUp} of ${looksInARow} with ${what}.`)
  return step(counted, state.desired + 1, 'latency', `${looksInARow} looks in a row with ${what}`)
}
