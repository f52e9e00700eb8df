/**
 * Holds this gateway's shares of limits: asks for more in time, gives back what it does not need, and renews them. What
 * could not be renewed is used to its end and not a moment longer; the next holder may have it 60 seconds later.
 *
 * Order matters: a share is lowered here before the others are told, and raised here after they were. So it is never
 * above what is written, whatever becomes of the answer.
 */
import { chunk, type ShareAnswer, type ShareAsk } from '../../access/limit-shares.ts'
import type { Share, Subject } from './subject.ts'

/** Where all gateways agree. */
export interface ShareSource {
  exchange(asks: ShareAsk[], leaseMs: number): Promise<ShareAnswer[]>
  /** Subjects of which another gateway wants more than there is. */
  wanted(): Promise<string[]>
  /** What is held of these, of which nothing was used for 60 seconds. */
  release(subjects: string[]): Promise<void>
}

/** So often it looks whether others want something. */
const lookEveryMs = 500
/** What is not needed is given back after so long. */
const surplusMs = 10_000
/** Asks in one exchange. */
const together = 500
/** Two exchanges of one subject are so far apart, unless it is new. */
const paceMs = 100

export class Lessee {
  readonly #source: ShareSource
  readonly #leaseMs: number
  readonly #subjects: () => Subject[]
  readonly #granted: () => void
  /** When each was exchanged last. */
  readonly #exchangedAt = new WeakMap<Share, number>()
  #lookedAt = Number.NEGATIVE_INFINITY
  #failing = false
  /** It has asked for a share once. */
  #holds = false

  constructor(parts: {
    source: ShareSource
    leaseMs: number
    subjects(): Subject[]
    /** Shares have changed: whoever waits may come. */
    granted(): void
  }) {
    this.#source = parts.source
    this.#leaseMs = parts.leaseMs
    this.#subjects = parts.subjects
    this.#granted = parts.granted
  }

  /** One look; `now` monotonic. Rejects with the error of the source: what is held goes on. */
  async tick(now: number): Promise<void> {
    const rated = this.#subjects().filter(({ limits }) => limits.rpm !== null || limits.tpm !== null)
    if (rated.length === 0 && !this.#holds) return
    try {
      await this.#look(rated, now)
      this.#failing = false
    } catch (error) {
      this.#failing = true
      // Whoever holds nothing any more waits for nothing.
      for (const { share } of rated) if (now >= share.until) share.denied = true
      this.#granted()
      throw error
    }
  }

  async #look(rated: readonly Subject[], now: number): Promise<void> {
    const due = new Set(rated.filter((subject) => this.#isDue(subject, now)))
    if (now - this.#lookedAt >= lookEveryMs || this.#failing) {
      const wanted = new Set(await this.#source.wanted())
      this.#lookedAt = now
      for (const subject of rated) if (wanted.delete(subject.name)) due.add(subject)
      if (wanted.size > 0) await this.#source.release([...wanted])
    }
    const all = [...due]
    for (let from = 0; from < all.length; from += together) await this.#exchange(all.slice(from, from + together), now)
  }

  #isDue(subject: Subject, now: number): boolean {
    const { share, limits, window } = subject
    if (!share.fresh && now - (this.#exchangedAt.get(share) ?? Number.NEGATIVE_INFINITY) < paceMs) return false
    if (subject.wanting || share.coming || share.until - now < (this.#leaseMs * 2) / 3) return true
    if (now - (this.#exchangedAt.get(share) ?? 0) < surplusMs) return false
    window.slide(now)
    const { rpm, tpm } = limits
    return (
      (rpm !== null && share.requests > window.requests + 2 * chunk(rpm)) ||
      (tpm !== null && share.tokens > window.tokens + 2 * chunk(tpm))
    )
  }

  async #exchange(subjects: Subject[], now: number): Promise<void> {
    this.#holds = true
    const asks = subjects.map((subject) => askFor(subject, now))
    const given = await this.#source.exchange(asks, this.#leaseMs)
    const byName = new Map(given.map((one) => [one.subject, one]))
    for (const [at, subject] of subjects.entries()) {
      const one = byName.get(subject.name)
      if (one !== undefined) take(subject, asks[at]!, one, now + this.#leaseMs)
      this.#exchangedAt.set(subject.share, now)
    }
    this.#granted()
  }
}

function take(subject: Subject, { requests, tokens }: ShareAsk, given: ShareAnswer, until: number): void {
  const { share } = subject
  share.requests = given.requests
  share.tokens = given.tokens
  share.until = until
  share.fresh = false
  share.coming = given.targetRequests > given.requests || given.targetTokens > given.tokens
  const less = (requests?.wants ?? 0) > given.targetRequests || (tokens?.wants ?? 0) > given.targetTokens
  share.denied = less && !share.coming
  // When it has too much, the next exchange gives it back.
  subject.ceiling = { requests: given.targetRequests, tokens: given.targetTokens }
}

/** Lowers the share to what is needed, and asks for what is needed. */
function askFor(subject: Subject, now: number): ShareAsk {
  const { share, limits, window, ceiling, needs } = subject
  window.slide(now)
  const held = now < share.until
  const requests =
    limits.rpm === null
      ? null
      : wish(limits.rpm, held ? share.requests : 0, window.requests, needs.requests, ceiling.requests)
  const tokens =
    limits.tpm === null ? null : wish(limits.tpm, held ? share.tokens : 0, window.tokens, needs.tokens, ceiling.tokens)
  share.requests = requests?.floor ?? 0
  share.tokens = tokens?.floor ?? 0
  subject.wanting = false
  subject.needs = { requests: 0, tokens: 0 }
  return { subject: subject.name, requests, tokens }
}

function wish(
  limit: number,
  share: number,
  used: number,
  needed: number,
  ceiling: number,
): NonNullable<ShareAsk['requests']> {
  // Who uses nothing leaves all of it to others.
  const wants = used === 0 && needed === 0 ? 0 : Math.min(limit, Math.max(used + chunk(limit), needed))
  return { limit, wants, floor: Math.max(used, Math.min(share, wants, ceiling)) }
}
