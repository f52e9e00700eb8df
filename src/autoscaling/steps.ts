/** `steps`: slow and steady. Three looks in a row that ask for more add one; three calm ones, and the cooldown, take one. */
import { calmLook, type Facts, isSlow, oneLessDoes, promisedMs, sameAs, step, waitingIn } from './look.ts'
import { type Decision, forget, looksInARow } from './state.ts'
import { type Sample, total } from './window.ts'

export function stepsLook(facts: Facts, sample: Sample): Decision {
  const { state, input, capacity, everySeconds } = facts
  // What waits now; those turned away wait no more, so all since the look before count.
  const rejected = total(input.window, input.now, everySeconds, (one) => one.rejected)
  const waiting = waitingIn({ ...sample, rejected }, capacity)
  const crowded = waiting > input.settings.queueDepthUp * Math.max(1, sample.ready)
  const slow = isSlow(facts, sample)
  if (crowded || slow)
    return busyLook(facts, crowded ? 'load' : 'latency', crowded ? crowd(waiting, sample) : lag(facts, sample))
  if (oneLessDoes(facts, sample, everySeconds)) return calmLook(facts)
  return sameAs({ ...facts, state: forget(state) }, 'steady', `${state.desired} is right for the load.`)
}

function busyLook(facts: Facts, cause: 'load' | 'latency', what: string): Decision {
  const { state, bounds } = facts
  const looksUp = Math.min(looksInARow, state.looksUp + 1)
  const counted = { ...facts, state: { ...forget(state), looksUp } }
  if (looksUp < looksInARow) return sameAs(counted, cause, `Look ${looksUp} of ${looksInARow} with ${what}.`)
  if (state.desired >= bounds.ceiling)
    return sameAs(counted, 'limits', `${capital(what)}, but the ceiling is ${bounds.ceiling}.`)
  return step(counted, state.desired + 1, cause, `${looksInARow} looks in a row with ${what}`)
}

function crowd(waiting: number, sample: Sample): string {
  return `${waiting} waiting for ${sample.ready} ready`
}

function lag(facts: Facts, sample: Sample): string {
  return `p90 time to first token ${Math.round(sample.ttftMsP90 ?? 0)} ms above ${promisedMs(facts.input)} ms`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
