/** Metrics in both processes: a gateway's on their way to the database, and control's, which puts them together. */

import { AllMetrics } from './deployments/all-metrics.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { newId } from './runtime/ids.ts'
import type { Log } from './runtime/log.ts'
import { type ProcessHealth, ProcessWatch } from './runtime/process-health.ts'
import type { Database } from './store/database.ts'
import type { Points } from './usage/metrics/families.ts'
import { keepMetrics } from './usage/metrics/keeping.ts'
import { MetricsReporter } from './usage/metrics/reporter.ts'
import { lastSeqs, samplesAfter, saveBatch } from './usage/metrics/store.ts'
import { Totals } from './usage/metrics/totals.ts'
import type { SettledRequest } from './usage/request.ts'

/** Longest that a clean stop waits for the database to take the rest. */
const lastPassMs = 500

export interface Metrics {
  settled(settled: SettledRequest): void
  /** For the register of gateways. */
  process(): ProcessHealth
  stop(): Promise<void>
}

export function startMetrics(db: Database, log: Log): Metrics {
  const reporter = new MetricsReporter({
    source: newId('gw', clock),
    save: (batch) => saveBatch(db, batch),
    clock,
    log,
  })
  const watch = new ProcessWatch(clock)
  const stopping = new AbortController()
  const reporting = reporter.run(stopping.signal)
  return {
    settled: (settled) => reporter.settled(settled),
    process: () => watch.read(),
    stop: async () => {
      watch.stop()
      stopping.abort()
      const last = reporting.then(() => reporter.pass()).catch(() => {})
      await Promise.race([last, clock.sleep(lastPassMs)])
    },
  }
}

export interface ControlMetrics {
  /** Everything measured, for /metrics. */
  read(): Promise<Points>
  /** Keeps what the gateways wrote small, until the signal. */
  keep(signal: AbortSignal): Promise<void>
}

export function controlMetrics(db: Database, log: Log): ControlMetrics {
  const totals = new Totals({ lastSeqs: () => lastSeqs(db), samplesAfter: (seen) => samplesAfter(db, seen) })
  const watch = new ProcessWatch(clock)
  const all = new AllMetrics({ db, clock, totals, health: () => watch.read() })
  return {
    read: () => all.read(),
    keep: (signal) => keepMetrics({ db, clock, log, beforehand: () => totals.catchUp() }, signal),
  }
}
