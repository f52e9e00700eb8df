/**
 * Brings a model to where it can answer: weights, context, and one warm-up step so that the first request is not slow.
 * Every failure is an Error with one sentence, llama.cpp's own last word behind it.
 */
import { BrokenGguf } from '../../../kernel/gguf.ts'
import { systemClock } from '../../../runtime/clock.ts'
import { type AdapterMakers, Adapters } from './adapters.ts'
import type { CacheType, WorkerOptions } from './arguments.ts'
import { Batcher, stepTokens } from './batcher.ts'
import { Embedder, embeddingTokensMaximum, makesEmbeddings } from './embedder.ts'
import type { Engine } from './generate.ts'
import { Model } from './model.ts'
import { type ModelHeader, readModelHeader } from './model-header.ts'
import { loadNative, logLevel, type Native, type NativeContext, type NativeModel } from './native.ts'
import { Sequences } from './sequences.ts'

/** Weights of at most this size are small: one thread is fastest, exact context memory costs next to nothing. */
export const smallWeightsBytes = 32 * 1024 * 1024
/** ggml's numbers. */
const cacheTypes: Record<CacheType, number> = { f32: 0, f16: 1, q4_0: 2, q8_0: 8 }
/** llama.cpp lays contexts out in steps of this many tokens. */
const contextStepTokens = 256

export interface LoadProgress {
  phase(phase: 'load' | 'warmup', progress: number): void
  broken(reason: string): void
}

export async function loadEngine(options: WorkerOptions, progress: LoadProgress): Promise<Engine> {
  const complaints: string[] = []
  const header = readHeader(options.model)
  const native = await loadNative((text) => complaints.push(text.trim()))
  try {
    return await build(native, header, options, progress)
  } catch (error) {
    // llama.cpp's complaints come through the event loop, a turn after the failure.
    await systemClock.sleep(1)
    const why = complaints.filter(Boolean).at(-1)
    const { message } = error as Error
    throw new Error(why === undefined ? message : `${message} (${why})`, { cause: error })
  } finally {
    // What it might say from here on could hold a part of a request.
    native.setLoggerLogLevel(logLevel.silent)
  }
}

async function build(
  native: Native,
  header: ModelHeader,
  options: WorkerOptions,
  progress: LoadProgress,
): Promise<Engine> {
  const handle = await loadWeights(native, options.model, progress)
  const model = new Model(native, handle, header)
  const contextTokens = options.contextTokens || handle.getTrainContextSize()
  const context = await makeContext(native, handle, contextTokens, options)
  progress.phase('warmup', 1)
  await warmUp(model, context)
  const decoderOf = (context: NativeContext) => ({
    batcher: new Batcher(context, (reason) => progress.broken(reason)),
    sequences: new Sequences(options.sequences),
  })
  const makers: AdapterMakers = {
    loadLora: async (path) => {
      const lora = new native.AddonModelLora(handle, path)
      await handle.loadLora(lora)
      return lora
    },
    makeDecoder: async (loras, scales) => {
      const adapted = await makeContext(native, handle, contextTokens, options)
      adapted.setLoras(loras, scales)
      await warmUp(model, adapted)
      return { ...decoderOf(adapted), dispose: () => adapted.dispose() }
    },
  }
  const embedder = await makeEmbedder(native, model, contextTokens, options)
  return { model, ...decoderOf(context), adapters: new Adapters(makers, options.adapterSets), embedder, contextTokens }
}

async function makeEmbedder(
  native: Native,
  { handle, poolingType }: Model,
  contextTokens: number,
  options: WorkerOptions,
): Promise<Embedder> {
  const tokens = Math.min(contextTokens, embeddingTokensMaximum)
  if (!makesEmbeddings(poolingType)) return new Embedder(null, tokens)
  const contextSize = Math.ceil(tokens / contextStepTokens) * contextStepTokens
  const context = new native.AddonContext(handle, {
    ...contextOptions(native, handle, options),
    contextSize,
    sequences: 1,
    batchSize: contextSize,
    embeddings: true,
  })
  if (!(await context.init())) throw new Error(`there is not enough memory for embeddings of ${tokens} tokens`)
  return new Embedder(context, tokens)
}

function readHeader(path: string): ModelHeader {
  try {
    return readModelHeader(path)
  } catch (error) {
    if (error instanceof BrokenGguf) throw new Error(`not a usable GGUF file: ${error.message}`)
    throw new Error(`the file cannot be read: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
  }
}

async function loadWeights(native: Native, path: string, progress: LoadProgress): Promise<NativeModel> {
  const handle = new native.AddonModel(path, {
    addonExports: native,
    gpuLayers: 0,
    useMmap: true,
    onLoadProgress: (part) => progress.phase('load', part),
  })
  if (!(await handle.init())) throw new Error('llama.cpp refuses it')
  return handle
}

async function makeContext(
  native: Native,
  handle: NativeModel,
  contextTokens: number,
  options: WorkerOptions,
): Promise<NativeContext> {
  const { sequences, cacheTypeK, cacheTypeV } = options
  const perSequence = Math.ceil(contextTokens / contextStepTokens) * contextStepTokens
  const context = new native.AddonContext(handle, {
    ...contextOptions(native, handle, options),
    contextSize: perSequence * sequences,
    sequences,
    batchSize: stepTokens,
  })
  if (await context.init()) return context
  const told = cacheTypeK !== null || cacheTypeV !== null
  const cache = told ? `, or for a cache of ${cacheTypeK ?? 'f16'} keys and ${cacheTypeV ?? 'f16'} values` : ''
  throw new Error(`there is not enough memory for ${sequences} sequences of ${contextTokens} tokens${cache}`)
}

/** How any context of the model computes. */
function contextOptions(native: Native, handle: NativeModel, options: WorkerOptions) {
  const { threads, cacheTypeK, cacheTypeV } = options
  const small = handle.getTotalSize() <= smallWeightsBytes
  // Plain attention is quicker for small models, and exact memory makes their answers repeatable to the last token.
  const usual = small ? 'f32' : null
  const [key, value] = [cacheTypeK ?? usual, cacheTypeV ?? usual]
  // Values of few bits need the other way of computing attention.
  const isPacked = value === 'q8_0' || value === 'q4_0'
  return {
    // Threads wait for each other at every layer. A small model computes a layer in less time than that takes; on a busy
    // machine a second thread makes it hundreds of times slower.
    threads: small ? 1 : threads || Math.max(1, native.getMathCores() - 1),
    flashAttention: isPacked || (small ? false : ('auto' as const)),
    ...(key === null ? {} : { kvCacheKeyType: cacheTypes[key] }),
    ...(value === null ? {} : { kvCacheValueType: cacheTypes[value] }),
  }
}

/** Computes one token and chooses the next, as a request would. */
async function warmUp(model: Model, context: NativeContext): Promise<void> {
  const [token] = model.tokensOfText('Hello')
  const sampler = model.sampler({ temperature: 0, seed: 0 })
  context.initBatch(1)
  const [place] = context.addToBatch(0, 0, Uint32Array.of(token ?? 0), Uint32Array.of(0))
  await context.decodeBatch()
  await context.sampleToken(place!, sampler)
  context.disposeSequence(0)
  sampler.dispose()
}
