/** One request from text to text: tokens in, a sequence lent, tokens out, exact usage. */
import { Fault } from '../../../kernel/fault.ts'
import { randomSeed } from '../../../runtime/ids.ts'
import { AnswerText } from './answer-text.ts'
import type { Batcher } from './batcher.ts'
import { grammarOfSchema, jsonObjectGrammar } from './json-grammar.ts'
import type { Model } from './model.ts'
import type { Token } from './native.ts'
import type { EngineRequest } from './request.ts'
import { samplerConfig } from './sampling.ts'
import type { Sequences } from './sequences.ts'

export interface Usage {
  promptTokens: number
  completionTokens: number
  cachedTokens: number
}

export type FinishReason = 'stop' | 'length'

export interface Engine {
  model: Model
  batcher: Batcher
  sequences: Sequences
  /** Tokens per sequence. */
  contextTokens: number
}

export interface Progress {
  /** The prompt was counted and fits. */
  accepted(): void
  /** Text that may be sent; '' when a token's bytes are held back. */
  text(text: string, usage: Usage): void
}

/**
 * Runs a request to its end. Throws Fault `context_length_exceeded` before any work, `invalid_request`,
 * `engine_unsupported`, `unavailable` when the line is full, `client_closed` when the signal aborts, `engine_failed`.
 */
export async function generate(
  engine: Engine,
  request: EngineRequest,
  signal: AbortSignal,
  progress: Progress,
): Promise<{ finish: FinishReason; usage: Usage }> {
  const { model, sequences, batcher } = engine
  const prompt =
    request.input.kind === 'chat'
      ? model.tokensOfChat(request.input.messages)
      : model.tokensOfText(request.input.prompt)
  const limit = tokenLimit(prompt.length, request, engine.contextTokens)
  const grammarState = grammarStateOf(model, request)
  const sequence = await sequences.lend(prompt, signal)
  const never = request.ignoreEnd ? model.ends : []
  const sampler = model.sampler(
    samplerConfig({
      sampling: request.sampling,
      freshSeed: randomSeed(),
      contextTokens: engine.contextTokens,
      never,
      grammarState,
    }),
  )
  const answer = new Answer(model, request, limit, progress, prompt.length)
  try {
    progress.accepted()
    await batcher.run({
      sequence,
      prompt,
      sampler,
      signal,
      begin: (cached) => {
        answer.usage.cachedTokens = cached
      },
      token: (token) => answer.take(token),
    })
  } finally {
    sampler.dispose()
    sequences.giveBack(sequence)
  }
  if (signal.aborted) throw new Fault('client_closed', 'The client has left.')
  answer.finishText()
  return { finish: answer.finish, usage: answer.usage }
}

/** Collects an answer token by token and knows when it is over. */
class Answer {
  readonly usage: Usage
  finish: FinishReason = 'length'
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
    if (this.#model.ends.has(token)) return this.#stop()
    this.#progress.text(this.#text.push(this.#model.bytesOf(token)), this.usage)
    if (this.#text.stopped) return this.#stop()
    return this.usage.completionTokens < this.#limit
  }

  finishText(): void {
    const rest = this.#text.end()
    if (rest !== '') this.#progress.text(rest, this.usage)
  }

  #stop(): boolean {
    this.finish = 'stop'
    return false
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
  if (format.type === 'text') return null
  return model.grammarState(format.type === 'json' ? jsonObjectGrammar : grammarOfSchema(format.schema))
}
