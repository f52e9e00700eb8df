/** Brings one deployment in line with its calendar, in the caller's transaction: nothing is done twice, nothing lost. */
import type { EventData } from '../events/catalogue.ts'
import { record } from '../events/store.ts'
import { canonical } from '../kernel/canonical.ts'
import { Fault } from '../kernel/fault.ts'
import type { Tx } from '../store/database.ts'
import { type CalendarAct, type CalendarView, calendarStep } from './calendar.ts'
import * as store from './calendar-store.ts'
import type { DeploymentContext } from './context.ts'
import { bringBack, stopDeployment } from './stop-start.ts'
import { type DeploymentRow, deploymentById, touch } from './store.ts'

/** How long until a start that was refused is tried again. */
const refusedPauseMs = 30_000

/**
 * `row`: as locked; the organisation's lock is held. Returns the row as it is then, and whether anything was done that
 * the reconciler should look at.
 */
export async function keepCalendar(
  context: DeploymentContext,
  tx: Tx,
  row: DeploymentRow,
  at: Date,
): Promise<{ row: DeploymentRow; acted: boolean }> {
  const view = calendarViewOf(row)
  if (row.desired === 'deleted' || (row.calendar === null && row.schedule === null && row.expires_at === null))
    return { row, acted: false }
  const step = calendarStep(view, at.getTime(), context.leaseWarningSeconds * 1000)
  const calendar = { ...step.calendar }
  let { wakeAt } = step
  for (const act of step.acts) {
    const refused = await perform(context, tx, row, act, at)
    if (refused === null) continue
    wakeAt = Math.min(wakeAt ?? Number.POSITIVE_INFINITY, at.getTime() + refusedPauseMs)
    if (refused !== calendar.refused) await event(tx, row, 'deployment.start_refused', { why: refused }, at)
    calendar.refused = refused
  }
  const same = canonical(row.calendar) === canonical(calendar) && row.calendar_at?.getTime() === (wakeAt ?? undefined)
  if (!same) await store.saveCalendar(tx, row.id, calendar, wakeAt)
  return { row: same ? row : (await deploymentById(tx, row.id))!, acted: step.acts.length > 0 }
}

function calendarViewOf(row: DeploymentRow): CalendarView {
  return {
    schedule: row.schedule,
    expiresAt: row.expires_at?.getTime() ?? null,
    calendar: row.calendar,
    desired: row.desired,
    failed: row.phase === 'failed',
    stoppedBy: row.desired === 'stopped' ? (row.stopped_by ?? 'person') : null,
  }
}

/** Why it could not be done; null = it was. */
async function perform(
  context: DeploymentContext,
  tx: Tx,
  row: DeploymentRow,
  act: CalendarAct,
  at: Date,
): Promise<string | null> {
  switch (act.do) {
    case 'turn': {
      const { override, window, until } = act
      const range = override?.action === 'scale' ? { min_replicas: override.min, max_replicas: override.max } : {}
      const data = { says: override?.action ?? 'nothing', window, ...range, until: isoOf(until) } as const
      await event(tx, row, 'deployment.schedule_turned', data, at)
      // Whoever follows what was written since, as the autoscaler does, sees it.
      await touch(tx, row.id, at)
      return null
    }
    case 'warn':
      await event(tx, row, 'deployment.expiring', { expires_at: isoOf(row.expires_at!.getTime())! }, at)
      return null
    case 'expire':
      await event(tx, row, 'deployment.expired', { expires_at: isoOf(row.expires_at!.getTime())! }, at)
      if (row.desired === 'running') await stopDeployment(tx, row, { cause: 'lease', by: 'lease' }, at)
      else await store.setStoppedBy(tx, row.id, 'lease')
      return null
    case 'stop':
      await stopDeployment(tx, row, { cause: 'schedule', by: 'schedule' }, at)
      return null
    case 'start':
      return startAgain(context, tx, row, at)
  }
}

async function startAgain(context: DeploymentContext, tx: Tx, row: DeploymentRow, at: Date): Promise<string | null> {
  try {
    await bringBack(context, tx, row, at)
  } catch (error) {
    if (error instanceof Fault) return error.message
    throw error
  }
  await event(tx, row, 'deployment.start_asked', { by: 'schedule' }, at)
  return null
}

function isoOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}

async function event<T extends keyof EventData>(
  tx: Tx,
  row: DeploymentRow,
  type: T,
  data: EventData[T],
  at: Date,
): Promise<void> {
  await record(tx, { orgId: row.org_id, deploymentId: row.id, type, data, at })
}
