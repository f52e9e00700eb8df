/** A request's sampling in llama.cpp's terms. Pure. */
import type { SamplerConfig, Token } from './native.ts'
import type { Sampling } from './request.ts'

/** llama.cpp takes this seed to mean "choose one yourself". */
const seedThatIsNone = 0xffffffff

export interface SamplerInput {
  sampling: Sampling
  /** Used when the request has none; 32 bits. */
  freshSeed: number
  contextTokens: number
  /** Tokens that must never be chosen. */
  never: Iterable<Token>
  grammarState: object | null
}

export function samplerConfig(input: SamplerInput): SamplerConfig {
  const { sampling } = input
  const config: SamplerConfig = {
    temperature: sampling.temperature,
    seed: usableSeed(sampling.seed ?? input.freshSeed),
  }
  // A sampler that changes nothing is left out: it would only sort the whole vocabulary.
  if (sampling.topK > 0) config.topK = sampling.topK
  if (sampling.topP < 1) config.topP = sampling.topP
  if (sampling.minP > 0) config.minP = sampling.minP
  if (input.grammarState) config.grammarEvaluationState = input.grammarState
  addPenalties(config, sampling, input.contextTokens)
  addBiases(config, sampling.bias, input.never)
  return config
}

function addPenalties(config: SamplerConfig, sampling: Sampling, contextTokens: number): void {
  if (sampling.presencePenalty === 0 && sampling.frequencyPenalty === 0 && sampling.repetitionPenalty === 1) return
  config.repeatPenaltyTokens = new Uint32Array(0)
  config.repeatPenaltyMaxTokens = contextTokens
  config.repeatPenalty = sampling.repetitionPenalty
  config.repeatPenaltyPresencePenalty = sampling.presencePenalty
  config.repeatPenaltyFrequencyPenalty = sampling.frequencyPenalty
}

function addBiases(config: SamplerConfig, bias: ReadonlyMap<number, number>, never: Iterable<Token>): void {
  const all = new Map(bias)
  for (const token of never) all.set(token, Number.NEGATIVE_INFINITY)
  if (all.size === 0) return
  config.tokenBiasKeys = Uint32Array.from(all.keys())
  config.tokenBiasValues = Float32Array.from(all.values())
}

/** Any whole number to 32 bits. */
function usableSeed(seed: number): number {
  const bits = Number(BigInt.asUintN(32, BigInt(seed)))
  return bits === seedThatIsNone ? seedThatIsNone - 1 : bits
}
