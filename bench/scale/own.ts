/** Our own policies, as they are, in the same world. */
import { decide } from '../../src/autoscaling/decide.ts'
import { defaultDecideSettings, firstState, plannedShare, type ScalingState } from '../../src/autoscaling/state.ts'
import { addSample, emptyWindow, type LoadWindow } from '../../src/autoscaling/window.ts'
import { defaultScaling, type ScalingPolicy } from '../../src/deployments/scaling.ts'
import { type Controller, world } from './world.ts'

/** 70 % of it is what a replica takes, so that the step needs eight, as for the others. */
const targetConcurrency = Math.ceil(world.capacity / plannedShare)
/** A report every two seconds. */
const reportSeconds = 2
const begin = Date.UTC(2026, 0, 1)

export function own(policy: ScalingPolicy['policy']): Controller {
  const concurrency = policy === 'steps' ? null : targetConcurrency
  const scaling = { ...defaultScaling, policy, maxReplicas: world.maximum, targetConcurrency: concurrency }
  const settings = defaultDecideSettings
  let state: ScalingState = firstState(1)
  let window: LoadWindow = emptyWindow
  let arrived = 0
  return ({ seconds, ready, pending, open, arrivals, ttftMsP90 }) => {
    arrived += arrivals
    if (seconds % reportSeconds !== 0) return state.desired
    const now = begin + seconds * 1000
    const inFlight = Math.min(open, ready * world.capacity)
    const load = { inFlight, held: open - inFlight, rejected: 0, ready, pending, ttftMsP90, arrivals: arrived }
    window = addSample(window, { at: now, ...load })
    arrived = 0
    const sla = { ttftTargetMs: null }
    state = decide({ window, policy: scaling, state, sla, capacityPerReplica: world.capacity, now, settings }).state
    return state.desired
  }
}
