/**
 * Brings a model to where it can answer: weights, context, and one warm-up step so that the first request is not slow.
 * Every failure is an Error with one sentence, llama.cpp's own last word behind it.
 */
import { BrokenGguf } from '../../../kernel/gguf.ts'
import { systemClock } from '../../../runtime/clock.ts'
import { type AdapterMakers, Adapters } from './adapters.ts'
import type { WorkerOptions } from './arguments.ts'
import { Batcher, stepTokens } from './batcher.ts'
import type { Engine } from './generate.ts'
import { Model } from './model.ts'
import { type ModelHeader, readModelHeader } from './model-header.ts'
import { loadNative, logLevel, type Native, type NativeContext, type NativeModel } from './native.ts'
import { Sequences } from './sequences.ts'

/** Weights of at most this size are small: one thread is fastest, exact context memory costs next to nothing. */
export const smallWeightsBytes = 32 * 1024 * 1024
const typeF32 = 0
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
  return { model, ...decoderOf(context), adapters: new Adapters(makers, options.adapterSets), contextTokens }
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
  { sequences, threads }: WorkerOptions,
): Promise<NativeContext> {
  const small = handle.getTotalSize() <= smallWeightsBytes
  const perSequence = Math.ceil(contextTokens / contextStepTokens) * contextStepTokens
  const context = new native.AddonContext(handle, {
    contextSize: perSequence * sequences,
    sequences,
    batchSize: stepTokens,
    // Threads wait for each other at every layer. A small model computes a layer in less time than that takes; on a busy
    // machine a second thread makes it hundreds of times slower.
    threads: small ? 1 : threads || Math.max(1, native.getMathCores() - 1),
    // Plain attention is quicker for small models, and exact memory makes their answers repeatable to the last token.
    flashAttention: small ? false : 'auto',
    ...(small ? { kvCacheKeyType: typeF32, kvCacheValueType: typeF32 } : {}),
  })
  if (!(await context.init()))
    throw new Error(`there is not enough memory for ${sequences} sequences of ${contextTokens} tokens`)
  return context
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
