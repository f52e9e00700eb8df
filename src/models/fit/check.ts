/**
 * Does a model fit on hardware, and what would? Pure: shape, memory and wishes in, a verdict with its numbers out. The
 * verdict is a plan's: engines measure for themselves when they start, and say so when they come to another result.
 */
import type { HardwareType } from '../hardware.ts'
import {
  cachePerSequence,
  cachePerToken,
  gib,
  isByLayers,
  longestIn,
  overheadOnCpu,
  overheadPerGpu,
  type Split,
  splitObstacle,
  weightsPerGpu,
} from './memory.ts'
import type { ModelShape } from './shape.ts'

export interface FitWish {
  /** Tokens per sequence; null = as many as the model knows, or as there is room for. */
  contextTokens: number | null
  /** Sequences of that length at once that there must be room for. */
  sequences: number
  /** Of one element of the cache; null = as the model's own. */
  cacheElementBytes: number | null
  /** Tokens of another context beside them; absent = there is none. */
  besideTokens?: number
  /** Share of a GPU's memory, or of the machine's, that the engine may take, 0 … 1. */
  memoryShare: number
  /** Of the weights as they are stored, once they are loaded: less than 1 where the engine makes them smaller. */
  weightShare: number
}

export const usualWish: FitWish = {
  contextTokens: null,
  sequences: 1,
  cacheElementBytes: null,
  memoryShare: 0.9,
  weightShare: 1,
}

type Hardware = Pick<HardwareType, 'name' | 'gpusPerUnit' | 'vramGib'>

/**
 * On a CPU only what llama.cpp runs is checked, and only where its memory is known: other engines set theirs aside in
 * ways of their own.
 */
export function canCheck(model: ModelShape, { gpusPerUnit, vramGib }: Hardware): boolean {
  return gpusPerUnit > 0 || (vramGib > 0 && isByLayers(model))
}

export type Verdict = 'fits' | 'risky' | 'does_not_fit'

export interface Fit {
  verdict: Verdict
  /** A sentence for people. */
  why: string
  /** What stands against it: no memory, a number of GPUs that it cannot be shared out over, or a context that it does not know. */
  against: 'memory' | 'split' | 'context' | null
  /** 0 = a CPU: what is said of each GPU is said of the machine. */
  gpus: number
  /** GiB on each GPU. */
  weightsGib: number
  overheadGib: number
  /** For keys and values; negative when not even the weights fit. */
  cacheGib: number
  /** Bytes on each GPU. */
  cachePerToken: number
  /** Tokens per sequence that it would be started with: what was asked, else the model's own or what there is room for. */
  context: number
  /** Tokens of the longest sequence that fits, at most what the model knows. */
  largestContext: number
  /** Sequences of `context` tokens at once. */
  concurrency: number
}

/** Slack below which a plan is risky: what is not known beforehand is about that much. */
const riskySlack = 0.05
/** Where nobody asked for a length, a model that has room for less than this is no use. */
const leastContext = 4_096

interface Room {
  /** Bytes on each GPU. */
  budget: number
  weights: number
  overhead: number
  /** What is left for keys and values. */
  cache: number
  largestContext: number
}

/** `units` of the hardware for one replica; see `canCheck`. */
export function checkFit(stored: ModelShape, hardware: Hardware, units: number, wish: FitWish = usualWish): Fit {
  const model = { ...stored, weightBytes: stored.weightBytes * wish.weightShare }
  const gpus = hardware.gpusPerUnit * units
  const split: Split = { gpus: Math.max(1, gpus), cacheElementBytes: wish.cacheElementBytes }
  const room = roomOn(model, split, hardware, wish)
  const { weights, overhead, cache, largestContext } = room
  const context = contextOf(model, wish, largestContext)
  const perSequence = cachePerSequence(model, split, context)
  return {
    ...(impossible(model, gpus, room, wish) ?? judge(model, gpus, room, wish, context, perSequence * wish.sequences)),
    gpus,
    weightsGib: weights / gib,
    overheadGib: overhead / gib,
    cacheGib: cache / gib,
    cachePerToken: cachePerToken(model, split),
    context,
    largestContext,
    // A model that keeps states alone has no cache to run out of.
    concurrency: cache <= 0 ? 0 : perSequence > 0 ? Math.floor(cache / perSequence) : statesAtOnce,
  }
}

const statesAtOnce = 256

