/**
 * Does a model fit on hardware, and what would? Pure: shape, memory and wishes in, a verdict with its numbers out. The
 * verdict is a plan's: engines measure for themselves when they start, and say so when they come to another result.
 */
import type { HardwareType } from '../hardware.ts'
import {
  cachePerSequence,
  cachePerToken,
  gib,
  longestIn,
  overheadPerGpu,
  type Split,
  splitObstacle,
  weightsPerGpu,
} from './memory.ts'
import type { ModelShape } from './shape.ts'

export interface FitWish {
  /** Tokens per sequence; null = as many as the model knows. */
  contextTokens: number | null
  /** Sequences of that length at once that there must be room for. */
  sequences: number
  /** Of one element of the cache; null = as the model's own. */
  cacheElementBytes: number | null
  /** Share of a GPU's memory that the engine may take, 0 … 1. */
  memoryShare: number
}

export const usualWish: FitWish = { contextTokens: null, sequences: 1, cacheElementBytes: null, memoryShare: 0.9 }

export type Verdict = 'fits' | 'risky' | 'does_not_fit'

export interface Fit {
  verdict: Verdict
  /** A sentence for people. */
  why: string
  gpus: number
  /** GiB on each GPU. */
  weightsGib: number
  overheadGib: number
  /** For keys and values; negative when not even the weights fit. */
  cacheGib: number
  /** Bytes on each GPU. */
  cachePerToken: number
  /** Tokens of the longest sequence that fits, at most what the model knows. */
  largestContext: number
  /** Sequences of the wanted length at once. */
  concurrency: number
}

/** Slack below which a plan is risky: what is not known beforehand is about that much. */
const riskySlack = 0.05

/** `units` of the hardware for one replica. The hardware must have GPUs. */
export function checkFit(
  model: ModelShape,
  hardware: Pick<HardwareType, 'name' | 'gpusPerUnit' | 'vramGib'>,
  units: number,
  wish: FitWish = usualWish,
): Fit {
  const gpus = hardware.gpusPerUnit * units
  const split: Split = { tensor: gpus, cacheElementBytes: wish.cacheElementBytes }
  const budget = (hardware.vramGib / hardware.gpusPerUnit) * gib * wish.memoryShare
  const weights = weightsPerGpu(model, split)
  const overhead = overheadPerGpu(model, split)
  const cache = budget - weights - overhead
  const context = Math.min(wish.contextTokens ?? model.contextSize, model.contextSize)
  const perSequence = cachePerSequence(model, split, context)
  const needed = perSequence * wish.sequences
  const numbers = {
    gpus,
    weightsGib: weights / gib,
    overheadGib: overhead / gib,
    cacheGib: cache / gib,
    cachePerToken: cachePerToken(model, split),
    largestContext: cache > 0 ? longestIn(model, split, cache) : 0,
    concurrency: cache > 0 && perSequence > 0 ? Math.floor(cache / perSequence) : 0,
  }
  return {
    ...judge(model, gpus, { budget, weights, overhead, cache, needed }, wish, numbers.largestContext),
    ...numbers,
  }
}

function judge(
  model: ModelShape,
  gpus: number,
  bytes: { budget: number; weights: number; overhead: number; cache: number; needed: number },
  wish: FitWish,
  largestContext: number,
): Pick<Fit, 'verdict' | 'why'> {
  const asked = wish.contextTokens
  if (asked !== null && asked > model.contextSize)
    return no(`The model knows contexts of at most ${model.contextSize} tokens, not ${asked}.`)
  const obstacle = splitObstacle(model, gpus)
  if (obstacle !== null) return no(`It does not run on ${gpus} GPUs: ${obstacle}.`)
  const { budget, weights, overhead, cache, needed } = bytes
  if (cache <= 0)
    return no(`Its weights need ${say(weights + overhead)} on each GPU; the engine may use ${say(budget)}.`)
  if (cache < needed) {
    const what = `${wish.sequences === 1 ? 'One sequence' : `${wish.sequences} sequences`} of ${asked ?? model.contextSize} tokens`
    return no(`${what} would need ${say(needed)} on each GPU; ${say(cache)} is left. ${hint(largestContext)}`)
  }
  const slack = (cache - needed) / budget
  if (slack < riskySlack)
    return { verdict: 'risky', why: `It fits with only ${say(cache - needed)} to spare on each GPU.` }
  return { verdict: 'fits', why: `It fits with ${say(cache - needed)} to spare on each GPU.` }
}

export interface HardwareFit {
  hardware: HardwareType
  units: number
  fit: Fit
}

/** The cheapest hardware on offer on which the model fits, in its smallest number; null = none. */
export function cheapestFit(
  model: ModelShape,
  hardware: readonly HardwareType[],
  wish: FitWish = usualWish,
): HardwareFit | null {
  let best: (HardwareFit & { price: bigint }) | null = null
  for (const type of hardware) {
    if (type.gpusPerUnit === 0 || type.price === null) continue
    for (const units of type.counts) {
      const price = type.price * BigInt(units)
      if (best !== null && price >= best.price) continue
      const fit = checkFit(model, type, units, wish)
      if (fit.verdict === 'fits') best = { hardware: type, units, fit, price }
    }
  }
  return best && { hardware: best.hardware, units: best.units, fit: best.fit }
}

function no(why: string): Pick<Fit, 'verdict' | 'why'> {
  return { verdict: 'does_not_fit', why }
}

function hint(largestContext: number): string {
  return largestContext > 0 ? `The longest that fits has ${largestContext} tokens.` : 'Not one token fits.'
}

function say(bytes: number): string {
  return `${(bytes / gib).toFixed(1)} GiB`
}
