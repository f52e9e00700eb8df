/**
 * A step of load on a simulated deployment, second by second. A population of clients each has one request open: it is
 * answered, or given up and asked again, after the same time; so both what is open at once and what arrives per second
 * are constant from the step on, whatever is ready, and controllers that count either see the same need.
 */

export const world = {
  /** Requests at once that a replica takes. */
  capacity: 10,
  /** Clients after the step: what eight replicas take. */
  clients: 80,
  /** Until a client asks again. */
  patienceSeconds: 10,
  /** Time to the first token: of a request that finds a place, and of one that waits for one. */
  ttftMs: 200,
  waitingTtftMs: 5000,
  needed: 8,
  maximum: 10,
  /** One replica runs, and nobody asks, this long before the step. */
  idleSeconds: 900,
  giveUpSeconds: 1800,
}

/** Requests per second after the step. */
export const arrivalsPerSecond = world.clients / world.patienceSeconds

export interface Seen {
  /** Seconds since the step; negative before it. */
  seconds: number
  ready: number
  pending: number
  /** Open requests, held ones included. */
  open: number
  /** Requests that arrived in this second. */
  arrivals: number
  /** null = nobody asks. */
  ttftMsP90: number | null
}

/** Called every second; returns wished replicas. */
export type Controller = (seen: Seen) => number

export interface Outcome {
  /** Seconds until eight were wished, and until eight were ready; null = never. */
  wishedAt: number | null
  readyAt: number | null
  /** Most that were wished. */
  most: number
  /** Requests that found no replica with room for them. */
  unserved: number
}

export function stepLoad(controller: Controller, startSeconds: number): Outcome {
  const outcome: Outcome = { wishedAt: null, readyAt: null, most: 1, unserved: 0 }
  const starts: number[] = [Number.NEGATIVE_INFINITY]
  for (let seconds = -world.idleSeconds; seconds <= world.giveUpSeconds; seconds += 1) {
    const ready = starts.filter((moment) => moment <= seconds).length
    const open = seconds >= 0 ? world.clients : 0
    const arrivals = seconds >= 0 ? arrivalsPerSecond : 0
    const waitingShare = open === 0 ? 0 : Math.max(0, 1 - (ready * world.capacity) / open)
    outcome.unserved += arrivals * waitingShare
    const ttftMsP90 = open === 0 ? null : waitingShare > 0.1 ? world.waitingTtftMs : world.ttftMs
    const wished = controller({ seconds, ready, pending: starts.length - ready, open, arrivals, ttftMsP90 })
    while (starts.length < Math.min(wished, world.maximum)) starts.push(seconds + startSeconds)
    starts.length = Math.max(1, Math.min(starts.length, wished))
    outcome.most = Math.max(outcome.most, starts.length)
    if (starts.length >= world.needed) outcome.wishedAt ??= seconds
    if (starts.filter((moment) => moment <= seconds).length >= world.needed) outcome.readyAt ??= seconds
    if (outcome.readyAt !== null) break
  }
  return outcome
}
