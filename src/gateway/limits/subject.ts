/**
 * A deployment or a key that has limits, as this gateway counts it: what is under way on the host, and what came in the
 * last 60 seconds against the share of the limit that this gateway holds. Decides; waits for nobody.
 */
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
}

/** Who is alone has all of every limit. */
export const wholeShare: Readonly<Share> = {
  requests: Number.POSITIVE_INFINITY,
  tokens: Number.POSITIVE_INFINITY,
  until: Number.POSITIVE_INFINITY,
  coming: false,
}

export class Subject {
  readonly name: string
  limits: Limits
  readonly window = new SlidingWindow()
  share: Share
  /** More is wanted than is held; whoever fetches shares resets it. */
  wanting = false
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
    const { requests, tokens } = this.window
    if (rpm !== null && requests >= rpm) return 'requests'
    if (tpm !== null && !this.#fits(size, tpm)) return 'tokens'
    if (this.#isFull()) return 'at_once'
    const { share } = this
    const holds = now < share.until
    const enough =
      holds && (rpm === null || requests < share.requests) && (tpm === null || this.#fits(size, share.tokens))
    if (enough) return 'yes'
    this.wanting = true
    // Who holds nothing yet lets one in on credit, so that nobody waits for the database who need not.
    if (requests === 0 && tokens === 0 && this.open === 0 && (share.requests === 0 || share.tokens === 0 || !holds))
      return 'yes'
    if (share.coming) return 'lease'
    return rpm !== null && requests >= (holds ? share.requests : 0) ? 'requests' : 'tokens'
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
