/**
 * llama.cpp's running count. Its streams tell their usage at the end only, but a `timings` object with every chunk when
 * asked for it: what a client that leaves has used.
 */
import { edited } from './answer-edit.ts'
import { members } from './json-members.ts'

export interface Untimed {
  /** The chunk without the object, which the client did not ask for. */
  payload: string
  /** What it counts, as a usage object. */
  usageText: string
}

const maxDepth = 128

/** null when the chunk has no such object. */
export function untimed(payload: string): Untimed | null {
  if (!payload.includes('"timings"')) return null
  const found = members(payload, maxDepth)?.findLast(({ key }) => key === 'timings')
  if (found === undefined) return null
  const usage = usageOf(payload.slice(found.valueStart, found.valueEnd))
  return usage === null ? null : { payload: edited(payload, null, found, 'remove'), usageText: JSON.stringify(usage) }
}

/** `prompt_n` are those that were computed, `cache_n` those that were there. Source: llama.cpp tools/server. */
function usageOf(text: string): object | null {
  try {
    const { cache_n: cached = 0, prompt_n: computed, predicted_n: made } = JSON.parse(text) as Record<string, number>
    if (!isCount(cached) || !isCount(computed) || !isCount(made)) return null
    return {
      prompt_tokens: cached + computed,
      completion_tokens: made,
      prompt_tokens_details: { cached_tokens: cached },
    }
  } catch {
    return null
  }
}

function isCount(value: number | undefined): value is number {
  return Number.isInteger(value) && value! >= 0
}
