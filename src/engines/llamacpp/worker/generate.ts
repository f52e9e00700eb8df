/** One request from text to text: tokens in, a sequence lent, tokens out, exact usage. */
import { Fault } from '../../../kernel/fault.ts'
import { randomSeed } from '../../../runtime/ids.ts'
import type { FinishReason, Usage } from '../../contract.answer.ts'
import type { Adapters } from './adapters.ts'
import { Answer, type AnswerPart } from './answer.ts'
import type { Batcher } from './batcher.ts'
import type { Embedder } from './embedder.ts'
import { textsOf, tokensBeyond } from './far-too-long.ts'
import { type GrammarPart, grammarOf } from './json-grammar.ts'
import type { Model } from './model.ts'
import type { ChatInput, EngineRequest } from './request.ts'
import { samplerConfig } from './sampling.ts'
import type { Sequences } from './sequences.ts'
import { thinkingPart } from './think-grammar.ts'
import { callsGrammar, withoutTools } from './tool-form.ts'
import { toolBody } from './tools.ts'

/** One context: its sequences and the loop that computes them. */
export interface Decoder {
  batcher: Batcher
  sequences: Sequences
}

export interface Engine extends Decoder {
  model: Model
  adapters: Adapters
  embedder: Embedder
  /** Tokens per sequence. */
  contextTokens: number
}

export interface Progress {
  /** A sequence is there; `usage` says how much of the prompt it held already. */
  begun(usage: Usage): void
  /** After each token: what may be sent now, nothing while it is held back. */
  token(part: AnswerPart, usage: Usage): void
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
  refuseFarTooLong(model, request.input, engine.contextTokens)
  const { tokens: prompt, thinks } = promptOf(model, request.input)
  const limit = tokenLimit(prompt.length, request, engine.contextTokens)
  const grammars = grammarsOf(model, request, thinks)
  const { adapters } = request
  const work = { request, prompt, thinks, limit, grammars, signal, progress }
  if (adapters === null) return compute(engine, engine, work)
  const lent = await engine.adapters.lend(adapters)
  try {
    return await compute(engine, lent.decoder, work)
  } finally {
    lent.giveBack()
  }
}

interface Work {
  request: EngineRequest
  prompt: Uint32Array
  /** The prompt opens thoughts. */
  thinks: boolean
  limit: number
  grammars: Grammars
  signal: AbortSignal
  progress: Progress
}

async function compute(
  { model, contextTokens }: Engine,
  { batcher, sequences }: Decoder,
  { request, prompt, thinks, limit, grammars, signal, progress }: Work,
): Promise<{ finish: FinishReason; usage: Usage }> {
  const sequence = await sequences.lend(prompt, signal)
  const never = request.ignoreEnd ? model.ends : []
  const sampling = { sampling: request.sampling, freshSeed: randomSeed(), contextTokens, never }
  const sampler = model.sampler(samplerConfig({ ...sampling, grammarState: grammars.whole }))
  const answer = new Answer({
    model,
    request,
    limit,
    promptTokens: prompt.length,
    thinks,
    said: (part, usage) => progress.token(part, usage),
    callBegins: (said) => {
      const grammarState = grammars.call?.(said) ?? null
      if (grammarState !== null) sampler.applyConfig(samplerConfig({ ...sampling, grammarState }))
    },
  })
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

function tokenLimit(promptTokens: number, { maxTokens, input }: EngineRequest, contextTokens: number): number {
  const room = contextTokens - promptTokens
  const param = input.kind === 'chat' ? 'messages' : 'prompt'
  if (promptTokens === 0) throw new Fault('invalid_request', 'The prompt is empty.', { detail: { param } })
  if (room >= (maxTokens ?? 1)) return maxTokens ?? room
  throw tooLong(param, promptTokens, maxTokens, contextTokens)
}

/** Before the template and the tokens of a prompt cost seconds. */
function refuseFarTooLong(model: Model, input: EngineRequest['input'], contextTokens: number): void {
  if (input.kind === 'text' && typeof input.prompt !== 'string') return
  const texts = input.kind === 'chat' ? textsOf(input.messages, input.tools?.tools ?? []) : [String(input.prompt)]
  const tokens = tokensBeyond(model, texts, contextTokens)
  if (tokens !== null)
    throw tooLong(input.kind === 'chat' ? 'messages' : 'prompt', tokens, null, contextTokens, 'at least ')
}

/** In OpenAI's words, by which clients know it. */
export function tooLong(
  param: string,
  promptTokens: number,
  maxTokens: number | null,
  contextTokens: number,
  atLeast = '',
): Fault {
  const detail = { param, n_prompt_tokens: promptTokens, n_ctx: contextTokens }
  const limit = `This model's maximum context length is ${contextTokens} tokens.`
  if (maxTokens === null || promptTokens >= contextTokens)
    return new Fault(
      'context_length_exceeded',
      `${limit} However, your ${param} resulted in ${atLeast}${promptTokens} tokens. Please reduce the length of the ${param}.`,
      { detail },
    )
  const asked = `you requested ${promptTokens + maxTokens} tokens (${promptTokens} in the ${param}, ${maxTokens} in the completion)`
  const message = `${limit} However, ${asked}. Please reduce the length of the ${param} or completion.`
  return new Fault('context_length_exceeded', message, { detail })
}

interface Grammars {
  /** Of the whole answer. */
  whole: object | null
  /** Of the rest of the answer once a call has begun by itself; null where what was said does not fit it. */
  call: ((said: string) => object | null) | null
}

/** Read before any work: what cannot be kept is refused with a status of its own. */
function grammarsOf(model: Model, { input, format }: EngineRequest, thinks: boolean): Grammars {
  const { thinkTags, toolForm } = model
  const isChat = input.kind === 'chat'
  // Told not to think, it has no room for it either.
  const mayThink = thinks || (isChat && input.thinking)
  const first = isChat && mayThink && thinkTags !== null ? thinkingPart(thinkTags, thinks) : undefined
  if (!isChat || input.tools === null) {
    const grammar = grammarOf(format, first)
    return { whole: grammar === null ? null : model.grammarState(grammar), call: null }
  }
  const nothing: GrammarPart = { body: '', rules: new Map() }
  if (input.tools.choice === 'required') {
    const grammar = callsGrammar(toolForm, input.tools, first ?? nothing, false)
    return { whole: model.grammarState(grammar, 'tools'), call: null }
  }
  const grammar = callsGrammar(toolForm, input.tools, nothing, true)
  model.grammarState(grammar, 'tools')
  return { whole: null, call: (said) => model.grammarStateAfter(grammar, said) }
}

function promptOf(model: Model, input: EngineRequest['input']): { tokens: Uint32Array; thinks: boolean } {
  if (input.kind === 'chat') return promptOfChat(model, input)
  const { prompt } = input
  const tokens = typeof prompt === 'string' ? model.tokensOfText(prompt) : model.tokensGiven(prompt, 'prompt')
  return { tokens, thinks: false }
}

function promptOfChat(
  model: Model,
  { messages, tools, thinking }: ChatInput,
): { tokens: Uint32Array; thinks: boolean } {
  if (!model.toolForm.native) return model.tokensOfChat(withoutTools(messages, tools), { tools: null, thinking })
  return model.tokensOfChat(messages, { tools: tools?.tools.map(toolBody) ?? null, thinking })
}
