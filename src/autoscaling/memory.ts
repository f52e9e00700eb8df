/** What the autoscaler knows of one deployment between its looks, and how a look begins. Pure. */
import type { ReportedDemand } from './demands.ts'
import { askToSleep, firstState, moveTo, type ScalingState } from './state.ts'
import { emptyWindow, type LoadWindow, type Sample } from './window.ts'

export interface Memory {
  /** Of this process only: what it did not see it does not know. */
  window: LoadWindow
  state: ScalingState
}

/** The deployment as its row has it. */
export interface Scaled {
  desired_replicas: number
  ready_replicas: number
  /** The state as stored; {} before the first look. */
  autoscaler: object
}

/** The memory a look begins with: `known` is what this process remembers, null = nothing yet. */
export function recall(known: Memory | null, row: Scaled, now: number): Memory {
  const { window, state } = known ?? { window: emptyWindow, state: storedState(row) }
  // Somebody else changed the wish (wake, sleep, limits): what was counted for the old one is void.
  if (state.desired === row.desired_replicas) return { window, state }
  return { window, state: adopted(moveTo(state, row.desired_replicas, now)) }
}

function storedState({ autoscaler, desired_replicas }: Scaled): ScalingState {
  return 'desired' in autoscaler ? (autoscaler as ScalingState) : adopted(firstState(desired_replicas))
}

/** Zero that we did not decide is somebody's word: it sleeps until it is asked, whatever the floor. */
function adopted(state: ScalingState): ScalingState {
  return state.desired === 0 ? askToSleep(state) : state
}

/** `complete`: every registered gateway has said its part. */
export function sampleOf(row: Scaled, asked: ReportedDemand, complete: boolean, now: number): Sample {
  const pending = Math.max(0, row.desired_replicas - row.ready_replicas)
  return { at: now, ...asked, ready: row.ready_replicas, pending, ...(complete ? {} : { partial: true }) }
}
