/**
 * A deployment or a key that has limits, as this gateway counts it: what is under way on the host, and what came in the
 * last 60 seconds against the share of the limit that this gateway holds. Decides; waits for nobody.
 */

import { chunk } from '../../access/limit-shares.ts'
import type { Limits } from '../../access/limits.ts'
import type { Counters } from '../counters.ts'
import type { Estimate } from './estimate.ts'
import { SlidingWindow } from './window.ts'

/** `at_once`, `lease`: not now, but perhaps in a moment. */
export type Verdict = 'yes' | 'at_once' | 'lease' | 'requests' | 'tokens' | 'too_large'

/** The part of a limit that this gateway may use, until then (monotonic ms). */
export interface Share {
  requests: number
  tokens: number
  until: number
  /** More may come within a moment: it was asked for, or others are to give some back. */
  coming: boolean
  /** Nobody has answered yet. */
  fresh: boolean
  /** There is no more for this gateway now: nobody has to wait for an answer. */
  denied: boolean
}

/** Who is alone has all of every limit. */
export const wholeShare: Readonly<Share> = {
  requests: Number.POSITIVE_INFINITY,
  tokens: Number.POSITIVE_INFINITY,
  until: Number.POSITIVE_INFINITY,
  coming: false,
  fresh: false,
  denied: false,
}

/**
 * What others are to give back comes within about a second, or not before they have used it: nobody waits longer for it.
 * Whoever asks after as long a pause waits anew.
 */
const shortMaximumMs = 1_500

/**
 * While requests wait at other workers of the host as well, this one takes what places become free for so long, and then
 * leaves them alone for longer than a tick, in which the lines of the others look: else whoever sits where a place becomes
 * free would have it again and again.
 */
const turnMs = 250
const restMs = 75

export class Subject {
  readonly name: string
  limits: Limits
  readonly window = new SlidingWindow()
  share: Share
  /** More is wanted than is held; whoever fetches shares resets it. */
  wanting = false
  /** What the last who was kept out needs in all; whoever fetches shares resets it. */
  needs = { requests: 0, tokens: 0 }
  /** What this gateway is to have at most, as others see it. */
  ceiling = { requests: Number.POSITIVE_INFINITY, tokens: Number.POSITIVE_INFINITY }
  /** Of this gateway: in all, and those whose reckoned tokens may not be all. */
  inFlight = 0
  open = 0
  /** Requests that wait for it here. */
  waiting = 0
  /** Since when the share is too small for whoever asks, and when it last was; monotonic ms. */
  #shortFrom = Number.NEGATIVE_INFINITY
  #shortAt = Number.NEGATIVE_INFINITY
  readonly #counters: Counters
  readonly #slot: number
  /** Where the workers count those that wait; made when it is needed. */
  #waitingSlot: number | null = null
  /** When this worker's turn began, null = nobody else waited; until when it rests. Monotonic ms. */
  #turnFrom: number | null = null
  #restUntil = Number.NEGATIVE_INFINITY

  constructor(name: string, limits: Limits, counters: Counters, share: Share) {
    this.name = name
    this.limits = limits
    this.share = share
    this.#counters = counters
    this.#slot = counters.slot(name)
  }

  get isIdle(): boolean {
    return this.inFlight === 0 && this.waiting === 0 && this.window.requests === 0 && this.window.tokens === 0
  }

  close(): void {
    this.#counters.release(this.#slot)
    if (this.#waitingSlot !== null) this.#counters.release(this.#waitingSlot)
  }

  /** A request begins to wait for it, or ends to. */
  waits(by: 1 | -1): void {
    this.waiting += by
    this.#counters.add(this.#waitingPlace(), by)
  }

  #waitingPlace(): number {
    this.#waitingSlot ??= this.#counters.slot(`waiting ${this.name}`)
    return this.#waitingSlot
  }

