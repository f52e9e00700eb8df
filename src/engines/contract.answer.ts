/** What engines of our own answer on the wire, in OpenAI's shapes. Pure. */
import type { Fault } from '../kernel/fault.ts'

export interface Usage {
  promptTokens: number
  completionTokens: number
  cachedTokens: number
}

export type FinishReason = 'stop' | 'length'

export interface AnswerHead {
  id: string
  /** Epoch seconds. */
  created: number
  model: string
  kind: 'chat' | 'text'
}

export function wholeAnswer(head: AnswerHead, text: string, finish: FinishReason, usage: Usage): object {
  const { id, created, model } = head
  const choice =
    head.kind === 'chat'
      ? { index: 0, message: { role: 'assistant', content: text }, logprobs: null, finish_reason: finish }
      : { index: 0, text, logprobs: null, finish_reason: finish }
  const object = head.kind === 'chat' ? 'chat.completion' : 'text_completion'
  return { id, object, created, model, choices: [choice], usage: usageBody(usage) }
}

export interface ChunkPart {
  /** Sent once, first, by chats. */
  role?: boolean
  text?: string
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

function delta({ role, text }: ChunkPart): object {
  if (role) return { role: 'assistant', content: '' }
  return text === undefined ? {} : { content: text }
}

function event(head: AnswerHead, choices: object[], usage: Usage | null | undefined): string {
  const { id, created, model } = head
  const object = head.kind === 'chat' ? 'chat.completion.chunk' : 'text_completion'
  const shown = usage === undefined ? {} : { usage: usage === null ? null : usageBody(usage) }
  return `data: ${JSON.stringify({ id, object, created, model, choices, ...shown })}\n\n`
}

function usageBody({ promptTokens, completionTokens, cachedTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  }
}
