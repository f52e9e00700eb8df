/**
 * Texts to vectors, where the model's file says how (its pooling). One context of one sequence beside the one that
 * writes, one text at a time: the module gives the vector of the first sequence alone. A text is one step, for models that
 * look both ways need all of it at once; so it is bounded by what a step may take in memory.
 */
import { Fault } from '../../../kernel/fault.ts'
import type { NativeContext } from './native.ts'
import { shortened } from './shortened-vector.ts'

/** Longest text, in tokens. */
export const embeddingTokensMaximum = 2_048
/** Requests that may wait; more are refused with 503. */
export const embeddingWaitingMaximum = 128

const pooling = { none: 0, rank: 4 } as const

/** What it needs of a context. */
export type EmbeddingDevice = Pick<
  NativeContext,
  'initBatch' | 'addToBatch' | 'decodeBatch' | 'getEmbedding' | 'disposeSequence'
>

/** Whether a model's file says that it makes vectors. Ranks are not vectors. */
export function makesEmbeddings(poolingType: number): boolean {
  return poolingType > pooling.none && poolingType !== pooling.rank
}

export class Embedder {
  readonly #device: EmbeddingDevice | null
  readonly tokensMaximum: number
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()

  /** null: the model makes none. */
  constructor(device: EmbeddingDevice | null, tokensMaximum: number) {
    this.#device = device
    this.tokensMaximum = tokensMaximum
  }

  get waiting(): number {
    return this.#waiting
  }

  /** Throws Fault `engine_unsupported` when the model makes none. */
  require(): void {
    if (this.#device !== null) return
    const why =
      "Pooling type 'none' is not OAI compatible: the file of this model names no pooling, it makes no embeddings."
    throw new Fault('engine_unsupported', why, { detail: { param: 'model' } })
  }

  /**
   * A vector of length 1 for each, in their order, of the first `count` numbers. Throws Faults `engine_unsupported`, `unavailable`, `client_closed` and
   * `engine_failed`.
   */
  async embed(inputs: readonly Uint32Array[], count: number, signal: AbortSignal): Promise<Float32Array[]> {
    this.require()
    if (this.#waiting >= embeddingWaitingMaximum)
      throw new Fault('unavailable', `The engine is busy: ${embeddingWaitingMaximum} requests are waiting already.`, {
        retryAfterSeconds: 1,
      })
    this.#waiting += 1
    const vectors: Float32Array[] = []
    try {
      // A turn for each text: a request of many does not keep the others waiting for all of them.
      for (const tokens of inputs) vectors.push(shortened(await this.#inTurn(tokens, signal), count))
      return vectors
    } finally {
      this.#waiting -= 1
    }
  }

  #inTurn(tokens: Uint32Array, signal: AbortSignal): Promise<Float64Array> {
    const result = this.#last.then(() => {
      if (signal.aborted) throw new Fault('client_closed', 'The client has left.')
      return one(this.#device!, tokens)
    })
    this.#last = result.catch(() => {})
    return result
  }
}

async function one(device: EmbeddingDevice, tokens: Uint32Array): Promise<Float64Array> {
  try {
    device.initBatch(tokens.length)
    device.addToBatch(0, 0, tokens, Uint32Array.of(tokens.length - 1))
    await device.decodeBatch()
    return device.getEmbedding(tokens.length)
  } catch (error) {
    throw new Fault('engine_failed', 'The engine failed while computing.', { cause: error })
  } finally {
    device.disposeSequence(0)
  }
}
