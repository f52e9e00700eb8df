/**
 * Memory of a model on GPUs, in bytes. Formulas: vLLM's v1/kv_cache_interface.py (page = heads × block × head size ×
 * element) and SGLang's pool configurator; the constants for what is neither weights nor cache are ours, for planning,
 * and on the careful side. Pure.
 */
import type { ModelShape } from './shape.ts'

export const gib = 1024 ** 3
const mib = 1024 ** 2

/** How the model lies on the GPUs of one replica. */
export interface Split {
  /** Tensor parallel: GPUs that share every layer. */
  tensor: number
  /** Of one element of the cache; null = as the model's own. */
  cacheElementBytes: number | null
}

/** Tokens that an engine takes up at once while it reads prompts; what it needs for that grows with it. */
const batchedTokens = 8_192
const perBatchedToken = 1.5 * mib
const leastOverhead = 1.5 * gib
const overheadShareOfWeights = 0.03
/** Tokens per page of the cache. */
export const pageTokens = 16

/** Cache of one token on each GPU, were all layers to look at everything. */
export function cachePerToken(model: ModelShape, split: Split): number {
  return (model.layers - model.stateLayers) * cachePerTokenAndLayer(model, split)
}

function cachePerTokenAndLayer(model: ModelShape, { tensor, cacheElementBytes }: Split): number {
  const element = cacheElementBytes ?? model.cacheElementBytes
  // Latent attention is not shared out: every GPU keeps all of it.
  if (model.latentDim !== null) return model.latentDim * element
  return Math.max(1, model.kvHeads / tensor) * (model.keyDim + model.valueDim) * element
}

/** Cache of one sequence of so many tokens on each GPU, in whole pages. */
export function cachePerSequence(model: ModelShape, split: Split, tokens: number): number {
  const perLayer = cachePerTokenAndLayer(model, split)
  const full = model.layers - model.stateLayers - model.windowLayers
  const pages = (length: number) => Math.ceil(length / pageTokens) * pageTokens
  return perLayer * (full * pages(tokens) + model.windowLayers * pages(Math.min(tokens, model.window || tokens)))
}

/** Tokens of the longest sequence that `bytes` of cache hold, in whole pages. */
export function longestIn(model: ModelShape, split: Split, bytes: number): number {
  let [low, high] = [0, Math.ceil(model.contextSize / pageTokens)]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (cachePerSequence(model, split, middle * pageTokens) <= bytes) low = middle
    else high = middle - 1
  }
  return Math.min(low * pageTokens, model.contextSize)
}

export function weightsPerGpu(model: ModelShape, { tensor }: Split): number {
  return model.weightBytes / tensor
}

/** What each GPU needs beside weights and cache: the runtime, activations, captured graphs. */
export function overheadPerGpu(model: ModelShape, split: Split): number {
  return Math.max(leastOverhead, overheadShareOfWeights * weightsPerGpu(model, split)) + perBatchedToken * batchedTokens
}

/** Why the model cannot be shared out over so many GPUs, in words; null = it can. */
export function splitObstacle(model: ModelShape, tensor: number): string | null {
  const { heads, kvHeads, intermediateSize, quantBlock } = model
  if (heads % tensor !== 0) return `its ${heads} attention heads cannot be shared out over ${tensor} GPUs`
  if (model.latentDim === null) {
    const even = kvHeads >= tensor ? kvHeads % tensor === 0 : tensor % kvHeads === 0
    if (!even) return `its ${kvHeads} heads of keys and values cannot be shared out over ${tensor} GPUs`
  }
  if (quantBlock > 0 && (intermediateSize / tensor) % quantBlock !== 0)
    return `its weights are quantised in blocks of ${quantBlock}, which ${tensor} GPUs would cut`
  return null
}
