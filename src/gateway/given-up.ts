/**
 * Answers that an engine gave up in the middle and that look finished: vLLM that somebody told to stop, vLLM and SGLang
 * whose requests somebody aborted, end them with status 200 and a word. For the client that is no end. Looked for once
 * per answer, where its end is looked at. In texts and arguments these quotes would be escaped. Pure.
 */
import type { InferenceRoute } from '../engines/contract.ts'

export const givenUpWhy = 'it gave up its answer'

/** The reason that vLLM and SGLang give on chats and completions. */
const aborted = /"finish_reason":\s?"abort"/
/** What vLLM makes of it on the other routes: another status in Responses; in Messages no reason, whole and in streams. */
const cancelled = /"status":\s?"cancelled"/
const stopped = /"stop_reason":\s?"/
const notStopped = /"stop_reason":\s?null/

/** A plain answer. */
export function isGivenUp(route: InferenceRoute, text: string): boolean {
  if (route === 'messages') return !stopped.test(text)
  return route === 'responses' ? cancelled.test(text) : aborted.test(text)
}

/** The data of the event that says how a stream ended. */
export function endsGivenUp(route: InferenceRoute, payload: string): boolean {
  return route === 'messages' ? notStopped.test(payload) : isGivenUp(route, payload)
}
