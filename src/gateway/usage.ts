/** Reads what engines say of tokens; guesses where they say nothing. */
import { tokensMaximum, type Usage } from '../usage/request.ts'

/** What most engines write: three counts and nothing else. Read without building objects, as it comes with every answer. */
const plainUsage =
  /^{\s*"prompt_tokens":\s*(\d{1,9}),\s*"completion_tokens":\s*(\d{1,9}),\s*"total_tokens":\s*\d{1,15}\s*}$/

/** Reads the text of a `usage` object: OpenAI's names, the Responses API's or the Messages API's. null when it is not one. */
export function readUsage(text: string | null): Usage | null {
  if (text === null) return null
  const plain = plainUsage.exec(text)
  if (plain !== null) return { promptTokens: Number(plain[1]), completionTokens: Number(plain[2]) }
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return null
  }
  if (raw === null || typeof raw !== 'object') return null
  const fields = raw as Record<string, unknown>
  const completion = count(fields.completion_tokens) ?? count(fields.output_tokens)
  // Routes that generate nothing say the total alone.
  const total = completion === undefined ? count(fields.total_tokens) : undefined
  // Messages count apart what was read from a cache and what was written to one.
  const fromCache = count(fields.cache_read_input_tokens)
  const besides = (fromCache ?? 0) + (count(fields.cache_creation_input_tokens) ?? 0)
  const input = count(fields.input_tokens)
  const prompt = count(fields.prompt_tokens) ?? (input === undefined ? total : input + besides)
  if (prompt === undefined && completion === undefined) return null
  const usage: Usage = { promptTokens: prompt ?? 0, completionTokens: completion ?? 0 }
  const cached = detail(fields, ['prompt_tokens_details', 'input_tokens_details'], 'cached_tokens') ?? fromCache
  const reasoning =
    count(fields.reasoning_tokens) ??
    detail(fields, ['completion_tokens_details', 'output_tokens_details'], 'reasoning_tokens')
  if (cached !== undefined) usage.cachedTokens = cached
  if (reasoning !== undefined) usage.reasoningTokens = reasoning
  return usage
}

/** Of what is free. */
export const noUsage: Usage = { promptTokens: 0, completionTokens: 0 }

const bytesPerToken = 4

/** For engines that did not say: four bytes of request per prompt token, and what was counted of the answer. */
export function estimatedUsage(requestBytes: number, completionTokens: number): Usage {
  return { promptTokens: tokensOf(requestBytes), completionTokens, estimated: true }
}

export function tokensOf(bytes: number): number {
  return Math.ceil(bytes / bytesPerToken)
}

function detail(fields: Record<string, unknown>, groups: string[], name: string): number | undefined {
  for (const group of groups) {
    const inner = fields[group]
    if (inner !== null && typeof inner === 'object') {
      const value = count((inner as Record<string, unknown>)[name])
      if (value !== undefined) return value
    }
  }
  return undefined
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= tokensMaximum
    ? value
    : undefined
}
