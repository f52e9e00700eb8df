/**
 * How many requests that an engine may have seen may be sent again: a share of those that came lately. Where engines
 * fail one after the other, sending again what they failed on would keep on failing those that are left.
 */

export interface RetryLimits {
  /** Of the requests of a deployment. 0 = none is sent again. */
  share: number
  /** So many may be saved up, and are there at the start: one engine that dies takes all that it had with it. */
  saved: number
  /** And so many a second however few requests come. */
  perSecond: number
}

export const retryLimits = { saved: 100, perSecond: 1 }

/** Deployments whose balance is kept; the one that began first is forgotten first, and begins anew. */
const deploymentsMaximum = 10_000

interface Balance {
  left: number
  /** Monotonic ms. */
  at: number
}

export class RetryBudget {
  readonly #limits: RetryLimits
  readonly #balances = new Map<string, Balance>()

  constructor(limits: RetryLimits) {
    this.#limits = limits
  }

  /** A request came. */
  earn(deploymentId: string, now: number): void {
    const balance = this.#of(deploymentId, now)
    balance.left = Math.min(this.#limits.saved, balance.left + this.#limits.share)
  }

  /** False when none is left: the request fails as it did. */
  spend(deploymentId: string, now: number): boolean {
    const { share, saved, perSecond } = this.#limits
    if (share === 0) return false
    const balance = this.#of(deploymentId, now)
    balance.left = Math.min(saved, balance.left + ((now - balance.at) / 1000) * perSecond)
    balance.at = now
    if (balance.left < 1) return false
    balance.left -= 1
    return true
  }

  #of(deploymentId: string, now: number): Balance {
    let balance = this.#balances.get(deploymentId)
    if (balance !== undefined) return balance
    balance = { left: this.#limits.saved, at: now }
    this.#balances.set(deploymentId, balance)
    if (this.#balances.size > deploymentsMaximum) this.#balances.delete(this.#balances.keys().next().value!)
    return balance
  }
}
