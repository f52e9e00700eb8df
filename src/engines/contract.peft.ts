/** What engines that load PEFT adapters while they serve have in common. Pure. */
import type { AdapterRoom, EngineAdapter } from './contract.adapters.ts'

const countMinimum = 4

/** The next step of `ranks`, and the next power of two of places: whoever adds one more seldom needs a new start. */
export function roomFor(
  ranks: readonly number[],
  now: AdapterRoom | null,
  adapters: readonly Pick<EngineAdapter, 'rank'>[],
): AdapterRoom | null {
  if (adapters.length === 0) return now
  const largest = Math.max(...adapters.map(({ rank }) => rank))
  if (now !== null && now.rankMaximum >= largest && now.count >= adapters.length) return now
  const rankMaximum = ranks.find((rank) => rank >= Math.max(16, largest)) ?? largest
  let count = countMinimum
  while (count < adapters.length) count *= 2
  return { rankMaximum: Math.max(rankMaximum, now?.rankMaximum ?? 0), count: Math.max(count, now?.count ?? 0) }
}

/** Of these, the ones that `GET /v1/models` lists; the handle is the name. null = that was no such list. */
export function idsListed(
  adapters: readonly EngineAdapter[],
  status: number | null,
  body: string,
): ReadonlyMap<string, string> | null {
  const data = status === 200 ? (parsed(body) as { data?: unknown } | null)?.data : null
  if (!Array.isArray(data)) return null
  const ids = new Set(data.map((card) => (card as { id?: unknown } | null)?.id))
  return new Map(adapters.flatMap(({ engineName }) => (ids.has(engineName) ? [[engineName, engineName] as const] : [])))
}

const messageMaximumCharacters = 2_000

/**
 * The sentence of a refusal: of `{error: {message}}`, of SGLang's bare object, of `{error: "…"}`, of
 * `{error_message}`, or a text that is no JSON. '' = there is none.
 */
export function messageOf(body: string): string {
  const outer = parsed(body)
  if (outer === undefined) return body.trim().slice(0, messageMaximumCharacters)
  const { error, message, error_message } = object(outer)
  const said = object(error).message ?? error ?? message ?? error_message
  return typeof said === 'string' ? said.slice(0, messageMaximumCharacters) : ''
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

/** undefined = it is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
