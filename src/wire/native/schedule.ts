/** Schedules on the native API: windows as sent and shown, and what counts now. */
import { z } from 'zod'
import { instant, iso, moment, orNull, plainText } from './fields.ts'

export const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
export const scheduleActions = ['scale', 'sleep', 'stop'] as const

const windowFields = {
  days: z
    .array(z.enum(weekdays))
    .max(7)
    .optional()
    .meta({
      description: 'Days on which it begins; default: every day.',
      example: ['mon', 'tue', 'wed', 'thu', 'fri'],
    }),
  from: plainText(5).optional().meta({ description: 'When it begins, on the wall.', example: '08:00' }),
  to: plainText(5).optional().meta({
    description: 'When it ends; at or before `from`: on the day after. 24:00 is the end of the day.',
    example: '18:00',
  }),
  cron: plainText(200).optional().meta({
    description:
      'Instead of days, from and to: when it begins, as minute, hour, day of the month, month, day of the week.',
  }),
  minutes: z.int().min(1).max(527_040).optional().meta({ description: 'With `cron`: how long it lasts.' }),
  timezone: plainText(64).optional().meta({ description: 'Default: that of the schedule.', example: 'Europe/Berlin' }),
  action: z.enum(scheduleActions).meta({
    description:
      '`scale`: from min_replicas to max_replicas. `sleep`: sleeps once nobody asks; a request wakes it. `stop`: answers nothing until the window ends.',
  }),
  min_replicas: z.int().min(0).max(1000).optional().meta({ description: 'With `scale`; 0: may sleep.', example: 2 }),
  max_replicas: z.int().min(1).max(1000).optional().meta({ description: 'With `scale`.', example: 6 }),
}

export const changeSchedule = z
  .strictObject({
    timezone: plainText(64).optional().meta({ description: 'For windows that name none.', example: 'Europe/Berlin' }),
    windows: z
      .array(z.strictObject(windowFields))
      .max(1000)
      .meta({ description: 'Where they overlap, the first in the list counts. None: the same as no schedule.' }),
  })
  .meta({
    id: 'ChangeSchedule',
    example: {
      timezone: 'Europe/Berlin',
      windows: [
        {
          days: ['mon', 'tue', 'wed', 'thu', 'fri'],
          from: '08:00',
          to: '18:00',
          action: 'scale',
          min_replicas: 2,
          max_replicas: 6,
        },
        { cron: '0 0 24 12 *', minutes: 4320, action: 'stop' },
      ],
    },
  })
export type ChangeSchedule = z.input<typeof changeSchedule>

export const activeWindow = z
  .object({
    window: z.int().meta({ description: 'Place in the list of windows, from 0.' }),
    action: z.enum(scheduleActions),
    min_replicas: windowFields.min_replicas,
    max_replicas: windowFields.max_replicas,
    overruled: z
      .boolean()
      .meta({ description: 'It says stop, and a person started the deployment: it runs until the next change.' }),
  })
  .meta({ id: 'ActiveWindow' })

const nextChange = orNull(instant).meta({ description: 'When the schedule says something else; null: never.' })

export const schedule = z
  .object({
    windows: z.array(z.object({ ...windowFields, timezone: z.string() })),
    active: orNull(activeWindow).meta({ description: 'The window that counts now.' }),
    next_change_at: nextChange,
    why: z.string(),
  })
  .meta({ id: 'Schedule' })
export type Schedule = z.output<typeof schedule>

/** On a deployment: what counts now; the windows are at its own route. */
export const scheduleSummary = z
  .object({
    windows: z.int().meta({ description: 'How many.' }),
    active: orNull(activeWindow),
    next_change_at: nextChange,
  })
  .meta({ id: 'ScheduleSummary' })

type Limits = { action: 'scale'; min: number; max: number } | { action: 'sleep' } | { action: 'stop' }
type Times = { days: (typeof weekdays)[number][]; from: string; to: string } | { cron: string; minutes: number }

export interface ActiveShape {
  window: number
  override: Limits
  overruled: boolean
}

/** A schedule in our own words, as it is sent. */
export interface ScheduleWishShape {
  timezone?: string
  windows: {
    days?: (typeof weekdays)[number][]
    from?: string
    to?: string
    cron?: string
    minutes?: number
    timezone?: string
    action: Limits['action']
    minReplicas?: number
    maxReplicas?: number
  }[]
}

/** Lease and schedule as a deployment takes them: absent stays absent, null is none. */
export interface CalendarShape {
  schedule?: ScheduleWishShape | null
  expiresAt?: Date | null
}

export const calendarFields = {
  schedule: changeSchedule
    .nullable()
    .optional()
    .meta({ description: 'Windows of time that change how it scales; null: none.' }),
  expires_at: moment.nullable().optional().meta({
    description: 'The end of its lease: it is stopped then, and stays so. null: none.',
    example: '2027-01-31T18:00:00+01:00',
  }),
}

export function calendarFrom(body: {
  schedule?: z.output<typeof changeSchedule> | null | undefined
  expires_at?: Date | null | undefined
}): CalendarShape {
  const { schedule, expires_at } = body
  return {
    ...(schedule === undefined ? {} : { schedule: schedule && scheduleFrom(schedule) }),
    ...(expires_at === undefined ? {} : { expiresAt: expires_at }),
  }
}

/** What is absent stays absent. */
export function scheduleFrom({ timezone, windows }: z.output<typeof changeSchedule>): ScheduleWishShape {
  return {
    ...(timezone === undefined ? {} : { timezone }),
    windows: windows.map(({ min_replicas, max_replicas, ...same }) => ({
      ...same,
      ...(min_replicas === undefined ? {} : { minReplicas: min_replicas }),
      ...(max_replicas === undefined ? {} : { maxReplicas: max_replicas }),
    })),
  }
}

export function renderSchedule(view: {
  windows: (Times & { timezone: string } & Limits)[]
  active: ActiveShape | null
  nextChangeAt: Date | null
  why: string
}): Schedule {
  return {
    windows: view.windows.map((window) => {
      const times =
        'cron' in window
          ? { cron: window.cron, minutes: window.minutes }
          : { days: window.days, from: window.from, to: window.to }
      return { ...times, timezone: window.timezone, ...renderLimits(window) }
    }),
    active: renderActive(view.active),
    next_change_at: iso(view.nextChangeAt),
    why: view.why,
  }
}

export function renderSummary(
  view: { windows: number; active: ActiveShape | null; nextChangeAt: Date | null } | null,
): z.output<typeof scheduleSummary> | null {
  if (view === null) return null
  return { windows: view.windows, active: renderActive(view.active), next_change_at: iso(view.nextChangeAt) }
}

function renderActive(active: ActiveShape | null): z.output<typeof activeWindow> | null {
  if (active === null) return null
  return { window: active.window, ...renderLimits(active.override), overruled: active.overruled }
}

function renderLimits(limits: Limits) {
  if (limits.action !== 'scale') return { action: limits.action }
  return { action: limits.action, min_replicas: limits.min, max_replicas: limits.max }
}
