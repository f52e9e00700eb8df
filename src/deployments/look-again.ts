/** When a deployment is looked at next, after what a plan decided is recorded, and after what it asked for. Pure. */

/** After others took all places meanwhile. */
const takenPauseMs = 100
/** A provider that was asked for something new and said nothing is asked again. */
const unansweredPauseMs = 1_000
/** A start that the watcher follows: for what it may miss. */
export const startingLookMs = 10_000

export interface Recorded {
  /** What the plan said, which did not know of the rows that it made; ms since epoch. */
  wakeAt: number | null
  /** The plan wanted new replicas … */
  wanted: boolean
  /** … and so many of them are about to be asked for. */
  created: number
  now: number
}

export function lookAgainAt({ wakeAt, wanted, created, now }: Recorded): number | null {
  return wanted && created === 0 ? soonest(wakeAt, now + takenPauseMs) : wakeAt
}

export interface Acted {
  /** What was to be before anything was asked. */
  nextAt: number | null
  /** Replicas that were asked for, by what came of it. */
  started: number
  refused: number
  unanswered: number
  now: number
}

/** What was refused is decided anew at once. A removal is the watcher's to see, as a start is. */
export function lookAfterActingAt({ nextAt, started, refused, unanswered, now }: Acted): number | null {
  if (refused > 0) return soonest(nextAt, now)
  if (unanswered > 0) return soonest(nextAt, now + unansweredPauseMs)
  return started > 0 ? soonest(nextAt, now + startingLookMs) : nextAt
}

function soonest(a: number | null, b: number): number {
  return a === null ? b : Math.min(a, b)
}
