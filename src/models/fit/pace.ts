/**
 * How quick a model can be on hardware, estimated from what bounds it: reading a prompt by arithmetic, writing a token by
 * reading the weights from memory. For advice, not for promises: nothing here was measured. Pure.
 */
import type { HardwareType } from '../hardware.ts'
import type { ModelShape } from './shape.ts'

/** Of what the data sheet says, as good engines reach it. */
const arithmeticShare = 0.4
const memoryShare = 0.6

export interface Pace {
  /** ms for one token of one sequence. */
  msPerToken: number
  /** ms to read a prompt of `promptTokens`. */
  msPerPrompt: number
}

/** null = the data sheet of the hardware is not known. */
export function paceOn(
  model: ModelShape,
  hardware: Pick<HardwareType, 'gpuBandwidth' | 'gpuTeraflops'>,
  gpus: number,
  promptTokens: number,
): Pace | null {
  const { gpuBandwidth, gpuTeraflops } = hardware
  if (gpuBandwidth === null || gpuTeraflops === null) return null
  const { active, all } = parameters(model)
  const readBytes = model.weightBytes * Math.min(1, active / all)
  return {
    msPerToken: (readBytes / (gpus * gpuBandwidth * 1e12 * memoryShare)) * 1000,
    msPerPrompt: ((2 * active * promptTokens) / (gpus * gpuTeraflops * 1e12 * arithmeticShare)) * 1000,
  }
}

/** Weights in the layers: all of them, and those at work for one token. Embeddings are left out. */
function parameters(model: ModelShape): { active: number; all: number } {
  const { hiddenSize, heads, kvHeads, keyDim, valueDim, layers, experts } = model
  const attention = hiddenSize * (heads * (keyDim + valueDim) + kvHeads * (keyDim + valueDim))
  const width = experts > 0 && model.expertSize > 0 ? model.expertSize : model.intermediateSize
  const one = 3 * hiddenSize * width
  const atWork = experts > 0 ? Math.max(1, model.expertsAtWork) : 1
  return { active: layers * (attention + atWork * one), all: layers * (attention + Math.max(1, experts) * one) }
}
