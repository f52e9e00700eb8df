/** How this process is: its memory, and by how much its event loop is late. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from './clock.ts'

export interface ProcessHealth {
  rssBytes: number
  /** Of the last ten to twenty seconds; null until something was measured. */
  loopDelayMs: { p50: number; p99: number; max: number } | null
}

const sampleEveryMs = 20
const roundMs = 10_000

export class ProcessWatch {
  readonly #clock: Clock
  readonly #delays: ReturnType<typeof monitorEventLoopDelay>
  #since: number
  #last: ProcessHealth['loopDelayMs'] = null

  constructor(clock: Clock) {
    this.#clock = clock
    this.#since = clock.monotonicMs()
    this.#delays = monitorEventLoopDelay({ resolution: sampleEveryMs })
    this.#delays.enable()
  }

  read(): ProcessHealth {
    const now = this.#clock.monotonicMs()
    if (this.#last === null || now - this.#since >= roundMs) {
      this.#last = this.#measured()
      if (now - this.#since >= roundMs) {
        this.#delays.reset()
        this.#since = now
      }
    }
    return { rssBytes: process.memoryUsage.rss(), loopDelayMs: this.#last }
  }

  stop(): void {
    this.#delays.disable()
  }

  #measured(): ProcessHealth['loopDelayMs'] {
    if (this.#delays.count === 0) return null
    return {
      p50: lateMs(this.#delays.percentile(50)),
      p99: lateMs(this.#delays.percentile(99)),
      max: lateMs(this.#delays.max),
    }
  }
}

/** What is measured is the time from one look to the next, in ns: what is more than asked for is the delay. */
function lateMs(betweenLooksNs: number): number {
  return Math.round(Math.max(0, betweenLooksNs / 1e6 - sampleEveryMs) * 100) / 100
}
