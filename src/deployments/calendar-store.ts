/** The SQL of leases and schedules: one function per statement. */
import type { Database, Tx } from '../store/database.ts'
import { type Calendar, clockStepsMs } from './calendar.ts'
import { json } from './replica-store.ts'
import type { Schedule } from './schedule.ts'
import type { StopCause } from './stopped.ts'

/** Those whose calendar is to be looked at: their time has come, or the clock was set back to before their last look. */
export async function dueCalendars(
  db: Database,
  now: number,
  limit: number,
): Promise<{ id: string; org_id: string }[]> {
  return db.query<{ id: string; org_id: string }>(
    `select id, org_id from deployments where calendar_at is not null and deleted_at is null
       and (calendar_at <= $1 or calendar_looked_at > $2) order by calendar_at limit $3`,
    [new Date(now), new Date(now + clockStepsMs), limit],
  )
}

/** When the next look is due, ms since epoch; null = there is nothing to look at. */
export async function nextCalendarAt(db: Database): Promise<number | null> {
  const rows = await db.query<{ at: Date | null }>(
    'select min(calendar_at) as at from deployments where calendar_at is not null and deleted_at is null',
  )
  return rows[0]?.at?.getTime() ?? null
}

export async function saveCalendar(tx: Tx, id: string, calendar: Calendar, wakeAt: number | null): Promise<void> {
  // Whoever follows what changes finds it by `updated_at`.
  await tx.query(
    `update deployments set calendar = $2, calendar_looked_at = $3, calendar_at = $4,
       updated_at = greatest(updated_at, $3) where id = $1`,
    [id, json(calendar), new Date(calendar.lookedAt), wakeAt === null ? null : new Date(wakeAt)],
  )
}

/** What stumbled is looked at again later, so that it does not keep the others waiting. */
export async function postponeCalendar(db: Database, id: string, until: number): Promise<void> {
  await db.query('update deployments set calendar_at = $2 where id = $1', [id, new Date(until)])
}

export async function saveSchedule(tx: Tx, id: string, schedule: Schedule | null): Promise<void> {
  await tx.query('update deployments set schedule = $2 where id = $1', [id, schedule === null ? null : json(schedule)])
}

export async function saveLease(tx: Tx, id: string, expiresAt: Date | null): Promise<void> {
  await tx.query('update deployments set expires_at = $2 where id = $1', [id, expiresAt])
}

export async function setStoppedBy(tx: Tx, id: string, cause: StopCause): Promise<void> {
  await tx.query('update deployments set stopped_by = $2 where id = $1', [id, cause])
}
