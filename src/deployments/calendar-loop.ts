/**
 * Looks at the calendars that are due: at the edges of schedules, before and at the ends of leases. Each in a transaction
 * of its own, decided from the row under its lock, so that a lease or schedule that was changed a moment before counts.
 * What fell due while nobody looked is done at the first look.
 */
import type { Log } from '../runtime/log.ts'
import { keepCalendar } from './calendar-keep.ts'
import { dueCalendars, nextCalendarAt, postponeCalendar } from './calendar-store.ts'
import type { DeploymentContext } from './context.ts'
import { lockDeployment, lockOrg } from './store.ts'

/** Longest pause: a schedule that was just made may be due sooner than what was known before. */
const idleMs = 1_000
const errorPauseMs = 30_000
const dueAtOnce = 100

export class CalendarLoop {
  readonly #context: DeploymentContext & { log: Log }
  constructor(context: DeploymentContext & { log: Log }) {
    this.#context = context
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, db, log } = this.#context
    while (!signal.aborted) {
      let pauseMs = idleMs
      try {
        await this.tick()
        const next = await nextCalendarAt(db)
        if (next !== null) pauseMs = Math.min(idleMs, Math.max(5, next - clock.now()))
      } catch (error) {
        log.error({ error: (error as Error).stack ?? String(error) }, 'the calendar stumbled')
      }
      await clock.sleep(pauseMs, signal)
    }
  }

  /** Looks at all that are due. */
  async tick(): Promise<void> {
    const { db, clock, log } = this.#context
    for (;;) {
      const due = await dueCalendars(db, clock.now(), dueAtOnce)
      for (const row of due) {
        try {
          await this.#look(row)
        } catch (error) {
          log.error({ deployment: row.id, error: (error as Error).stack ?? String(error) }, 'a calendar stumbled')
          await postponeCalendar(db, row.id, clock.now() + errorPauseMs)
        }
      }
      if (due.length < dueAtOnce) return
    }
  }

  async #look({ id, org_id }: { id: string; org_id: string }): Promise<void> {
    const { db, clock, wake } = this.#context
    const acted = await db.tx(async (tx) => {
      // Before the row, as people's changes do: starting again counts against the quota.
      await lockOrg(tx, org_id)
      const row = await lockDeployment(tx, id)
      return row !== null && (await keepCalendar(this.#context, tx, row, new Date(clock.now()))).acted
    })
    if (acted) wake()
  }
}
