/**
 * Which replica a request goes to. Pure: what is known of the replicas is in the arguments, and nothing is remembered.
 *
 * 1. The one that the client's own session is bound to, unless it is saturated.
 * 2. Among those within the load bound, the one that saves the most reading because it has begun such a prompt before.
 * 3. If none saves a good part: the first within the bound round the ring from where the prompt's beginning stands. All
 *    gateways come to the same one, though they know nothing of each other.
 * 4. Where nothing is gained by affinity, or all are over the bound: the one with the least work in flight.
 */
import type { Prompt } from './prompt.ts'
import type { Ring } from './ring.ts'

/** What is known of a replica that gets traffic. Its place in the list is its place on the ring. */
export interface Candidate {
  /** It may be asked now: it answers, has room, and has not been asked already. */
  usable: boolean
  /** Estimated tokens in flight with it. */
  tokens: number
  /** Its share of the traffic, 1 … 100. */
  weight: number
  /** Blocks of the prompt, from the first one on, that it has likely computed before. */
  matched: number
  /** The session of the request is bound to it. */
  bound: boolean
  /** It has answered so few yet that it is not to get more at once. */
  warming: boolean
}

export interface Bounds {
  /** Affinity does not bring more than this many times the average load to a replica. */
  factor: number
  /** Up to so many requests like this one are always within the bound: averages of few say nothing. */
  floorRequests: number
  /** A session stays where it is up to this many times the average load; under 2, which is all that two can have. */
  sessionFactor: number
  /** Share of a prompt that must be saved by going elsewhere than the ring says. */
  worthwhile: number
  /** The bound, likewise, of what nobody has read before: there is nothing to be saved, and all to be spread. */
  coldFactor: number
  coldFloorRequests: number
}

export const bounds: Bounds = {
  factor: 1.25,
  floorRequests: 4,
  sessionFactor: 1.5,
  worthwhile: 0.1,
  coldFactor: 1,
  coldFloorRequests: 2,
}

/** Index of the chosen one; −1 when none is usable. `turn` decides among equals. */
export function choose(
  candidates: readonly Candidate[],
  prompt: Prompt,
  ring: Ring,
  turn: number,
  by = bounds,
): number {
  const mine = prompt.tokens + prompt.answerTokens
  const average = averageLoad(candidates, mine)
  if (average === 0) return -1
  const floor = mine * by.floorRequests
  for (let i = 0; i < candidates.length; i++)
    if (candidates[i]!.bound && fits(candidates[i]!, Math.max(average * by.sessionFactor, floor))) return i
  const key = prompt.session || prompt.beginning
  if (key === 0 && sameWeights(candidates)) return leastLoaded(candidates, mine, turn)
  const limit = Math.max(average * by.factor, floor)
  // Without a key any place on the ring is as good as another, and the ring keeps the shares.
  const cold = Math.max(average * by.coldFactor, mine * by.coldFloorRequests)
  const first = firstOnRing(candidates, key || turn, ring, cold)
  if (first === -1) return leastLoaded(candidates, mine, turn)
  return mostSaved(candidates, prompt, limit, first, by.worthwhile)
}

/** Tokens per unit of full weight when this request is in flight as well; 0 = none is usable. */
function averageLoad(candidates: readonly Candidate[], mine: number): number {
  let tokens = mine
  let weights = 0
  for (const one of candidates) {
    if (!one.usable) continue
    tokens += one.tokens
    weights += one.weight
  }
  return weights === 0 ? 0 : (tokens * fullWeight) / weights
}

const fullWeight = 100

function fits(one: Candidate, limit: number): boolean {
  return one.usable && !one.warming && one.tokens * fullWeight <= limit * one.weight
}

function sameWeights(candidates: readonly Candidate[]): boolean {
  for (const { weight } of candidates) if (weight !== candidates[0]!.weight) return false
  return true
}

function firstOnRing(candidates: readonly Candidate[], key: number, ring: Ring, limit: number): number {
  const place = ring.place(key)
  for (let steps = 0; steps < ring.size; steps++) {
    const owner = ring.owner(place, steps)
    if (fits(candidates[owner]!, limit)) return owner
  }
  return -1
}

function mostSaved(
  candidates: readonly Candidate[],
  { blocks }: Prompt,
  limit: number,
  first: number,
  worthwhile: number,
): number {
  let best = first
  let bestMatched = candidates[first]!.matched + blocks.length * worthwhile
  for (let i = 0; i < candidates.length; i++) {
    const one = candidates[i]!
    if (one.matched < bestMatched || !fits(one, limit)) continue
    if (one.matched === bestMatched && (best === first || candidates[best]!.tokens <= one.tokens)) continue
    best = i
    bestMatched = one.matched
  }
  return best
}

function leastLoaded(candidates: readonly Candidate[], mine: number, turn: number): number {
  let best = -1
  let bestLoad = Number.POSITIVE_INFINITY
  for (let n = 0; n < candidates.length; n++) {
    const i = (n + turn) % candidates.length
    const one = candidates[i]!
    if (!one.usable) continue
    // One that is warming up comes last, but comes.
    const load = ((one.tokens + mine) / one.weight) * (one.warming ? warmingPenalty : 1)
    if (load >= bestLoad) continue
    best = i
    bestLoad = load
  }
  return best
}

const warmingPenalty = 1e6
