/** What a simulated engine reads of a request, and what it says: the same words for the same request. Pure. */
import { mixed } from '../../kernel/dice.ts'
import { Fault } from '../../kernel/fault.ts'
import type { FinishReason } from '../contract.answer.ts'

export interface Ask {
  kind: 'chat' | 'text'
  promptTokens: number
  /** How many it answers with. */
  tokens: number
  finish: FinishReason
  /** Picks the words. */
  seed: number
  stream: boolean
  /** `final`: one usage chunk at the end; `every`: on each chunk as well. */
  usage: 'none' | 'final' | 'every'
}

export interface AskLimits {
  contextTokens: number
  answerTokens: number
}

type Fields = Record<string, unknown>

/** Throws Fault `invalid_request`, `engine_unsupported` or `context_length_exceeded`. */
export function readAsk(kind: Ask['kind'], body: unknown, limits: AskLimits): Ask {
  const fields = asObject(body, 'The body')
  if (fields.n !== undefined && fields.n !== null && fields.n !== 1)
    throw new Fault('engine_unsupported', 'The simulated engine gives one answer per request: n must be 1.', {
      detail: { param: 'n' },
    })
  const prompt = kind === 'chat' ? textOfMessages(fields.messages) : textOf(fields.prompt, 'prompt')
  // Words stand for tokens.
  const promptTokens = prompt.split(/\s+/).filter(Boolean).length + 1
  const room = limits.contextTokens - promptTokens
  if (room < 1)
    throw new Fault(
      'context_length_exceeded',
      `The prompt has ${promptTokens} tokens; this deployment holds ${limits.contextTokens} with the answer.`,
    )
  const asked = maxTokens(fields, kind)
  const natural = fields.ignore_eos === true ? Math.min(room, asked ?? room) : limits.answerTokens
  const tokens = Math.min(room, natural, asked ?? natural)
  const finish = tokens < natural || fields.ignore_eos === true ? 'length' : 'stop'
  const stream = fields.stream === true
  return { kind, promptTokens, tokens, finish, seed: mixed(prompt), stream, usage: usageOf(fields, stream) }
}

function textOfMessages(value: unknown): string {
  if (!Array.isArray(value) || value.length === 0) throw wrong('messages', 'messages must be a list of messages.')
  return value
    .map((message) => {
      const { role, content } = asObject(message, 'A message')
      return `${String(role)}: ${contentText(content)}`
    })
    .join('\n')
}

function contentText(content: unknown): string {
  if (content === null || content === undefined) return ''
  if (!Array.isArray(content)) return textOf(content, 'messages')
  const parts = content.map((part) => asObject(part, 'A part of a message'))
  return parts.map(({ text }) => (text === undefined ? '' : textOf(text, 'messages'))).join(' ')
}

function textOf(value: unknown, param: string): string {
  if (typeof value !== 'string') throw wrong(param, `${param} must be text.`)
  return value
}

function maxTokens(fields: Fields, kind: Ask['kind']): number | null {
  const value = (kind === 'chat' ? fields.max_completion_tokens : null) ?? fields.max_tokens
  if (value === undefined || value === null) return kind === 'text' ? 16 : null
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1)
    throw wrong('max_tokens', 'max_tokens must be a whole number, 1 at least.')
  return value
}

function usageOf(fields: Fields, stream: boolean): Ask['usage'] {
  if (!stream || fields.stream_options === undefined || fields.stream_options === null) return 'none'
  const options = asObject(fields.stream_options, 'stream_options')
  if (options.include_usage !== true) return 'none'
  return options.continuous_usage_stats === true ? 'every' : 'final'
}

function asObject(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new Fault('invalid_request', `${what} must be a JSON object.`)
}

function wrong(param: string, message: string): Fault {
  return new Fault('invalid_request', message, { detail: { param } })
}

const opening = 'This answer is simulated: no model has read the question.'.split(' ')
const words =
  'river stone lantern window garden letter harbor winter copper meadow signal thunder paper island velvet engine'.split(
    ' ',
  )

/** The tokens from … to (not included) of an answer: a word each, after the first with its space. */
export function answerText(seed: number, from: number, to: number): string {
  let text = ''
  for (let i = from; i < to; i++) {
    const word = opening[i] ?? words[mixed(`${seed}/${i}`) % words.length]!
    text += i === 0 ? word : ` ${word}`
  }
  return text
}
