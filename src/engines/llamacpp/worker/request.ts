/**
 * A request body checked and made exact. Wrong shapes are 400 `invalid_request`, things that this engine does not have
 * are 400 `engine_unsupported`; both name the field in `detail.param`. Fields that nobody knows are ignored, as the
 * other engines do. Pure.
 */
import { Fault } from '../../../kernel/fault.ts'
import type { Share } from './adapters.ts'
import type { ChatMessage } from './chat-template.ts'
import { readMessages } from './messages.ts'
import { readToolUse, schemaCharactersMaximum, type ToolUse } from './tools.ts'

export interface Sampling {
  /** 0 = always the likeliest token. */
  temperature: number
  topP: number
  /** 0 = all. */
  topK: number
  minP: number
  /** Null = a new one for each request. */
  seed: number | null
  presencePenalty: number
  frequencyPenalty: number
  repetitionPenalty: number
  /** Token id → added to its logit. */
  bias: ReadonlyMap<number, number>
}

export type AnswerFormat = { type: 'text' } | { type: 'json' } | { type: 'schema'; schema: unknown }

export interface ChatInput {
  kind: 'chat'
  messages: ChatMessage[]
  /** null = the answer is text. */
  tools: ToolUse | null
  /** False: a model that thinks is asked not to. */
  thinking: boolean
}

export interface EngineRequest {
  input: ChatInput | { kind: 'text'; prompt: string | number[] }
  /** Null = as much as the context holds. */
  maxTokens: number | null
  sampling: Sampling
  stops: string[]
  ignoreEnd: boolean
  format: AnswerFormat
  /** What it is computed with; null = the model as it is. */
  adapters: Share[] | null
  stream: boolean
  /** `final`: one usage chunk at the end; `every`: on each chunk as well. */
  usage: 'none' | 'final' | 'every'
}

export type Body = Record<string, unknown>

export const stopsMaximum = 4
export const stopCharactersMaximum = 1_000
/** What /v1/completions gives when max_tokens is absent, as OpenAI's does. */
export const textTokensDefault = 16
const adaptersMaximum = 16
const scaleMaximum = 100
const biasesMaximum = 1_024

export function readChatRequest(body: unknown): EngineRequest {
  const fields = asObject(body)
  const messages = readMessages(fields.messages)
  const maxTokens = number(fields, 'max_completion_tokens', 1, tokensMaximum, true) ?? readMaxTokens(fields)
  refuseUnless(fields, 'functions', (v) => Array.isArray(v) && v.length === 0)
  const tools = readToolUse(fields)
  const shared = readShared(fields)
  if (tools !== null && shared.format.type !== 'text')
    throw unsupported('response_format', 'The embedded engine takes either tools or response_format, not both.')
  if (tools !== null && shared.ignoreEnd)
    throw wrong('ignore_eos', 'ignore_eos cannot be combined with tools: a call ends where it ends.')
  const thinking = fields.reasoning_effort !== 'none'
  return { input: { kind: 'chat', messages, tools, thinking }, maxTokens, ...shared }
}

export function readTextRequest(body: unknown): EngineRequest {
  const fields = asObject(body)
  refuseUnless(fields, 'echo', (v) => v === false)
  refuseUnless(fields, 'suffix', (v) => v === '')
  refuseUnless(fields, 'best_of', (v) => v === 1)
  const prompt = readPrompt(fields.prompt)
  const maxTokens = readMaxTokens(fields) ?? textTokensDefault
  return { input: { kind: 'text', prompt }, maxTokens, ...readShared(fields) }
}

const tokensMaximum = 10_000_000

function readShared(fields: Body): Omit<EngineRequest, 'input' | 'maxTokens'> {
  refuseUnless(fields, 'n', (v) => v === 1)
  refuseUnless(fields, 'logprobs', (v) => v === false)
  refuseUnless(fields, 'top_logprobs', (v) => v === 0)
  refuseUnless(fields, 'prompt_logprobs', () => false)
  const format = readFormat(fields.response_format)
  const ignoreEnd = flag(fields, 'ignore_eos')
  if (ignoreEnd && format.type !== 'text')
    throw wrong('ignore_eos', 'ignore_eos cannot be combined with response_format: JSON ends where it ends.')
  const stream = flag(fields, 'stream')
  return {
    sampling: readSampling(fields),
    stops: readStops(fields.stop),
    ignoreEnd,
    format,
    adapters: readAdapters(fields.adapters),
    stream,
    usage: readUsage(fields, stream),
  }
}

function readMaxTokens(fields: Body): number | null {
  return number(fields, 'max_tokens', 1, tokensMaximum, true)
}

function readSampling(fields: Body): Sampling {
  return {
    temperature: number(fields, 'temperature', 0, 100) ?? 1,
    topP: number(fields, 'top_p', 0, 1) ?? 1,
    // −1 is vLLM's word for all.
    topK: Math.max(0, number(fields, 'top_k', -1, 10_000_000, true) ?? 0),
    minP: number(fields, 'min_p', 0, 1) ?? 0,
    seed: number(fields, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, true),
    presencePenalty: number(fields, 'presence_penalty', -2, 2) ?? 0,
    frequencyPenalty: number(fields, 'frequency_penalty', -2, 2) ?? 0,
    repetitionPenalty: number(fields, 'repetition_penalty', 0.01, 100) ?? 1,
    bias: readBias(fields.logit_bias),
  }
}

