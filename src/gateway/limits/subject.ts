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
  /** Requests that wait for it. */
  waiting = 0
  readonly #counters: Counters
  readonly #slot: number

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
  }

  verdict(now: number, size: Estimate): Verdict {
    const { rpm, tpm } = this.limits
    if (rpm === null && tpm === null) return this.#isFull() ? 'at_once' : 'yes'
    if (tpm !== null && size.prompt > tpm) return 'too_large'
    this.window.slide(now)
    if (rpm !== null && this.window.requests >= rpm) return 'requests'
    if (tpm !== null && !this.#fits(size, tpm)) return 'tokens'
    if (this.#isFull()) return 'at_once'
    return this.share === wholeShare ? 'yes' : this.#verdictOfShare(now, size)
  }

  /** What the limit would let in: does the share? */
  #verdictOfShare(now: number, size: Estimate): Verdict {
    const { share, limits } = this
    const { requests, tokens } = this.window
    const holds = now < share.until
    const fewRequests = limits.rpm !== null && (!holds || requests >= share.requests)
    const fewTokens = limits.tpm !== null && (!holds || !this.#fits(size, share.tokens))
    // Asked for before the last of it is used, so that nobody has to wait.
    if (isShort(limits.rpm, share.requests, requests + 1) || isShort(limits.tpm, share.tokens, tokens + size.most))
      this.wanting = true
    if (!fewRequests && !fewTokens) return 'yes'
    this.wanting = true
    this.needs.requests = Math.max(this.needs.requests, requests + 1 + this.waiting)
    this.needs.tokens = Math.max(this.needs.tokens, tokens + size.most)
    // One on credit, so that the first does not wait for the database.
    if (share.fresh && requests === 0 && tokens === 0 && this.inFlight === 0) return 'yes'
    if (share.denied) return fewRequests ? 'requests' : 'tokens'
    return 'lease'
  }

  #isFull(): boolean {
    const { concurrency } = this.limits
    return concurrency !== null && this.#counters.total(this.#slot) >= concurrency
  }

  /** All of what it may take, or, for one at a time, its prompt: at most one request turns out larger than there is. */
  #fits({ prompt, most }: Estimate, tokens: number): boolean {
    return this.window.tokens + most <= tokens || (this.open === 0 && this.window.tokens + prompt <= tokens)
  }

  /** Only after the verdict `yes`, in the same turn. False when another worker of the host was faster. */
  enter(): boolean {
    const { concurrency } = this.limits
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
