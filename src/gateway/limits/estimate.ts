/** How many tokens a request may take, before an engine has counted them. Pure. */
import type { Ask } from '../parse.ts'
import { tokensOf } from '../usage.ts'

export interface Estimate {
  prompt: number
  /** Prompt and the longest answer that was asked for. */
  most: number
}

/** Where neither the request nor the model bounds the answer. */
const answerAssumedTokens = 4_096
const answersMaximum = 128
/** chat, completions · newer chats · Responses. */
const bounds = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'] as const

/** `contextTokens` 0 = unknown. */
export function estimate(ask: Pick<Ask, 'fields'>, bytes: number, contextTokens: number, generates: boolean): Estimate {
  const room = contextTokens > 0 ? contextTokens : Number.POSITIVE_INFINITY
  const prompt = Math.max(1, Math.min(tokensOf(bytes), room))
  if (!generates) return { prompt, most: prompt }
  const { fields } = ask
  const answers = Math.max(count(fields.n) ?? 1, count(fields.best_of) ?? 1, 1)
  let asked = Number.POSITIVE_INFINITY
  for (const name of bounds) asked = Math.min(asked, count(fields[name]) ?? asked)
  const left = room - prompt
  const longest = Math.min(asked, left)
  const answer = longest === Number.POSITIVE_INFINITY ? answerAssumedTokens : longest
  return { prompt, most: prompt + answer * Math.min(answers, answersMaximum) }
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined
}
