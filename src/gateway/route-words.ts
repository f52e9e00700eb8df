/**
 * What differs from route to route: chats and completions end with `[DONE]` and tell their usage when asked; Responses
 * and Messages have named events of their own, errors of their own, and count at the end.
 */
import type { InferenceRoute } from '../engines/contract.ts'
import type { Dialect } from './fault-body.ts'

export interface RouteWords {
  /** Of refusals and of error events. */
  errors: Exclude<Dialect, 'native'>
  /** What ends a stream after its last event. */
  streamEnd: string
  /** `stream_options` may be added to what the engine is asked. */
  tellsUsage: boolean
  /** Answers are tokens, not vectors or ranks; a stream of them says when it is complete. */
  generates: boolean
  /** Nothing is counted for what it takes. */
  free: boolean
}

const chat: RouteWords = {
  errors: 'openai',
  streamEnd: 'data: [DONE]\n\n',
  tellsUsage: true,
  generates: true,
  free: false,
}
const named = { streamEnd: '', tellsUsage: false, generates: true, free: false } as const
const vectors: RouteWords = { ...chat, tellsUsage: false, generates: false }

export const routeWords: Readonly<Record<InferenceRoute, RouteWords>> = {
  'chat/completions': chat,
  completions: chat,
  embeddings: vectors,
  rerank: vectors,
  responses: { ...named, errors: 'responses' },
  messages: { ...named, errors: 'anthropic' },
  'messages/count_tokens': { ...named, errors: 'anthropic', generates: false, free: true },
}

/**
 * The field by which a request asks for what would stay in one engine after its answer: the next request may meet
 * another replica, and what runs in the background ends after it is settled. null = none.
 */
export function lastingField(route: InferenceRoute, fields: Record<string, unknown>): string | null {
  if (route !== 'responses') return null
  if (fields.background === true) return 'background'
  return ['previous_response_id', 'conversation'].find((name) => (fields[name] ?? null) !== null) ?? null
}
