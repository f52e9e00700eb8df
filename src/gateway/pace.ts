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

  /** For `pipeline`: the same pieces, no faster than the rate. */
  readonly through = async function* (this: Pace, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of source) {
      yield piece
      const now = this.#clock.monotonicMs()
      this.#dueMs = Math.max(this.#dueMs, now) + piece.length / this.#bytesPerMs
      if (this.#dueMs - now >= shortestPauseMs) await this.#clock.sleep(this.#dueMs - now)
    }
  }.bind(this)
}
