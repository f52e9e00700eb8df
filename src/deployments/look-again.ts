/** When a deployment is looked at next, after what a plan decided is recorded. Pure. */

/** After others took all places meanwhile. */
const takenPauseMs = 100
/** A provider that was asked for something new and said nothing is asked again. */
const unansweredPauseMs = 1_000

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
  if (!wanted) return wakeAt
  const soon = now + (created === 0 ? takenPauseMs : unansweredPauseMs)
  return wakeAt === null ? soon : Math.min(wakeAt, soon)
}
