/** One request from text to text: tokens in, a sequence lent, tokens out, exact usage. */
import { Fault } from '../../../kernel/fault.ts'
import { randomSeed } from '../../../runtime/ids.ts'
import type { FinishReason, Usage } from '../../contract.answer.ts'
import type { Adapters } from './adapters.ts'
import { AnswerText } from './answer-text.ts'
import type { Batcher } from './batcher.ts'
import { grammarOf } from './json-grammar.ts'
import type { Model } from './model.ts'
import type { Token } from './native.ts'
import type { EngineRequest } from './request.ts'
import { samplerConfig } from './sampling.ts'
import type { Sequences } from './sequences.ts'

/** One context: its sequences and the loop that computes them. */
export interface Decoder {
  batcher: Batcher
  sequences: Sequences
}

export interface Engine extends Decoder {
  model: Model
  adapters: Adapters
  /** Tokens per sequence. */
  contextTokens: number
}

export interface Progress {
  /** A sequence is there; `usage` says how much of the prompt it held already. */
  begun(usage: Usage): void
  /** After each token: the text that may be sent now, '' while it is held back. */
  token(text: string, usage: Usage): void
}

/**
 * Runs a request to its end, with the adapters that it asks for. Throws Fault `context_length_exceeded` before any work, `invalid_request`,
 * `engine_unsupported`, `unavailable` when the line is full, `client_closed` when the signal aborts, `engine_failed`.
 */
export async function generate(
  engine: Engine,
  request: EngineRequest,
  signal: AbortSignal,
  progress: Progress,
): Promise<{ finish: FinishReason; usage: Usage }> {
  const { model } = engine
  const prompt =
    request.input.kind === 'chat'
      ? model.tokensOfChat(request.input.messages)
      : model.tokensOfText(request.input.prompt)
  const limit = tokenLimit(prompt.length, request, engine.contextTokens)
  const grammarState = grammarStateOf(model, request)
  const { adapters } = request
  if (adapters === null) return compute(engine, engine, { request, prompt, limit, grammarState, signal, progress })
  const lent = await engine.adapters.lend(adapters)
  try {
    return await compute(engine, lent.decoder, { request, prompt, limit, grammarState, signal, progress })
  } finally {
    lent.giveBack()
  }
}

interface Work {
  request: EngineRequest
  prompt: Uint32Array
  limit: number
  grammarState: object | null
  signal: AbortSignal
  progress: Progress
}

async function compute(
  { model, contextTokens }: Engine,
  { batcher, sequences }: Decoder,
  { request, prompt, limit, grammarState, signal, progress }: Work,
): Promise<{ finish: FinishReason; usage: Usage }> {
  const sequence = await sequences.lend(prompt, signal)
  const never = request.ignoreEnd ? model.ends : []
  const sampling = { sampling: request.sampling, freshSeed: randomSeed(), contextTokens, never, grammarState }
  const sampler = model.sampler(samplerConfig(sampling))
  const answer = new Answer(model, request, limit, progress, prompt.length)
  try {
    await batcher.run({
      sequence,
      prompt,
      sampler,
      signal,
      begin: (cached) => {
        answer.usage.cachedTokens = cached
        progress.begun(answer.usage)
      },
      token: (token) => answer.take(token),
    })
  } finally {
    sampler.dispose()
    sequences.giveBack(sequence)
  }
  if (answer.finish === null) throw new Fault('client_closed', 'The client has left.')
  return { finish: answer.finish, usage: answer.usage }
}

/** Collects an answer token by token and knows when it is over. */
class Answer {
  readonly usage: Usage
  /** Null while it goes on. */
  finish: FinishReason | null = null
  readonly #model: Model
  readonly #limit: number
  readonly #progress: Progress
  readonly #text: AnswerText

  constructor(model: Model, request: EngineRequest, limit: number, progress: Progress, promptTokens: number) {
    this.#model = model
    this.#limit = limit
    this.#progress = progress
    this.#text = new AnswerText(request.stops)
    this.usage = { promptTokens, completionTokens: 0, cachedTokens: 0 }
  }

  /** False = that was the last token. The token that ends an answer is counted: it was computed. */
  take(token: Token): boolean {
    this.usage.completionTokens += 1
    const ended = this.#model.ends.has(token)
    let text = ended ? '' : this.#text.push(this.#model.bytesOf(token))
    if (ended || this.#text.stopped) this.finish = 'stop'
    else if (this.usage.completionTokens >= this.#limit) this.finish = 'length'
    if (this.finish !== null) text += this.#text.end()
    this.#progress.token(text, this.usage)
    return this.finish === null
  }
}

function tokenLimit(promptTokens: number, { maxTokens, input }: EngineRequest, contextTokens: number): number {
  const room = contextTokens - promptTokens
  const param = input.kind === 'chat' ? 'messages' : 'prompt'
  if (promptTokens === 0) throw new Fault('invalid_request', 'The prompt is empty.', { detail: { param } })
  if (room >= (maxTokens ?? 1)) return maxTokens ?? room
  const asked = maxTokens === null ? '' : ` and max_tokens asks for ${maxTokens}`
  throw new Fault(
    'context_length_exceeded',
    `This model's context holds ${contextTokens} tokens; the prompt has ${promptTokens}${asked}.`,
    { detail: { param, n_prompt_tokens: promptTokens, n_ctx: contextTokens } },
  )
}

function grammarStateOf(model: Model, { format }: EngineRequest): object | null {
  const grammar = grammarOf(format)
  return grammar === null ? null : model.grammarState(grammar)
}
