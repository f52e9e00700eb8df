/**
 * Requests that wait for the same thing, and the bytes of their bodies: counted with those of the other workers of this
 * host, so that there are no more in all than there may be. Kept as long as somebody waits.
 */
import type { Counters } from './counters.ts'

export interface PlacesLimits {
  /** Of all workers of this host. */
  maxRequests: number
  /** Of bodies, likewise. */
  maxBytes: number
}

export class HostPlaces {
  readonly #counters: Counters
  readonly #limits: PlacesLimits
  readonly #requests: number
  /** A count goes up to 2³¹, so bytes are counted by the KiB. */
  readonly #kib: number
  /** Of this worker, exactly. */
  #bytes = 0

  /** `what` they wait for, as all workers name it. */
  constructor(counters: Counters, what: string, limits: PlacesLimits) {
    this.#counters = counters
    this.#limits = limits
    this.#requests = counters.slot(what)
    this.#kib = counters.slot(`KiB ${what}`)
  }

  isFull(bytes: number): boolean {
    const of = this.#counters
    const othersBytes = (of.total(this.#kib) - of.own(this.#kib)) * 1024
    const { maxRequests, maxBytes } = this.#limits
    return of.total(this.#requests) >= maxRequests || this.#bytes + bytes + othersBytes > maxBytes
  }

  add(bytes: number): void {
    this.#bytes += bytes
    this.#counters.add(this.#requests, 1)
    this.#counters.add(this.#kib, kib(bytes))
  }

  remove(bytes: number): void {
    this.#bytes -= bytes
    this.#counters.add(this.#requests, -1)
    this.#counters.add(this.#kib, -kib(bytes))
  }

  /** Nobody waits any more. */
  close(): void {
    this.#counters.release(this.#requests)
    this.#counters.release(this.#kib)
  }
}

function kib(bytes: number): number {
  return Math.ceil(bytes / 1024)
}
