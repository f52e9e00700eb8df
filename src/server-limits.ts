/** Keeps a gateway's shares of limits with the database: the loop, and the beginning and the end of it. */
import {
  endFormerShares,
  exchangeShares,
  forgetShares,
  leaveShares,
  releaseShares,
  wantedShares,
} from './access/limit-store.ts'
import { Lessee } from './gateway/limits/lessee.ts'
import type { Limiter, Shares } from './gateway/limits/limiter.ts'
import type { Share } from './gateway/limits/subject.ts'
import type { Clock } from './runtime/clock.ts'
import { randomToken } from './runtime/ids.ts'
import type { Log } from './runtime/log.ts'
import type { Database } from './store/database.ts'

const idleMs = 500
/** However many ask. */
const betweenMs = 20
const afterFailureMs = 1_000
const forgetEveryMs = 60_000

export interface ShareKeeperParts {
  db: Database
  /** Of the gateway; the same after a restart. */
  id: string
  leaseSeconds: number
  clock: Clock
  log: Log
}

export class ShareKeeper implements Shares {
  readonly #parts: ShareKeeperParts
  readonly #holder: string
  #lessee: Lessee | null = null
  #limiter: Limiter | null = null
  #wake: () => void = () => {}
  #asked = false
  #began = false
  #forgotAt = 0

  constructor(parts: ShareKeeperParts) {
    this.#parts = parts
    this.#holder = `${parts.id}/${randomToken(8)}`
  }

  begin(): Share {
    return { requests: 0, tokens: 0, until: 0, coming: true, fresh: true, denied: false }
  }

  ask(): void {
    this.#asked = true
    this.#wake()
  }

  /** Until the signal; then what is left of the shares is given back. */
  async run(limiter: Limiter, signal: AbortSignal): Promise<void> {
    const { db, clock, log, leaseSeconds } = this.#parts
    this.#limiter = limiter
    this.#lessee = new Lessee({
      source: {
        exchange: (asks, leaseMs) => exchangeShares(db, this.#holder, asks, { now: clock.now(), leaseMs }),
        release: (subjects) => releaseShares(db, this.#holder, subjects),
        wanted: () => wantedShares(db, this.#holder, clock.now()),
      },
      leaseMs: leaseSeconds * 1000,
      subjects: () => limiter.subjects(),
      granted: () => limiter.look(),
    })
    while (!signal.aborted) {
      this.#asked = false
      const failed = await this.#turn().then(
        () => false,
        (error: Error) => {
          log.warn({ error: error.message }, 'shares of limits could not be renewed')
          return true
        },
      )
      await clock.sleep(failed ? afterFailureMs : betweenMs, signal)
      if (this.#asked || signal.aborted) continue
      const stop = new AbortController()
      this.#wake = () => stop.abort()
      await clock.sleep(idleMs, AbortSignal.any([signal, stop.signal]))
    }
    await this.#leave().catch(() => {})
  }

  async #turn(): Promise<void> {
    const { db, clock, id } = this.#parts
    const now = clock.now()
    if (!this.#began) {
      await endFormerShares(db, id, this.#holder, now)
      this.#began = true
    }
    await this.#lessee!.tick(clock.monotonicMs())
    if (Math.abs(now - this.#forgotAt) < forgetEveryMs) return
    this.#forgotAt = now
    await forgetShares(db, now)
  }

  async #leave(): Promise<void> {
    const { db, clock } = this.#parts
    const used = new Map<string, { requests: number; tokens: number }>()
    for (const { name, window } of this.#limiter!.subjects()) {
      window.slide(clock.monotonicMs())
      used.set(name, { requests: window.requests, tokens: Math.ceil(window.tokens) })
    }
    await leaveShares(db, this.#holder, used, clock.now())
  }
}
