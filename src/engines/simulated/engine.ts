/**
 * One simulated engine at work: requests in order of arrival, as many at once as it has sequences, each at the pace of
 * its launch line. It knows when it ends and when it hangs (fate.ts), and looks at that whenever it goes on.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { EngineArguments } from './arguments.ts'
import type { Ask } from './ask.ts'
import { type Condition, conditionAt, type Fate } from './fate.ts'

/** The client has left, or the engine is no more: nobody is told anything. */
export class Cut extends Error {}

/** Without an end in sight, a hung request looks again after this long, ms. */
const hungLookMs = 60_000
/** Requests that wait; the gateway's own bounds are far lower. */
const waitingMaximum = 100_000

export class Work {
  gone = false
  /** Ends its sleep. */
  wake: () => void = () => {}
}

export class SimulatedEngine {
  readonly args: EngineArguments
  readonly fate: Fate
  readonly #clock: Clock
  readonly #running = new Set<Work>()
  readonly #waiting: Work[] = []
  /** Requests that came while it hung. */
  readonly #silent = new Set<Work>()
  promptTokens = 0
  generatedTokens = 0

  constructor(args: EngineArguments, fate: Fate, clock: Clock) {
    this.args = args
    this.fate = fate
    this.#clock = clock
  }

  get running(): number {
    return this.#running.size
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get condition(): Condition {
    return conditionAt(this.fate, this.#clock.now())
  }

  /** Something happened to it: whoever sleeps looks at its fate anew. */
  cut(): void {
    for (const work of [...this.#running, ...this.#waiting, ...this.#silent]) work.wake()
  }

  /** Waits until it hangs no more. Throws Cut. */
  async outlast(work: Work): Promise<void> {
    this.#silent.add(work)
    try {
      await this.#rest(work, 0)
    } finally {
      this.#silent.delete(work)
    }
  }

  /** Tells `said` how many tokens there are by then, the last time all of them. Throws Cut. */
  async produce(ask: Ask, work: Work, said: (tokens: number) => void): Promise<void> {
    await this.#begin(work)
    try {
      const { firstTokenMs, tokensPerSecond } = this.args
      const perTokenMs = 1000 / tokensPerSecond
      const firstAt = this.#clock.monotonicMs() + firstTokenMs
      this.promptTokens += ask.promptTokens
      for (let tokens = 0; tokens < ask.tokens; ) {
        const next = ask.stream ? tokens : ask.tokens - 1
        await this.#rest(work, firstAt + next * perTokenMs - this.#clock.monotonicMs())
        // Timers come late by their nature: what is due by now is said in one go.
        const due = Math.floor((this.#clock.monotonicMs() - firstAt) / perTokenMs + 1e-6) + 1
        const now = Math.min(ask.tokens, Math.max(next + 1, due))
        this.generatedTokens += now - tokens
        tokens = now
        said(tokens)
      }
    } finally {
      this.#running.delete(work)
      this.#waiting[0]?.wake()
    }
  }

  /** Waits for a sequence. */
  async #begin(work: Work): Promise<void> {
    this.#check(work)
    if (this.#waiting.length >= waitingMaximum) throw new Cut()
    this.#waiting.push(work)
    try {
      while (this.#running.size >= this.args.sequences || this.#waiting[0] !== work) {
        await new Promise<void>((woken) => {
          work.wake = woken
        })
        this.#check(work)
      }
    } catch (error) {
      this.#waiting.splice(this.#waiting.indexOf(work), 1)
      this.#waiting[0]?.wake()
      throw error
    }
    this.#waiting.shift()
    this.#running.add(work)
    // There may be room for one more.
    this.#waiting[0]?.wake()
  }

  /** Sleeps, but not past its end; sits out a silence. */
  async #rest(work: Work, ms: number): Promise<void> {
    const until = this.#clock.monotonicMs() + ms
    for (;;) {
      this.#check(work)
      const now = this.#clock.now()
      const { end, hang } = this.fate
      const hung = this.condition.state === 'hung'
      const left = hung ? (hang?.to ?? now + hungLookMs) - now : until - this.#clock.monotonicMs()
      if (left <= 0 && !hung) return
      await this.#sleep(work, end === null ? left : Math.min(left, Math.max(0, end.at - now)))
    }
  }

  async #sleep(work: Work, ms: number): Promise<void> {
    const stop = new AbortController()
    work.wake = () => stop.abort()
    await this.#clock.sleep(ms, stop.signal)
  }

  #check(work: Work): void {
    const { state } = this.condition
    if (work.gone || state === 'absent' || state === 'loading') throw new Cut()
  }
}
