/** Drives `decide` over made-up load, one report every two seconds; the replicas that it wishes are there at once. */
import { defaultScaling, type ScalingPolicy, type WindowLimits } from '../deployments/scaling.ts'
import { decide } from './decide.ts'
import { type Decision, defaultDecideSettings, firstState, type ScalingState } from './state.ts'
import { addSample, emptyWindow, type LoadWindow, type Sample } from './window.ts'

export const startAt = Date.UTC(2026, 5, 1)

export function sampleAt(at: number, load: Partial<Sample> = {}): Sample {
  const none = { inFlight: 0, held: 0, rejected: 0, ready: 1, pending: 0, ttftMsP90: null, arrivals: 0 }
  return { at, ...none, ...load }
}

export class Drive {
  policy: ScalingPolicy
  sla: { ttftTargetMs: number | null } = { ttftTargetMs: null }
  capacity = 10
  override: WindowLimits | null = null
  settings = defaultDecideSettings
  window: LoadWindow = emptyWindow
  state: ScalingState
  now = startAt
  /** Decisions that changed something, with the seconds since the beginning. */
  changes: { seconds: number; desired: number; cause: string }[] = []

  constructor(policy: Partial<ScalingPolicy>, desired = 1) {
    this.policy = { ...defaultScaling, maxReplicas: 10, ...policy }
    this.state = firstState(desired)
  }

  /** One report and one decision. */
  report(load: Partial<Sample> = {}): Decision {
    const ready = this.state.desired
    this.window = addSample(this.window, sampleAt(this.now, { ready, ...load }))
    return this.decide()
  }

  decide(): Decision {
    const { window, policy, state, sla, capacity, now, override, settings } = this
    const decision = decide({ window, policy, state, sla, capacityPerReplica: capacity, now, settings, override })
    if (decision.desired !== state.desired)
      this.changes.push({ seconds: (now - startAt) / 1000, desired: decision.desired, cause: decision.cause })
    this.state = decision.state
    return decision
  }

  /** Reports of the same load, every two seconds. Returns the last decision. */
  run(seconds: number, load: Partial<Sample> | (() => Partial<Sample>) = {}): Decision {
    let decision: Decision | null = null
    for (const end = this.now + seconds * 1000; this.now < end; this.now += 2000)
      decision = this.report(typeof load === 'function' ? load() : load)
    return decision!
  }
}
