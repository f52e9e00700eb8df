/** How a lease or a schedule is given, changed and taken away, in the caller's transaction. It counts at once. */
import { record } from '../events/store.ts'
import { canonical } from '../kernel/canonical.ts'
import { Fault } from '../kernel/fault.ts'
import type { Tx } from '../store/database.ts'
import { anew } from './calendar.ts'
import { keepCalendar } from './calendar-keep.ts'
import { saveLease, saveSchedule, setStoppedBy } from './calendar-store.ts'
import type { DeploymentContext } from './context.ts'
import type { Schedule } from './schedule.ts'
import { makeSchedule, type ScheduleLimits, type ScheduleWish } from './schedule-check.ts'
import type { DeploymentRow } from './store.ts'

/** Absent = as it is; null = none. */
export interface CalendarWish {
  schedule?: ScheduleWish | null
  expiresAt?: Date | null
}

/** The same, checked; undefined = as it is. */
export interface MadeCalendar {
  schedule: Schedule | null | undefined
  expiresAt: Date | null | undefined
}

/** Throws Fault `invalid_request`; `prefix`: before the schedule's fields. A schedule without windows is none. */
export function makeCalendar(
  wish: CalendarWish,
  limits: ScheduleLimits,
  now: number,
  prefix = 'schedule.',
): MadeCalendar {
  const { expiresAt } = wish
  if (expiresAt && expiresAt.getTime() <= now)
    throw new Fault('invalid_request', `expires_at (${expiresAt.toISOString()}) is in the past.`)
  const schedule = wish.schedule && makeSchedule(wish.schedule, limits, prefix)
  return { schedule: schedule?.windows.length === 0 ? null : schedule, expiresAt }
}

/** `row`: as locked; the organisation's lock is held. */
export async function changeCalendar(
  context: DeploymentContext,
  tx: Tx,
  row: DeploymentRow,
  { schedule, expiresAt }: MadeCalendar,
  { by, at }: { by: string; at: Date },
): Promise<void> {
  let after = row
  const base = { orgId: row.org_id, deploymentId: row.id, at }
  if (schedule !== undefined && canonical(schedule) !== canonical(row.schedule)) {
    await saveSchedule(tx, row.id, schedule)
    const data = { by, windows: schedule?.windows.length ?? 0 }
    await record(tx, { ...base, type: 'deployment.schedule_changed', data })
    after = { ...after, schedule, calendar: anew(row.calendar) }
  }
  if (expiresAt !== undefined && expiresAt?.getTime() !== row.expires_at?.getTime()) {
    await saveLease(tx, row.id, expiresAt)
    const data = { by, expires_at: expiresAt?.toISOString() ?? null }
    await record(tx, { ...base, type: 'deployment.lease_changed', data })
    // It may run again, but whoever prolongs a lease has not said that it should.
    if (row.stopped_by === 'lease') await setStoppedBy(tx, row.id, 'person')
    after = { ...after, expires_at: expiresAt, stopped_by: row.stopped_by === 'lease' ? 'person' : row.stopped_by }
  }
  if (after !== row) await keepCalendar(context, tx, after, at)
}
