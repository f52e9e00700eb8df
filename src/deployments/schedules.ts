/** Use cases of a deployment's schedule: what it says, now and next; another one, or none. */
import type { Principal } from '../access/permissions.ts'
import { changeCalendar, makeCalendar } from './calendar-change.ts'
import { changeDeployment } from './change.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { type Schedule, type ScheduleWindow, scheduleAt } from './schedule.ts'
import type { ScheduleWish } from './schedule-check.ts'
import type { DeploymentRow } from './store.ts'
import type { ActiveWindow } from './view.ts'

export interface ScheduleView {
  windows: ScheduleWindow[]
  active: ActiveWindow | null
  /** When something else is said; null = never. */
  nextChangeAt: Date | null
  /** A sentence. */
  why: string
}

const noSchedule: Schedule = { windows: [] }

export class Schedules {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  async get(principal: Principal, idOrName: string): Promise<ScheduleView> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    return scheduleView(row, this.#context.clock.now())
  }

  /** Counts at once. null = none. Throws Fault `invalid_request` that names every problem. */
  async put(principal: Principal, idOrName: string, wish: ScheduleWish | null): Promise<ScheduleView> {
    const made = makeCalendar({ schedule: wish }, this.#context, this.#context.clock.now(), '')
    await changeDeployment(this.#context, principal, idOrName, null, async (tx, row, at) => {
      await changeCalendar(this.#context, tx, row, made, { by: principal.keyId, at })
    })
    return this.get(principal, idOrName)
  }
}

/** From the schedule itself, so that it is right to the moment. */
function scheduleView(row: DeploymentRow, now: number): ScheduleView {
  const { windows } = row.schedule ?? noSchedule
  if (row.expires_at !== null && row.expires_at.getTime() <= now) {
    const why = `The lease ended at ${row.expires_at.toISOString()}: the schedule says nothing any more.`
    return { windows, active: null, nextChangeAt: null, why }
  }
  const { window, override, nextChangeAt, why } = scheduleAt({ windows }, now)
  return {
    windows,
    active: window === null || override === null ? null : { window, override, overruled: isOverruled(row, override) },
    nextChangeAt: nextChangeAt === null ? null : new Date(nextChangeAt),
    why: windows.length === 0 ? 'There is no schedule.' : why,
  }
}

/** What lease and schedule say of it, in sentences. */
export function calendarWhy(row: DeploymentRow, now: number): string[] {
  const expiresAt = row.expires_at?.getTime() ?? null
  const lease = expiresAt !== null && expiresAt > now ? [`Its lease ends at ${new Date(expiresAt).toISOString()}.`] : []
  if (row.schedule === null) return lease
  const { why, active, nextChangeAt } = scheduleView(row, now)
  const next = active === null && nextChangeAt !== null ? [`One opens at ${nextChangeAt.toISOString()}.`] : []
  return [...lease, why, ...next, ...(active?.overruled ? ['Somebody started it: it runs until then.'] : [])]
}

/** A person started it in the middle of a window that stops it. */
export function isOverruled({ desired }: Pick<DeploymentRow, 'desired'>, { action }: { action: string }): boolean {
  return action === 'stop' && desired === 'running'
}
