/**
 * When each replica was last seen to run, written down now and then, all of them together. The watcher knows it to the half
 * second; what is written is for the time after a control process that is gone: a machine that vanished meanwhile is paid
 * for until the last moment at which somebody saw it, not until its loss was found.
 */
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Database } from '../store/database.ts'
import { saveSightings } from './replica-store.ts'
import type { Watcher } from './watch.ts'

const roundEveryMs = 60_000
/** Written at once; and the pause between two such, so that a large fleet costs the database no more than a small one. */
const batchSize = 500
const pauseMs = 5_000

interface SightingsWorld {
  db: Database
  clock: Clock
  log: Log
}

/** Runs until the signal aborts. */
export async function noteSightings(
  { db, clock, log }: SightingsWorld,
  watcher: Pick<Watcher, 'sighted'>,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(roundEveryMs, signal)
    const all = watcher.sighted()
    for (let at = 0; at < all.length && !signal.aborted; at += batchSize) {
      if (at > 0) await clock.sleep(pauseMs, signal)
      try {
        await saveSightings(db, all.slice(at, at + batchSize))
      } catch (error) {
        log.warn({ error: (error as Error).message }, 'it could not be written when replicas were last seen')
      }
    }
    if (signal.aborted) return
  }
}
