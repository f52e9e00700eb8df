/** Uploads on their way to control, slowed to a rate that leaves the process its time for tokens. */
import type { Clock } from '../runtime/clock.ts'

/** Pauses shorter than this are saved up: a timer costs more than it slows. */
const shortestPauseMs = 2

/** One rate for everything that goes through it together. */
export class Pace {
  readonly #clock: Clock
  readonly #bytesPerMs: number
  /** When all that has gone through should have taken its time, monotonic ms. */
  #dueMs = 0

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock
    this.#bytesPerMs = bytesPerSecond / 1000
  }

  /** So many bytes have gone through: how long to wait before the next; null = not at all. */
  after(bytes: number): Promise<void> | null {
    const now = this.#clock.monotonicMs()
    this.#dueMs = Math.max(this.#dueMs, now) + bytes / this.#bytesPerMs
    return this.#dueMs - now >= shortestPauseMs ? this.#clock.sleep(this.#dueMs - now) : null
  }
}
