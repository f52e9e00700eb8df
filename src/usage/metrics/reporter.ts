/**
 * Brings what a gateway measured into the database: every two seconds what is new, as one batch after the other. Nobody
 * waits for it. While the database is away one cut stays pending and the rest goes on adding up, in as much room as
 * there are deployments that were asked; it is told when the database is back. What was measured in the last seconds
 * before a kill is lost: curves, not the ledger.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { SettledRequest } from '../request.ts'
import { MetricCounts } from './counts.ts'
import type { Batch } from './store.ts'

const everyMs = 2_000
/** Of one statement. */
const entriesMaximum = 500

export interface ReporterParts {
  /** Of this run of this gateway alone: a second one of the same name would not be heard. */
  source: string
  save(batch: Batch): Promise<void>
  clock: Clock
  log: Log
}

export class MetricsReporter {
  readonly #parts: ReporterParts
  readonly #counts = new MetricCounts()
  #pending: Batch[] = []
  #seq = 0
  #cutAt: number
  #failing = false

  constructor(parts: ReporterParts) {
    this.#parts = parts
    this.#cutAt = parts.clock.now()
  }

  settled(settled: SettledRequest): void {
    this.#counts.add(settled)
  }

  /** Until the signal; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal)
      if (signal.aborted) return
      try {
        await this.pass()
        this.#failing = false
      } catch (error) {
        if (!this.#failing) log.warn({ error: (error as Error).message }, 'metrics wait for the database')
        this.#failing = true
      }
    }
  }

  /** Writes what is new. Rejects when the database does not take it; nothing is lost then. */
  async pass(): Promise<void> {
    if (this.#pending.length === 0) this.#cut()
    while (this.#pending.length > 0) {
      await this.#parts.save(this.#pending[0]!)
      this.#pending.shift()
    }
  }

  #cut(): void {
    const { source, clock } = this.#parts
    const at = clock.now()
    const entries = this.#counts.cut()
    for (let from = 0; from < entries.length; from += entriesMaximum) {
      this.#seq += 1
      const some = entries.slice(from, from + entriesMaximum)
      // A clock that was set back has measured nothing backwards.
      this.#pending.push({ source, seq: this.#seq, beganAt: Math.min(this.#cutAt, at), at, entries: some })
    }
    this.#cutAt = at
  }
}
