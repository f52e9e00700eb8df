/** Keeps the ledger's days: makes those to come, drops those that are over. The sums per minute stay for ever. */
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Database } from '../store/database.ts'
import { daysWanted, forgottenBefore, partitionsOver } from './days.ts'
import { addDay, dropDay, forgetOthers, partitions } from './store.ts'

const everyMs = 3_600_000
const afterFailureMs = 60_000

export interface KeepingOptions {
  db: Database
  retentionDays: number
  clock: Clock
  log: Log
}

/** Until the signal; never rejects. */
export async function keepLedger(options: KeepingOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options
  while (!signal.aborted) {
    const done = await keepOnce(options).then(
      () => true,
      (error: Error) => {
        log.warn({ error: error.message }, 'the days of the ledger could not be kept')
        return false
      },
    )
    await clock.sleep(done ? everyMs : afterFailureMs, signal)
  }
}

export async function keepOnce({ db, retentionDays, clock, log }: KeepingOptions): Promise<void> {
  const now = clock.now()
  const there = await partitions(db)
  for (const day of daysWanted(now)) if (!there.includes(day.partition)) await addDay(db, day)
  const before = forgottenBefore(now, retentionDays)
  for (const partition of partitionsOver(there, before)) {
    await dropDay(db, partition)
    log.info({ partition }, 'a day of requests was dropped')
  }
  await forgetOthers(db, before)
}
