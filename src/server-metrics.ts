/** The gateway's metrics: what was measured of every request, on its way to control; and how its process is. */
import { systemClock as clock } from './runtime/clock.ts'
import { newId } from './runtime/ids.ts'
import type { Log } from './runtime/log.ts'
import { type ProcessHealth, ProcessWatch } from './runtime/process-health.ts'
import type { Database } from './store/database.ts'
import { MetricsReporter } from './usage/metrics/reporter.ts'
import { saveBatch } from './usage/metrics/store.ts'
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
