/**
 * More GPUs per replica, or more replicas (T2)? Goes through the eight conditions of the seed's guide, says of each whether
 * it applies here and by which number, and draws the conclusion. Pure; the numbers are a plan's, see check.ts and pace.ts.
 */
import type { HardwareType } from '../hardware.ts'
import { checkFit, type Fit, type FitWish } from './check.ts'
import { type Pace, paceOn } from './pace.ts'
import type { ModelShape } from './shape.ts'

export type Axis = 'gpus_per_replica' | 'replicas'
export const conditionNames = {
  compute_bound: 'gpus_per_replica',
  memory_intensive: 'gpus_per_replica',
  single_node_scalability: 'gpus_per_replica',
  low_latency: 'gpus_per_replica',
  io_bound: 'replicas',
  request_concurrency: 'replicas',
  fault_tolerance: 'replicas',
  multi_node_scalability: 'replicas',
} as const satisfies Record<string, Axis>
export type ConditionName = keyof typeof conditionNames

export interface Condition {
  condition: ConditionName
  axis: Axis
  applies: boolean
  /** A sentence. */
  why: string
}

export interface Advice {
  recommend: Axis | 'other_hardware'
  /** A sentence that names the conditions that decide. */
  why: string
  /** Units per replica when another number of them is advised; null otherwise. */
  units: number | null
  /** All eight, in the guide's order. */
  conditions: Condition[]
}

export interface Workload {
  /** As many there are at least while awake. */
  replicas: number
  /** Requests at once that must be served; null = nobody said. */
  concurrency: number | null
  /** Somebody wants it quick: the preset `latency`. */
  wantsLatency: boolean
}

/** Tokens of a long but ordinary prompt. */
const longPromptTokens = 8_000
/** A prompt that is read for longer than this keeps its reader waiting. */
const promptMsMaximum = 2_000
/** Slower than a quick reader. */
const tokenMsMaximum = 25
/** Below this the network, the tokeniser and the engine's own work take as long as the GPU. */
const tokenMsOfIo = 3
/** Room for fewer sequences than this is tight whatever the load. */
const sequencesMinimum = 4

interface Scene extends Workload {
  fit: Fit
  pace: Pace | null
  /** The next number of units on which it fits better; null = there is none. */
  next: { units: number; fit: Fit } | null
  /** Where it cannot be shared out over so many: the number nearest below, else above, on which it runs; null = there is none. */
  instead: { units: number } | null
  unitName: string
  /** Of the prompt whose reading was estimated. */
  promptTokens: number
}

export function advise(
  model: ModelShape,
  hardware: HardwareType,
  units: number,
  wish: FitWish,
  workload: Workload,
): Advice {
  const fit = checkFit(model, hardware, units, wish)
  const others = hardware.counts.filter((count) => count !== units).sort((a, b) => a - b)
  const fits = others.map((count) => ({ units: count, fit: checkFit(model, hardware, count, wish) }))
  const larger = fits.filter((one) => one.units > units)
  const smaller = fits.filter((one) => one.units < units && one.fit.verdict !== 'does_not_fit')
  const next = larger.find((one) => one.fit.verdict === 'fits') ?? larger.find((one) => one.fit.verdict === 'risky')
  const promptTokens = Math.min(longPromptTokens, model.contextSize)
  const pace = paceOn(model, hardware, fit.gpus, promptTokens)
  const instead = fit.against === 'split' ? (smaller.at(-1) ?? next ?? null) : null
  const scene: Scene = { ...workload, fit, pace, next: next ?? null, instead, unitName: hardware.slug, promptTokens }
  const conditions = (Object.keys(conditionNames) as ConditionName[]).map((condition): Condition => {
    return { condition, axis: conditionNames[condition], ...judges[condition](scene) }
  })
  return { ...conclude(scene, conditions), conditions }
}

type Judge = (scene: Scene) => Pick<Condition, 'applies' | 'why'>
const says = (applies: boolean, yes: string, no: string) => ({ applies, why: applies ? yes : no })
const unknownPace = { applies: false, why: 'The data sheet of this hardware is not known here.' }

