/**
 * Memory of a model on GPUs, in bytes. Formulas: vLLM's v1/kv_cache_interface.py (page = heads × block × head size ×
 * element) and SGLang's pool configurator; llama.cpp, which loads GGUF, gives every GPU whole layers instead. The
 * constants for what is neither weights nor cache are ours, for planning, and on the careful side. Pure.
 */
import type { ModelShape } from './shape.ts'

export const gib = 1024 ** 3
const mib = 1024 ** 2

/** How the model lies on the GPUs of one replica. */
export interface Split {
  /** GPUs of one replica. They share every layer, or, of a GGUF, have layers of their own. */
  gpus: number
  /** Of one element of the cache; null = as the model's own. */
  cacheElementBytes: number | null
}

const perBatchedToken = 1.5 * mib
const leastOverhead = 1.5 * gib
const overheadShareOfWeights = 0.03
/** Tokens per page of the cache. */
export const pageTokens = 16

/** Tokens that engines take up at once while they read prompts, unless told: more on larger GPUs. */
const batched = { small: 2_048, smallGib: 40, large: 8_192, largeGib: 80, llamacpp: 512 }

export function isByLayers(model: Pick<ModelShape, 'quantization'>): boolean {
  return model.quantization === 'gguf'
}

/** Layers of the fullest GPU, of as many as are given. */
function layersPerGpu(model: ModelShape, { gpus }: Split, layers: number): number {
  return isByLayers(model) ? Math.ceil(layers / gpus) : layers
}

/** Cache of one token on each GPU, were all layers to look at everything. */
export function cachePerToken(model: ModelShape, split: Split): number {
  return layersPerGpu(model, split, model.layers - model.stateLayers) * cachePerTokenAndLayer(model, split)
}

function cachePerTokenAndLayer(model: ModelShape, { gpus, cacheElementBytes }: Split): number {
  const element = cacheElementBytes ?? model.cacheElementBytes
  // Latent attention is not shared out: every GPU keeps all of it.
  if (model.latentDim !== null) return model.latentDim * element
  const heads = isByLayers(model) ? model.kvHeads : Math.max(1, model.kvHeads / gpus)
  return heads * (model.keyDim + model.valueDim) * element
}

/** Cache of one sequence of so many tokens on each GPU, in whole pages. */
export function cachePerSequence(model: ModelShape, split: Split, tokens: number): number {
  const perLayer = cachePerTokenAndLayer(model, split)
  const full = layersPerGpu(model, split, model.layers - model.stateLayers - model.windowLayers)
  const windowed = layersPerGpu(model, split, model.windowLayers)
  const pages = (length: number) => Math.ceil(length / pageTokens) * pageTokens
  return perLayer * (full * pages(tokens) + windowed * pages(Math.min(tokens, model.window || tokens)))
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

export function weightsPerGpu(model: ModelShape, { gpus }: Split): number {
  return model.weightBytes / gpus
}

/** What each GPU of that memory needs beside weights and cache: the runtime, activations, captured graphs. */
export function overheadPerGpu(model: ModelShape, split: Split, gpuGib: number): number {
  const tokens = isByLayers(model) ? batched.llamacpp : batchedTokens(gpuGib)
  return Math.max(leastOverhead, overheadShareOfWeights * weightsPerGpu(model, split)) + perBatchedToken * tokens
}

/** Of the engine's process itself, beside what it computes with. */
const leastOverheadOnCpu = 0.25 * gib
/** Values of one token under way, for each of the model's width. */
const perBatchedWidth = 128

/** What llama.cpp on a CPU needs beside weights and cache: its process, and the buffers of a step. */
export function overheadOnCpu(model: ModelShape): number {
  const step = batched.llamacpp * model.hiddenSize * perBatchedWidth
  return leastOverheadOnCpu + overheadShareOfWeights * model.weightBytes + step
}

/** In proportion between a small GPU and a large one, so that more memory never fits less. */
function batchedTokens(gpuGib: number): number {
  const { small, smallGib, large, largeGib } = batched
  const share = (gpuGib - smallGib) / (largeGib - smallGib)
  return small + (large - small) * Math.min(1, Math.max(0, share))
}

/** Why the model cannot be shared out over so many GPUs, in words; null = it can. */
export function splitObstacle(model: ModelShape, gpus: number): string | null {
  const { heads, kvHeads, quantBlock } = model
  // Whole layers go anywhere; with fewer layers than GPUs some stay idle.
  if (isByLayers(model)) return null
  if (heads % gpus !== 0) return `its ${heads} attention heads cannot be shared out over ${gpus} GPUs`
  if (model.latentDim === null) {
    const even = kvHeads >= gpus ? kvHeads % gpus === 0 : gpus % kvHeads === 0
    if (!even) return `its ${kvHeads} heads of keys and values cannot be shared out over ${gpus} GPUs`
  }
  const widths = [model.intermediateSize, model.expertSize].filter((width) => width > 0)
  if (quantBlock > 0 && widths.some((width) => (width / gpus) % quantBlock !== 0))
    return `its weights are quantised in blocks of ${quantBlock}, which ${gpus} GPUs would cut`
  return null
}
