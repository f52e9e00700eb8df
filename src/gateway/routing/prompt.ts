/**
 * What routing reads of a request: how much work it is, whose it is, and hashes by which a replica that has computed its
 * beginning before is found. Text is hashed as it stands in the body: two turns of a conversation share their bytes up
 * to where the second one goes on. Pure.
 */
import type { InferenceRoute } from '../../engines/contract.ts'
import type { Ask } from '../parse.ts'
import { tokensOf } from '../usage.ts'
import { bytesHash, textHash } from './hash.ts'

export interface Prompt {
  /** Tokens to be read, estimated. */
  tokens: number
  /** Those of them that the chosen replica has likely not computed before. */
  unread: number
  /** Tokens to be written, expected. */
  answerTokens: number
  /** Hash of what the client wants kept together; 0 = it does not say. */
  session: number
  /** Hash of how it begins: of the adapter, and of the first thing that a person said. 0 = nothing is gained by it. */
  beginning: number
  /** Hashes of its blocks, each of all that comes before it too. */
  blocks: Int32Array
}

/** What is known of a request beside its body. */
export interface PromptContext {
  route: InferenceRoute
  /** Adapters compute other values for the same text. */
  adapter: string | null
  /** Header `x-session-id`. */
  sessionId: string | null
  /** Tokens that the engine holds of one request; 0 = unknown. */
  contextTokens: number
  usualAnswerTokens: number
}

/** Bytes of a block: about 64 tokens, four of the blocks by which engines keep what they computed. */
const blockBytes = 256
export const blockTokens = tokensOf(blockBytes)
/** What comes after this many bytes is not looked at: by then it is decided. */
const hashedBytesMaximum = 128 * 1024
/** Characters of the first message that tell it from others. */
const beginningLength = 512
const sessionLengthMaximum = 512
/** Of one request, where the engine does not say what it holds. */
const tokensMaximum = 131_072
const seed = 0x811c9dc5
const none = new Int32Array(0)

/** Where the text stands that engines read from the beginning, and what they read before it. */
const contents: Partial<Record<InferenceRoute, { content: string; before: readonly string[] }>> = {
  'chat/completions': { content: 'messages', before: ['tools'] },
  completions: { content: 'prompt', before: [] },
  responses: { content: 'input', before: ['tools', 'instructions'] },
  messages: { content: 'messages', before: ['tools', 'system'] },
}

export function readPrompt(ask: Ask, context: PromptContext): Prompt {
  const { route, adapter, contextTokens } = context
  const session = sessionOf(ask.fields, context.sessionId)
  const tokens = promptTokens(ask, contextTokens)
  const where = contents[route]
  const content = where && ask.places.findLast(({ key }) => key === where.content)
  if (where === undefined || content === undefined)
    return { tokens, unread: tokens, answerTokens: 0, session, beginning: 0, blocks: none }
  const start = adapter === null ? seed : textHash(adapter)
  const { buffer, byteOffset, length } = ask.bytes
  const bytes = new DataView(buffer, byteOffset, length)
  let before = start
  for (const { key, valueStart, valueEnd } of ask.places)
    if (where.before.includes(key))
      before = bytesHash(bytes, before, valueStart, Math.min(valueEnd, valueStart + hashedBytesMaximum))
  return {
    tokens,
    unread: tokens,
    answerTokens: answerTokens(ask, contextTokens, context.usualAnswerTokens),
    session,
    beginning: beginningOf(firstWords(ask.fields[where.content]), start),
    blocks: blockHashes(bytes, before, content.valueStart, content.valueEnd),
  }
}

/** Pictures are many bytes and few tokens; but no request is more than the engine holds. */
export function promptTokens({ bytes }: Ask, contextTokens: number): number {
  return Math.min(contextTokens || tokensMaximum, tokensOf(bytes.length))
}

/** What is usual, unless the request bounds it. */
export function answerTokens({ fields }: Ask, contextTokens: number, usualAnswerTokens: number): number {
  const said = fields.max_completion_tokens ?? fields.max_tokens ?? fields.max_output_tokens
  const limit = typeof said === 'number' && said >= 0 ? Math.floor(said) : usualAnswerTokens
  return Math.min(contextTokens || tokensMaximum, limit, usualAnswerTokens)
}

/** Whole blocks only: the last, open one ends otherwise as soon as the conversation goes on. */
function blockHashes(bytes: DataView, before: number, from: number, to: number): Int32Array {
  const count = Math.floor(Math.min(to - from, hashedBytesMaximum) / blockBytes)
  if (count === 0) return none
  const blocks = new Int32Array(count)
  let hash = before
  for (let i = 0; i < count; i++) {
    hash = bytesHash(bytes, hash, from + i * blockBytes, from + (i + 1) * blockBytes)
    blocks[i] = hash
  }
  return blocks
}

function sessionOf(fields: Record<string, unknown>, header: string | null): number {
  const said = header ?? fields.prompt_cache_key ?? fields.user
  if (typeof said !== 'string' || said === '') return 0
  return textHash(said.slice(0, sessionLengthMaximum)) || 1
}

/** Of a conversation the first that a person said: what comes before it is the same in many. */
function firstWords(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  const first = content.find((one) => one?.role === 'user') ?? content[0]
  const said = typeof first === 'object' && first !== null ? (first.content ?? first.text) : first
  if (typeof said === 'string') return said
  const part: unknown = Array.isArray(said) ? said.find((one) => typeof one?.text === 'string')?.text : undefined
  return typeof part === 'string' ? part : String(said ?? '')
}

/** 0 where nobody has said anything. */
function beginningOf(words: string, start: number): number {
  return words === '' ? 0 : textHash(words.slice(0, beginningLength), start) || 1
}
