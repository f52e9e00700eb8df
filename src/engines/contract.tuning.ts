/**
 * What a preset asks of an engine, in words that hold for all of them, and how an engine answers: with arguments of its
 * own, and with sentences on what it leaves out. The words are kept in the spec, not the arguments: what else the
 * deployment has (adapters, a GPU of another make) decides only when it is launched. Pure.
 */
import type { EngineSpec, GpuVendor } from './contract.ts'

export interface Tuning {
  /** `many`: as much as possible for all requests together. `few`: each request as fast as possible. */
  batch?: 'many' | 'few'
  /** Guesses ahead, by what the prompt says, and checks several tokens at once. Needs no second model. */
  guess?: true
  /** Weights and cache in 8 bits, where the weights are stored in more. */
  eightBit?: true
}

/** What besides the wishes decides. */
export interface TuningGround {
  version?: string
  /** It is started with room for LoRA adapters. */
  adapters: boolean
  /** Of the weights as stored; null = in 16 bits or more, or not known. */
  quantization: string | null
  /** null = runs on the CPU. */
  gpu: GpuVendor | null
}

export interface Tuned {
  /** Name and value; null = it has none. */
  args: [name: string, value: string | null][]
  /** Sequences at once, where the spec does not say it. */
  sequences?: number
  /** What was wished and is left out, and why: a sentence each. */
  left: string[]
}

export type Tune = (tuning: Tuning, ground: TuningGround) => Tuned

/** The arguments as a launch line has them: those that somebody added themselves are theirs alone. */
export function tunedArgs({ args }: Tuned, added: readonly string[]): string[] {
  return args.flatMap(([name, value]) => (added.includes(name) ? [] : value === null ? [name] : [name, value]))
}

/** What a launch will be started with as far as it is known before the ground is: the wish for few sequences. */
export function tunedLimits(
  { maxModelLen, maxNumSeqs, tuning }: EngineSpec,
  model: { contextSize: number },
  { tune, sequencesDefault }: { tune: Tune; sequencesDefault: number },
): { contextTokens: number; sequences: number } {
  const few = tuning?.batch === 'few' ? tune({ batch: 'few' }, unknownGround).sequences : undefined
  return { contextTokens: maxModelLen ?? model.contextSize, sequences: maxNumSeqs ?? few ?? sequencesDefault }
}

const unknownGround: TuningGround = { adapters: false, quantization: null, gpu: null }
