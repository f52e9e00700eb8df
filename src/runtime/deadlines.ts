/**
 * Many deadlines, one timer: a request arms one, moves it as it makes progress (an assignment, no timer touched), and
 * cancels it at its end. Passed deadlines are noticed at most `tickMs` late. The loop sleeps only while something is
 * armed, so an idle process does not wake.
 */
import type { Clock } from './clock.ts'

export interface Deadline {
  /** Monotonic ms; write to it to move the deadline. */
  at: number
  readonly passed: () => void
}

export class Deadlines {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #armed = new Set<Deadline>()
  #stop: AbortController | null = null
  /** Monotonic ms as of the last tick or `add`: good enough for deadlines, and free. */
  now = 0

  constructor(clock: Clock, tickMs = 50) {
    this.#clock = clock
    this.#tickMs = tickMs
  }

  /** Calls `passed` once when `afterMs` are over, unless it is cancelled or moved before. */
  add(afterMs: number, passed: () => void): Deadline {
    this.now = this.#clock.monotonicMs()
    const deadline: Deadline = { at: this.now + afterMs, passed }
    this.#armed.add(deadline)
    if (this.#stop === null) void this.#run((this.#stop = new AbortController()))
    return deadline
  }

  cancel(deadline: Deadline): void {
    this.#armed.delete(deadline)
  }

  /** Forgets every deadline without calling it. */
  close(): void {
    this.#armed.clear()
    this.#stop?.abort()
    this.#stop = null
  }

  async #run(stop: AbortController): Promise<void> {
    while (this.#armed.size > 0 && !stop.signal.aborted) {
      await this.#clock.sleep(this.#tickMs, stop.signal)
      this.now = this.#clock.monotonicMs()
      for (const deadline of this.#armed) {
        if (deadline.at > this.now) continue
        this.#armed.delete(deadline)
        deadline.passed()
      }
    }
    if (this.#stop === stop) this.#stop = null
  }
}
