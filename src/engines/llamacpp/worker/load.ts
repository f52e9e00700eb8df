/** Brings a model to where it can answer: weights, contexts, and one warm-up step so that the first request is not slow. */

import type { WorkerOptions } from './arguments.ts'
import { Batcher, stepTokens } from './batcher.ts'
import type { Engine } from './generate.ts'
import { Model } from './model.ts'
import { readModelHeader } from './model-header.ts'
import { loadNative, type NativeContext } from './native.ts'
import { Sequences } from './sequences.ts'

export interface LoadProgress {
  phase(phase: 'load' | 'warmup', progress: number): void
  complaint(text: string): void
  broken(reason: string): void
}

/** Throws Error with one sentence for the log. */
export async function loadEngine(options: WorkerOptions, progress: LoadProgress): Promise<Engine> {
  const header = readModelHeader(options.model)
  const native = await loadNative((text) => progress.complaint(text))
  const handle = new native.AddonModel(options.model, {
    addonExports: native,
    gpuLayers: 0,
    useMmap: true,
    onLoadProgress: (part) => progress.phase('load', part),
  })
  if (!(await handle.init())) throw new Error(`llama.cpp cannot load ${options.model}`)
  const contextTokens = options.contextTokens || handle.getTrainContextSize()
  const context = new native.AddonContext(handle, {
    contextSize: contextTokens * options.sequences,
    sequences: options.sequences,
    batchSize: stepTokens,
    // Threads wait for each other at every layer: one core too many for a busy machine makes each step a hundred times slower.
    threads: options.threads || Math.max(1, native.getMathCores() - 1),
    flashAttention: false,
  })
  if (!(await context.init()))
    throw new Error(`there is not enough memory for ${options.sequences} sequences of ${contextTokens} tokens`)
  progress.phase('warmup', 1)
  await warmUp(context, handle.tokenBos() >= 0 ? handle.tokenBos() : 0)
  return {
    model: new Model(native, handle, header),
    batcher: new Batcher(context, (reason) => progress.broken(reason)),
    sequences: new Sequences(options.sequences),
    contextTokens,
  }
}

async function warmUp(context: NativeContext, token: number): Promise<void> {
  context.initBatch(1)
  context.addToBatch(0, 0, Uint32Array.of(token), Uint32Array.of(0))
  await context.decodeBatch()
  context.disposeSequence(0)
}