const judges: Record<ConditionName, Judge> = {
  compute_bound: ({ pace, promptTokens }) => {
    if (pace === null) return unknownPace
    const took = `Reading a prompt of ${promptTokens} tokens takes about ${ms(pace.msPerPrompt)}`
    return says(pace.msPerPrompt > promptMsMaximum, `${took}.`, `${took}, which is quick enough.`)
  },
  memory_intensive: ({ fit, concurrency }) => {
    if (fit.verdict === 'does_not_fit') return { applies: fit.against === 'memory', why: fit.why }
    const wanted = concurrency ?? sequencesMinimum
    const room = `There is room for ${fit.concurrency} at once of ${fit.context} tokens`
    if (fit.verdict === 'risky') return { applies: true, why: `${fit.why} ${room}.` }
    const tight = concurrency === null ? 'which is tight' : `and ${wanted} are wanted`
    return says(fit.concurrency < wanted, `${room}, ${tight}.`, `${room}.`)
  },
  single_node_scalability: ({ next, unitName }) =>
    says(
      next !== null,
      `It can be shared out over ${next?.units} × ${unitName} in one machine.`,
      `There is no larger number of ${unitName} in one machine that it can be shared out over.`,
    ),
  low_latency: ({ pace, wantsLatency }) => {
    if (wantsLatency) return { applies: true, why: 'The preset latency asks for it.' }
    if (pace === null) return unknownPace
    const took = `One stream gets a token about every ${ms(pace.msPerToken)}`
    return says(pace.msPerToken > tokenMsMaximum, `${took}.`, `${took}, faster than anybody reads.`)
  },
  io_bound: ({ pace }) => {
    if (pace === null) return unknownPace
    const took = `A token takes the GPUs about ${ms(pace.msPerToken)}`
    return says(pace.msPerToken < tokenMsOfIo, `${took}: what is around them counts as much.`, `${took}.`)
  },
  request_concurrency: ({ fit, concurrency }) => {
    if (concurrency === null) return { applies: false, why: 'Nobody said how many requests there are at once.' }
    const room = `${concurrency} at once are wanted, one replica has room for ${fit.concurrency}`
    return says(fit.verdict !== 'does_not_fit' && concurrency > fit.concurrency, `${room}.`, `${room}.`)
  },
  fault_tolerance: ({ replicas }) =>
    says(replicas < 2, 'With one replica nobody answers while it is replaced.', 'When one is lost the others answer.'),
  multi_node_scalability: ({ fit }) =>
    says(
      fit.verdict !== 'does_not_fit',
      'Each replica holds the whole model: every further one adds as much again, on whichever machine.',
      'A replica like this does not run.',
    ),
}

function conclude(
  { fit, next, instead, unitName, concurrency }: Scene,
  conditions: readonly Condition[],
): Omit<Advice, 'conditions'> {
  const applying = conditions.filter(({ applies }) => applies).map(({ condition }) => condition)
  const because = (axis: Axis) => {
    const names = applying.filter((name) => conditionNames[name] === axis)
    return names.map((name) => name.replaceAll('_', ' ')).join(', ')
  }
  const presses = applying.some((name) => ['memory_intensive', 'low_latency', 'compute_bound'].includes(name))
  if (instead === null && next !== null && presses && !isOnlyMany(applying, fit, concurrency))
    return {
      recommend: 'gpus_per_replica',
      units: next.units,
      why: `More GPUs per replica: ${because('gpus_per_replica')}.`,
    }
  if (instead !== null)
    return {
      recommend: 'gpus_per_replica',
      units: instead.units,
      why: `Another number of GPUs per replica: it cannot be shared out over ${fit.gpus}, and runs on ${instead.units} × ${unitName}.`,
    }
  if (fit.verdict === 'does_not_fit')
    return { recommend: 'other_hardware', units: null, why: notHeld[fit.against ?? 'memory'] }
  return { recommend: 'replicas', units: null, why: `More replicas as the load grows: ${because('replicas')}.` }
}

const notHeld: Record<NonNullable<Fit['against']>, string> = {
  memory: 'No number of these GPUs in one machine holds it.',
  split: 'It cannot be shared out over the GPUs of one such machine.',
  context: 'No hardware helps: the model does not know so long a context.',
}

/** It fits well and is quick; there are just more at once than one replica has room for. */
function isOnlyMany(applying: readonly ConditionName[], fit: Fit, concurrency: number | null): boolean {
  if (fit.verdict !== 'fits' || concurrency === null || fit.concurrency < sequencesMinimum) return false
  return !applying.includes('low_latency') && !applying.includes('compute_bound')
}

function ms(value: number): string {
  return value < 10
    ? `${value.toFixed(1)} ms`
    : value < 1000
      ? `${Math.round(value)} ms`
      : `${(value / 1000).toFixed(1)} s`
}
