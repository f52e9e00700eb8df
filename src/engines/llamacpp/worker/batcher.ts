/**
 * The decode loop. All running requests share each step on the device: one new token for those that are writing, a
 * stretch of the prompt for those that are still reading. Between two steps, and only there, requests come and go; so
 * an abort takes effect within one step, and memory on the device is never touched while it computes.
 */
import { Fault } from '../../../kernel/fault.ts'
import type { NativeContext, NativeSampler, Token } from './native.ts'
import { type Sequence, sharedLength } from './sequences.ts'

/** What it needs of a context. */
export type Device = Omit<NativeContext, 'init' | 'setLoras' | 'dispose' | 'getEmbedding'>

export interface Run {
  sequence: Sequence
  prompt: Uint32Array
  sampler: NativeSampler
  signal: AbortSignal
  /** Called once, before the first step: how many prompt tokens were held already. */
  begin(cachedTokens: number): void
  /** Called for each new token; false = that was the last one. Must not throw. */
  token(token: Token): boolean
}

interface Active {
  run: Run
  /** Tokens to be computed: the rest of the prompt, or the last token chosen. */
  ahead: Uint32Array
  begun: boolean
  end(fault?: Fault): void
}

/** Tokens per step. Larger steps read prompts faster; smaller ones keep the others writing and aborts quick. */
export const stepTokens = 256
/** Steps that may fail one after another before the engine counts as broken. */
const failuresMaximum = 3

export class Batcher {
  readonly #context: Device
  readonly #onBroken: (reason: string) => void
  readonly #active = new Set<Active>()
  #turning = false
  #failures = 0

  /** `onBroken` is called when the device fails repeatedly: the process should end. */
  constructor(context: Device, onBroken: (reason: string) => void) {
    this.#context = context
    this.#onBroken = onBroken
  }

  /** Runs until `token` returns false or the signal aborts. Rejects with Fault `engine_failed`. */
  run(run: Run): Promise<void> {
    return new Promise((resolve, reject) => {
      const active: Active = {
        run,
        ahead: run.prompt,
        begun: false,
        end: (fault) => {
          this.#active.delete(active)
          if (fault) reject(fault)
          else resolve()
        },
      }
      this.#active.add(active)
      void this.#turns()
    })
  }

  async #turns(): Promise<void> {
    if (this.#turning) return
    this.#turning = true
    while (this.#active.size > 0) await this.#turn()
    this.#turning = false
  }

  async #turn(): Promise<void> {
    for (const active of this.#active) if (active.run.signal.aborted) active.end()
    const step = [...this.#active]
    if (step.length === 0) return
    try {
      for (const active of step) if (!active.begun) this.#begin(active)
      const chosen = await this.#compute(step)
      this.#failures = 0
      for (const [active, token] of chosen) this.#deliver(active, token)
    } catch (error) {
      this.#fail(step, error)
    }
  }

  #begin(active: Active): void {
    const { sequence, prompt } = active.run
    // At least one token must be computed, else there is nothing to choose the next one from.
    const shared = Math.min(sharedLength(sequence.cells, prompt), prompt.length - 1)
    if (sequence.cells.length > shared) this.#forgetFrom(sequence, shared)
    active.ahead = prompt.subarray(sequence.cells.length)
    active.begun = true
    active.run.begin(sequence.cells.length)
  }

  #forgetFrom(sequence: Sequence, position: number): void {
    const partly = position > 0 && this.#context.removeTokenCellsFromSequence(sequence.id, position, -1)
    if (!partly) this.#context.disposeSequence(sequence.id)
    sequence.cells.length = partly ? position : 0
  }

  async #compute(step: Active[]): Promise<Array<[Active, Token]>> {
    const shares = shareStep(
      step.map((active) => active.ahead.length),
      stepTokens,
    )
    this.#context.initBatch(shares.reduce((sum, share) => sum + share, 0))
    const places = step.map((active, i) => this.#add(active, shares[i]!))
    await this.#context.decodeBatch()
    step.forEach((active, i) => {
      for (const token of active.ahead.subarray(0, shares[i])) active.run.sequence.cells.push(token)
      active.ahead = active.ahead.subarray(shares[i])
    })
    return this.#choose(step.map((active, i) => [active, places[i]!]))
  }

  /** Where the logits will be; null while the prompt is not read to its end. */
  #add(active: Active, share: number): number | null {
    const { sequence } = active.run
    const last = share === active.ahead.length
    const wanted = last ? Uint32Array.of(share - 1) : new Uint32Array(0)
    const tokens = active.ahead.slice(0, share)
    const [place] = this.#context.addToBatch(sequence.id, sequence.cells.length, tokens, wanted)
    return place ?? null
  }

  async #choose(step: Array<[Active, number | null]>): Promise<Array<[Active, Token]>> {
    const ready = step.filter((entry): entry is [Active, number] => entry[1] !== null)
    const choose = async ([active, place]: [Active, number]): Promise<[Active, Token]> => [
      active,
      await this.#context.sampleToken(place, active.run.sampler),
    ]
    // The first look at the logits puts them in order, which must not happen twice at once.
    const first = ready.length > 0 ? [await choose(ready[0]!)] : []
    return [...first, ...(await Promise.all(ready.slice(1).map(choose)))]
  }

  #deliver(active: Active, token: Token): void {
    if (token < 0) active.end(new Fault('engine_failed', 'The engine could not choose a next token.'))
    else if (active.run.signal.aborted || !active.run.token(token)) active.end()
    else active.ahead = Uint32Array.of(token)
  }

  #fail(step: Active[], error: unknown): void {
    for (const active of step) {
      this.#forgetFrom(active.run.sequence, 0)
      active.end(new Fault('engine_failed', 'The engine failed while computing.', { cause: error }))
    }
    this.#failures += 1
    if (this.#failures >= failuresMaximum) this.#onBroken(String((error as Error)?.message ?? error))
  }
}

/** Divides a step: everyone gets one token, what is left goes evenly to those with more ahead. Pure. */
export function shareStep(ahead: readonly number[], size: number): number[] {
  const shares = ahead.map((tokens) => Math.min(tokens, 1))
  let left = size - shares.reduce((sum, share) => sum + share, 0)
  for (;;) {
    const hungry = ahead.flatMap((tokens, i) => (tokens > shares[i]! ? [i] : []))
    if (hungry.length === 0 || left < hungry.length) return shares
    const portion = Math.floor(left / hungry.length)
    for (const i of hungry) {
      const more = Math.min(portion, ahead[i]! - shares[i]!)
      shares[i]! += more
      left -= more
    }
  }
}