  get #othersWait(): boolean {
    const place = this.#waitingPlace()
    return this.#counters.total(place) > this.#counters.own(place)
  }

  verdict(now: number, size: Estimate): Verdict {
    const { rpm, tpm } = this.limits
    if (rpm === null && tpm === null) return this.#isFull(now) ? 'at_once' : 'yes'
    if (tpm !== null && size.prompt > tpm) return 'too_large'
    this.window.slide(now)
    if (rpm !== null && this.window.requests >= rpm) return 'requests'
    if (tpm !== null && !this.#fits(size, tpm)) return 'tokens'
    if (this.#isFull(now)) return 'at_once'
    return this.share === wholeShare ? 'yes' : this.#verdictOfShare(now, size)
  }

  /** Of which rate the share is too small; only after the verdict `lease`. */
  lacks(now: number): 'requests' | 'tokens' {
    return this.#hasFewRequests(now) ? 'requests' : 'tokens'
  }

  #hasFewRequests(now: number): boolean {
    const { share, limits, window } = this
    return limits.rpm !== null && (now >= share.until || window.requests >= share.requests)
  }

  /** What the limit would let in: does the share? */
  #verdictOfShare(now: number, size: Estimate): Verdict {
    const { share, limits } = this
    const { requests, tokens } = this.window
    const holds = now < share.until
    const fewRequests = this.#hasFewRequests(now)
    const fewTokens = limits.tpm !== null && (!holds || !this.#fits(size, share.tokens))
    // Asked for before the last of it is used, so that nobody has to wait.
    if (isShort(limits.rpm, share.requests, requests + 1) || isShort(limits.tpm, share.tokens, tokens + size.most))
      this.wanting = true
    if (!fewRequests && !fewTokens) {
      this.#shortAt = Number.NEGATIVE_INFINITY
      return 'yes'
    }
    this.wanting = true
    this.needs.requests = Math.max(this.needs.requests, requests + 1 + this.waiting)
    this.needs.tokens = Math.max(this.needs.tokens, tokens + size.most)
    // One on credit, so that the first does not wait for the database.
    if (share.fresh && requests === 0 && tokens === 0 && this.inFlight === 0) return 'yes'
    if (share.denied || this.#isShortTooLong(now)) return fewRequests ? 'requests' : 'tokens'
    return 'lease'
  }

  #isShortTooLong(now: number): boolean {
    if (now - this.#shortAt >= shortMaximumMs) this.#shortFrom = now
    this.#shortAt = now
    return now - this.#shortFrom >= shortMaximumMs
  }

  #isFull(now: number): boolean {
    const { concurrency } = this.limits
    return concurrency !== null && (this.#counters.total(this.#slot) >= concurrency || this.#rests(now))
  }

  #rests(now: number): boolean {
    if (now < this.#restUntil) return true
    if (this.#turnFrom === null || now - this.#turnFrom < turnMs) return false
    this.#turnFrom = null
    if (!this.#othersWait) return false
    this.#restUntil = now + restMs
    return true
  }

  /** All of what it may take, or, for one at a time, its prompt: at most one request turns out larger than there is. */
  #fits({ prompt, most }: Estimate, tokens: number): boolean {
    return this.window.tokens + most <= tokens || (this.open === 0 && this.window.tokens + prompt <= tokens)
  }

  /** Only after the verdict `yes`, in the same turn. False when another worker of the host was faster. */
  enter(now: number): boolean {
    const { concurrency } = this.limits
    if (concurrency !== null && this.#turnFrom === null && this.#othersWait) this.#turnFrom = now
    this.#counters.add(this.#slot, 1)
    if (concurrency !== null && this.#counters.total(this.#slot) > concurrency) {
      this.#counters.add(this.#slot, -1)
      return false
    }
    this.inFlight += 1
    return true
  }

  leave(): void {
    this.inFlight -= 1
    this.#counters.add(this.#slot, -1)
  }

  /** True when all that it may take is reckoned. */
  covers({ most }: Estimate): boolean {
    const { tpm } = this.limits
    return tpm === null || this.window.tokens + most <= Math.min(tpm, this.share.tokens)
  }

  /** Until a request of this size may come, as far as this gateway knows. */
  msUntil(now: number, { prompt }: Estimate): number {
    const { rpm, tpm } = this.limits
    const { share } = this
    const requests = rpm === null ? Number.POSITIVE_INFINITY : Math.min(rpm, share.requests) - 1
    const tokens = tpm === null ? Number.POSITIVE_INFINITY : Math.min(tpm, share.tokens) - prompt
    return this.window.msUntil(now, requests, tokens)
  }
}

/** Half a chunk is left, and there is more to be had. */
function isShort(limit: number | null, share: number, used: number): boolean {
  return limit !== null && share < limit && used + chunk(limit) / 2 > share
}