function readBias(value: unknown): ReadonlyMap<number, number> {
  const biases = new Map<number, number>()
  if (isAbsent(value)) return biases
  const entries = Object.entries(asObject(value, 'logit_bias'))
  if (entries.length > biasesMaximum) throw wrong('logit_bias', `logit_bias may hold ${biasesMaximum} tokens at most.`)
  for (const [token, bias] of entries) {
    const fits = /^\d{1,9}$/.test(token) && typeof bias === 'number' && bias >= -100 && bias <= 100
    if (!fits) throw wrong('logit_bias', 'logit_bias must map token ids to numbers from -100 to 100.')
    biases.set(Number(token), bias)
  }
  return biases
}

function readStops(value: unknown): string[] {
  if (isAbsent(value)) return []
  const stops = Array.isArray(value) ? value : [value]
  if (stops.length > stopsMaximum) throw wrong('stop', `stop may hold ${stopsMaximum} strings at most.`)
  for (const stop of stops)
    if (typeof stop !== 'string' || stop === '' || stop.length > stopCharactersMaximum)
      throw wrong('stop', `stop must be a string, or strings, of 1 to ${stopCharactersMaximum} characters.`)
  return stops as string[]
}

function readUsage(fields: Body, stream: boolean): EngineRequest['usage'] {
  if (isAbsent(fields.stream_options)) return 'none'
  if (!stream) throw wrong('stream_options', 'stream_options is for streams; set stream to true.')
  const options = asObject(fields.stream_options, 'stream_options')
  if (!flag(options, 'include_usage')) return 'none'
  return flag(options, 'continuous_usage_stats') ? 'every' : 'final'
}

function readFormat(value: unknown): AnswerFormat {
  if (isAbsent(value)) return { type: 'text' }
  const format = asObject(value, 'response_format')
  if (format.type === 'text') return { type: 'text' }
  if (format.type === 'json_object') return { type: 'json' }
  if (format.type !== 'json_schema')
    throw wrong('response_format', 'response_format.type must be text, json_object or json_schema.')
  const named = asObject(format.json_schema, 'response_format')
  if (isAbsent(named.schema)) throw wrong('response_format', 'response_format.json_schema.schema is missing.')
  if (JSON.stringify(named.schema).length > schemaCharactersMaximum)
    throw wrong(
      'response_format',
      `response_format.json_schema.schema is longer than ${schemaCharactersMaximum} characters.`,
    )
  return { type: 'schema', schema: named.schema }
}

/** The gateway writes them; clients' own are not passed on. */
function readAdapters(value: unknown): Share[] | null {
  if (isAbsent(value)) return null
  if (!Array.isArray(value) || value.length < 1 || value.length > adaptersMaximum)
    throw wrong('adapters', `adapters must be a list of 1 to ${adaptersMaximum}.`)
  return value.map((entry) => {
    const { name, scale } = asObject(entry, 'adapters')
    const isScale = typeof scale === 'number' && Math.abs(scale) <= scaleMaximum
    if (typeof name !== 'string' || !isScale)
      throw wrong('adapters', `adapters must be a list of {"name": string, "scale": number up to ${scaleMaximum}}.`)
    return { name, scale }
  })
}

function readPrompt(value: unknown): string | number[] {
  if (isTokens(value)) return value
  const prompts = Array.isArray(value) ? value : [value]
  if (prompts.length > 1) throw unsupported('prompt', 'This engine takes one prompt per request.')
  const [prompt] = prompts
  if (typeof prompt !== 'string' && !isTokens(prompt)) throw wrong('prompt', 'prompt must be a string or token ids.')
  return prompt
}

/** Ids of tokens; of which model they are is not known here. */
export function isTokens(value: unknown): value is number[] {
  return (
    Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31)
  )
}

/** Absent, null and the harmless values pass; anything else is something that this engine does not have. */
function refuseUnless(fields: Body, name: string, harmless: (value: unknown) => boolean): void {
  const value = fields[name]
  if (isAbsent(value) || harmless(value)) return
  throw unsupported(name, `The embedded engine does not support ${name} with this value.`)
}

export function number(fields: Body, name: string, minimum: number, maximum: number, whole = false): number | null {
  const value = fields[name]
  if (isAbsent(value)) return null
  const fits = typeof value === 'number' && value >= minimum && value <= maximum && (!whole || Number.isInteger(value))
  if (!fits) throw wrong(name, `${name} must be a ${whole ? 'whole ' : ''}number from ${minimum} to ${maximum}.`)
  return value
}

function flag(fields: Body, name: string): boolean {
  const value = fields[name]
  if (isAbsent(value)) return false
  if (typeof value !== 'boolean') throw wrong(name, `${name} must be true or false.`)
  return value
}

export function asObject(value: unknown, name?: string): Body {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body
  throw name === undefined
    ? new Fault('invalid_request', 'The body must be a JSON object.')
    : wrong(name, `${name} must be an object.`)
}

export function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null
}

export function wrong(param: string, message: string): Fault {
  return new Fault('invalid_request', message, { detail: { param } })
}

export function unsupported(param: string, message: string): Fault {
  return new Fault('engine_unsupported', message, { detail: { param } })
}
