/** The gateway's metering: the journal that requests are written to, and the way from it into the ledger. */
import { systemClock as clock } from './runtime/clock.ts'
import type { Log } from './runtime/log.ts'
import type { Config } from './runtime/settings.ts'
import type { Database } from './store/database.ts'
import { takenFrom } from './usage/days.ts'
import { Journal } from './usage/journal/journal.ts'
import { Shipper } from './usage/journal/shipper.ts'
import { isRefused, recordLines } from './usage/store.ts'

/** Longest that a clean stop waits for the database to take the rest; the next start ships what is left. */
const lastPassMs = 500

export interface Metering {
  journal: Journal
  /** For the register of gateways. */
  report(): object
  stop(): Promise<void>
}

export async function startMetering(options: {
  config: Config
  /** Of the journals of this machine. */
  folder: string
  db: Database
  log: Log
  /** Of those who share the folder; the first tells what it holds. */
  worker: number
}): Promise<Metering> {
  const { config, folder: root, db, log, worker } = options
  const journal = await Journal.open({
    root,
    syncMs: config['journal.sync_milliseconds'],
    segmentBytes: config['journal.segment_bytes'],
    maxBytes: config['journal.max_bytes'],
    minFreeBytes: config['journal.min_free_bytes'],
    whenFull: config['journal.when_full'],
    clock,
    log,
  })
  const shipper = new Shipper({
    root,
    own: () => journal.folder,
    ledger: { record: (lines) => recordLines(db, lines), refuses: isRefused },
    horizon: () => takenFrom(clock.now(), config['usage.retention_days']),
    clock,
    log,
  })
  const stopping = new AbortController()
  const shipping = shipper.run(stopping.signal)
  return {
    journal,
    report: () => ({ ...journal.state(), ...shipper.state(), ...(worker > 0 ? { bytes: 0 } : {}) }),
    stop: async () => {
      await journal.close()
      stopping.abort()
      const late = new AbortController()
      const last = shipping.then(() => shipper.pass(late.signal, true)).catch(() => {})
      await Promise.race([last, clock.sleep(lastPassMs)])
      late.abort()
      shipper.close()
    },
  }
}