function roomOn(model: ModelShape, split: Split, { vramGib, gpusPerUnit }: Hardware, wish: FitWish): Room {
  const deviceGib = vramGib / Math.max(1, gpusPerUnit)
  const budget = deviceGib * gib * wish.memoryShare
  const weights = weightsPerGpu(model, split)
  const engine = gpusPerUnit === 0 ? overheadOnCpu(model) : overheadPerGpu(model, split, deviceGib)
  const overhead = engine + cachePerSequence(model, split, wish.besideTokens ?? 0)
  const cache = budget - weights - overhead
  return { budget, weights, overhead, cache, largestContext: cache > 0 ? longestIn(model, split, cache) : 0 }
}

function contextOf(model: ModelShape, { contextTokens }: FitWish, largestContext: number): number {
  if (contextTokens !== null) return Math.min(contextTokens, model.contextSize)
  const useful = largestContext >= Math.min(leastContext, model.contextSize)
  return useful ? Math.min(largestContext, model.contextSize) : model.contextSize
}

function impossible(model: ModelShape, gpus: number, { budget, weights, overhead, cache }: Room, wish: FitWish) {
  const asked = wish.contextTokens
  if (asked !== null && asked > model.contextSize)
    return no('context', `The model knows contexts of at most ${model.contextSize} tokens, not ${asked}.`)
  const obstacle = gpus === 0 ? null : splitObstacle(model, gpus)
  if (obstacle !== null) return no('split', `It does not run on ${gpus} GPUs: ${obstacle}.`)
  if (cache > 0) return null
  return no('memory', `Its weights need ${say(weights + overhead)}${onEach(gpus)}; the engine may use ${say(budget)}.`)
}

function onEach(gpus: number): string {
  return gpus === 0 ? ' of memory' : ' on each GPU'
}

function judge(
  model: ModelShape,
  gpus: number,
  { budget, cache, largestContext }: Room,
  wish: FitWish,
  context: number,
  needed: number,
) {
  if (cache < needed) {
    const what = wish.sequences === 1 ? 'One sequence' : `${wish.sequences} sequences`
    const left = `${what} of ${context} tokens would need ${say(needed)}${onEach(gpus)}; ${say(cache)} is left.`
    return no('memory', `${left} ${hint(largestContext)}`)
  }
  if (context < model.contextSize && wish.contextTokens === null)
    return risky(`Its whole context of ${model.contextSize} tokens does not fit; ${context} tokens do.`)
  const spare = `${say(cache - needed)}${gpus === 0 ? ' of memory' : ''} to spare${gpus === 0 ? '' : onEach(gpus)}`
  return (cache - needed) / budget < riskySlack
    ? risky(`It fits with only ${spare}.`)
    : { verdict: 'fits' as const, against: null, why: `It fits with ${spare}.` }
}

export interface HardwareFit {
  hardware: HardwareType
  units: number
  fit: Fit
  /** Of one replica, an hour, in micro-USD. */
  price: bigint
}

/** Every hardware on offer in every number, cheapest first; where it costs the same, what fits better comes first. */
export function fitsOn(model: ModelShape, hardware: readonly HardwareType[], wish: FitWish = usualWish): HardwareFit[] {
  const offered = hardware.flatMap((type) => (type.price === null || !canCheck(model, type) ? [] : [type]))
  return offered
    .flatMap((type) =>
      type.counts.map((units) => {
        return { hardware: type, units, fit: checkFit(model, type, units, wish), price: type.price! * BigInt(units) }
      }),
    )
    .sort((a, b) => (a.price < b.price ? -1 : a.price > b.price ? 1 : rank[a.fit.verdict] - rank[b.fit.verdict]))
}

const rank: Record<Verdict, number> = { fits: 0, risky: 1, does_not_fit: 2 }

/** The cheapest hardware on offer on which the model fits; null = none. */
export function cheapestFit(
  model: ModelShape,
  hardware: readonly HardwareType[],
  wish: FitWish = usualWish,
): HardwareFit | null {
  return fitsOn(model, hardware, wish).find(({ fit }) => fit.verdict === 'fits') ?? null
}

type Judged = Pick<Fit, 'verdict' | 'why' | 'against'>

function no(against: Fit['against'], why: string): Judged {
  return { verdict: 'does_not_fit', against, why }
}

function risky(why: string): Judged {
  return { verdict: 'risky', against: null, why }
}

function hint(largestContext: number): string {
  return largestContext > 0 ? `The longest that fits has ${largestContext} tokens.` : 'Not one token fits.'
}

function say(bytes: number): string {
  return `${(bytes / gib).toFixed(1)} GiB`
}
