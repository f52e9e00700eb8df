/**
 * A limit is divided among the gateways that need it: each holds a share, and lets in no more than that in any 60
 * seconds; all shares together are never more than the limit. Pure.
 */

/** Of requests or tokens. */
export interface Holder {
  share: number
  wants: number
}

export interface Divided {
  share: number
  /** What it is to have: above its share, others are to give some back; below, it is. */
  target: number
}

/** A limit is taken in chunks of this part of it: what a gateway that is killed takes with it for a minute. */
const chunkOf = 8

export function chunk(limit: number): number {
  return Math.max(1, Math.ceil(limit / chunkOf))
}

/**
 * What one gateway gets. `floor`: what it cannot give back, having used it; the others' shares are theirs until they
 * give them back themselves.
 */
export function divide(limit: number, mine: { floor: number; wants: number }, others: readonly Holder[]): Divided {
  const taken = others.reduce((sum, { share }) => sum + share, 0)
  const wants = others.map((other) => Math.max(0, other.wants))
  const target = Math.min(limit, fairPart(limit, Math.max(0, mine.wants), wants))
  return { share: Math.max(mine.floor, Math.min(target, limit - taken), 0), target }
}

/** Whoever wants little gets it, the rest is divided alike; nobody gets less because somebody else wants more. */
function fairPart(limit: number, mine: number, others: readonly number[]): number {
  let left = limit
  let heads = others.length + 1
  for (const want of others.toSorted((a, b) => a - b)) {
    if (mine <= left / heads) return mine
    if (want > left / heads) break
    left -= want
    heads -= 1
  }
  // What cannot be divided is for whoever comes first.
  return Math.min(mine, Math.ceil(left / heads))
}

/** A share counts so much longer than it may be used: the window, and clocks that differ. */
export const countsLongerMs = 65_000

/** What a gateway asks for of one deployment's or one key's limits; null = there is no such limit. */
export interface ShareAsk {
  /** `dep/…` or `key/…`. */
  subject: string
  requests: { limit: number; floor: number; wants: number } | null
  tokens: { limit: number; floor: number; wants: number } | null
}

export interface ShareAnswer {
  subject: string
  requests: number
  tokens: number
  targetRequests: number
  targetTokens: number
}

/** `others`: those whose shares count now. */
export function answerTo(
  { subject, requests, tokens }: ShareAsk,
  others: { requests: readonly Holder[]; tokens: readonly Holder[] },
): ShareAnswer {
  const first = requests === null ? nothing : divide(requests.limit, requests, others.requests)
  const second = tokens === null ? nothing : divide(tokens.limit, tokens, others.tokens)
  return {
    subject,
    requests: first.share,
    tokens: second.share,
    targetRequests: first.target,
    targetTokens: second.target,
  }
}

const nothing: Divided = { share: 0, target: 0 }
