/** What engines of our own answer on the wire, in OpenAI's shapes. Pure. */
import type { Fault } from '../kernel/fault.ts'

export interface Usage {
  promptTokens: number
  completionTokens: number
  cachedTokens: number
  /** Part of the completion that was thoughts; absent = it does not think. */
  reasoningTokens?: number
}

export type FinishReason = 'stop' | 'length' | 'tool_calls'

/** A function that the model wants called. */
export interface ToolCall {
  id: string
  name: string
  /** JSON. */
  arguments: string
}

/** What streams say of a call at once. */
export interface CallPart {
  /** Which of the answer's calls. */
  index: number
  /** Its first part has it. */
  begun?: { id: string; name: string }
  /** A part of its JSON. */
  arguments: string
}

export interface Said {
  text: string
  /** Said before the answer itself, '' = nothing. */
  thought?: string
  calls?: readonly ToolCall[]
}

export interface AnswerHead {
  id: string
  /** Epoch seconds. */
  created: number
  model: string
  kind: 'chat' | 'text'
}

export function wholeAnswer(head: AnswerHead, said: Said, finish: FinishReason, usage: Usage): object {
  const { id, created, model } = head
  const choice =
    head.kind === 'chat'
      ? { index: 0, message: message(said), logprobs: null, finish_reason: finish }
      : { index: 0, text: said.text, logprobs: null, finish_reason: finish }
  const object = head.kind === 'chat' ? 'chat.completion' : 'text_completion'
  return { id, object, created, model, choices: [choice], usage: usageBody(usage) }
}

function message({ text, thought = '', calls = [] }: Said): object {
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    ...(thought === '' ? {} : { reasoning_content: thought }),
    ...(calls.length === 0 ? {} : { tool_calls: calls.map(callBody) }),
  }
}

function callBody({ id, name, arguments: args }: ToolCall): object {
  return { id, type: 'function', function: { name, arguments: args } }
}

export interface ChunkPart {
  /** Sent once, first, by chats. */
  role?: boolean
  text?: string
  thought?: string
  call?: CallPart
  finish?: FinishReason
  /** Absent = not shown; null = shown as null (it comes with the last chunk). */
  usage?: Usage | null
}

export function chunk(head: AnswerHead, part: ChunkPart): string {
  const finish_reason = part.finish ?? null
  const choice =
    head.kind === 'chat'
      ? { index: 0, delta: delta(part), logprobs: null, finish_reason }
      : { index: 0, text: part.text ?? '', logprobs: null, finish_reason }
  return event(head, [choice], part.usage)
}

/** The last chunk of a stream that was asked for its usage: no choices. */
export function usageChunk(head: AnswerHead, usage: Usage): string {
  return event(head, [], usage)
}

export const doneEvent = 'data: [DONE]\n\n'

export function errorEvent(fault: Fault): string {
  return `data: ${JSON.stringify(errorBody(fault))}\n\n`
}

/** OpenAI's error object. */
export function errorBody(fault: Fault): object {
  const { param, ...detail } = (fault.detail ?? {}) as { param?: string }
  const type = fault.status < 500 ? 'invalid_request_error' : 'server_error'
  return { error: { message: fault.message, type, param: param ?? null, code: fault.code, ...detail } }
}

function delta({ role, text, thought, call }: ChunkPart): object {
  if (role) return { role: 'assistant', content: '' }
  if (call !== undefined) return { tool_calls: [callDelta(call)] }
  if (thought !== undefined) return { reasoning_content: thought }
  return text === undefined ? {} : { content: text }
}

function callDelta({ index, begun, arguments: args }: CallPart): object {
  if (begun === undefined) return { index, function: { arguments: args } }
  return { index, ...callBody({ ...begun, arguments: args }) }
}

function event(head: AnswerHead, choices: object[], usage: Usage | null | undefined): string {
  const { id, created, model } = head
  const object = head.kind === 'chat' ? 'chat.completion.chunk' : 'text_completion'
  const shown = usage === undefined ? {} : { usage: usage === null ? null : usageBody(usage) }
  return `data: ${JSON.stringify({ id, object, created, model, choices, ...shown })}\n\n`
}

function usageBody({ promptTokens, completionTokens, cachedTokens, reasoningTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    ...(reasoningTokens === undefined ? {} : { completion_tokens_details: { reasoning_tokens: reasoningTokens } }),
  }
}
