/** Tokens of one request, in our words, out of the engines' `usage` objects. */
export interface Usage {
  promptTokens: number
  completionTokens: number
  /** Part of the prompt that came from the engine's cache. */
  cachedTokens?: number
  /** Part of the completion that was reasoning. */
  reasoningTokens?: number
  /** True when the engine did not say and we counted events and bytes instead. */
  estimated?: true
}

/** What most engines write: three counts and nothing else. Read without building objects, as it comes with every answer. */
const plainUsage =
  /^{\s*"prompt_tokens":\s*(\d{1,15}),\s*"completion_tokens":\s*(\d{1,15}),\s*"total_tokens":\s*\d{1,15}\s*}$/

/** Reads the text of a `usage` object, OpenAI's names or the Responses API's. null when it is not one. */
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
  const prompt = count(fields.prompt_tokens) ?? count(fields.input_tokens)
  const completion = count(fields.completion_tokens) ?? count(fields.output_tokens)
  if (prompt === undefined && completion === undefined) return null
  const usage: Usage = { promptTokens: prompt ?? 0, completionTokens: completion ?? 0 }
  const cached = detail(fields, ['prompt_tokens_details', 'input_tokens_details'], 'cached_tokens')
  const reasoning =
    count(fields.reasoning_tokens) ??
    detail(fields, ['completion_tokens_details', 'output_tokens_details'], 'reasoning_tokens')
  if (cached !== undefined) usage.cachedTokens = cached
  if (reasoning !== undefined) usage.reasoningTokens = reasoning
  return usage
}

/** For engines that did not say: one token per event, four bytes of request per prompt token. */
export function estimatedUsage(requestBytes: number, contentEvents: number): Usage {
  return { promptTokens: Math.ceil(requestBytes / 4), completionTokens: contentEvents, estimated: true }
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
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
