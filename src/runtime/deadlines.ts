/**
 * Many deadlines, one timer: a request arms one, moves it as it makes progress (an assignment, no timer touched), and
 * cancels it at its end. Passed deadlines are noticed at most `tickMs` late. The loop sleeps only while something is
 * armed, so an idle process does not wake.
 */
import { Roster, type Rostered } from '../kernel/roster.ts'
import type { Clock } from './clock.ts'

export interface Deadline {
  /** Monotonic ms; write to it to move the deadline. */
  at: number
}

class Armed implements Deadline, Rostered {
  slot = -1
  at: number
  /** Let go at the end, so that a deadline that is still referred to holds nothing else. */
  passed: (() => void) | null

  constructor(at: number, passed: () => void) {
    this.at = at
    this.passed = passed
  }
}

export class Deadlines {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #armed = new Roster<Armed>()
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
    const deadline = new Armed(this.now + afterMs, passed)
    this.#armed.add(deadline)
    if (this.#stop === null) void this.#run((this.#stop = new AbortController()))
    return deadline
  }

  cancel(deadline: Deadline): void {
    if (!(deadline instanceof Armed)) return
    this.#armed.remove(deadline)
    deadline.passed = null
  }

  /** Forgets every deadline without calling it. */
  close(): void {
    for (const deadline of this.#armed.list()) this.cancel(deadline)
    this.#stop?.abort()
    this.#stop = null
  }

  async #run(stop: AbortController): Promise<void> {
    while (this.#armed.size > 0 && !stop.signal.aborted) {
      await this.#clock.sleep(this.#tickMs, stop.signal)
      this.now = this.#clock.monotonicMs()
      for (const deadline of this.#armed.list()) {
        if (deadline.at > this.now) continue
        const { passed } = deadline
        this.cancel(deadline)
        passed?.()
      }
    }
    if (this.#stop === stop) this.#stop = null
  }
}
