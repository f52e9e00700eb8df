/** Leases and schedules on the command line: how they are typed, and how they are told. */
import type { Deployment } from '../wire/native/deployment.ts'
import type { ChangeSchedule, Schedule } from '../wire/native/schedule.ts'
import { usageFailure } from './failure.ts'
import { readJson } from './json-file.ts'
import { counted, elapsedText, parseDuration, timeShown } from './words.ts'

export interface CalendarOptions {
  /** A file; false = none. */
  schedule?: string | false
  expires?: string
}

export interface CalendarBody {
  schedule?: ChangeSchedule | null
  expires_at?: string | null
}

const shownIn = 'The reference shows a schedule: /docs/api.'

/** What was typed, as fields of a request. Throws Failure (usage). */
export async function calendarBody({ schedule, expires }: CalendarOptions, now: number): Promise<CalendarBody> {
  return {
    ...(schedule === undefined
      ? {}
      : { schedule: schedule === false ? null : ((await readJson(schedule, shownIn)) as ChangeSchedule) }),
    ...(expires === undefined ? {} : { expires_at: expiresOption(expires, now) }),
  }
}

/** "never" → null, "8h" → eight hours from `now`, else a time with its offset, as it is. */
export function expiresOption(text: string, now: number): string | null {
  if (text === 'never') return null
  const ms = parseDuration(text)
  if (ms !== null && ms > 0) return new Date(now + ms).toISOString()
  if (/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text))) return text
  throw usageFailure(`--expires must be a time such as 8h, 30d, 2027-01-31T18:00:00+01:00, or never; seen: "${text}".`)
}

/** The end of the lease, and what the schedule says now and next. */
export function calendarText(
  d: Pick<Deployment, 'expires_at' | 'schedule'>,
  now: Date,
): [name: string, value: string][] {
  const at = (iso: string) => timeShown(new Date(iso), now)
  const lines: [string, string][] = []
  if (d.expires_at !== null) {
    const ms = Date.parse(d.expires_at) - now.getTime()
    lines.push(['lease', ms > 0 ? `ends in ${elapsedText(ms)}, ${at(d.expires_at)}` : `ended at ${at(d.expires_at)}`])
  }
  if (d.schedule !== null) {
    const { active, next_change_at, windows } = d.schedule
    const now = active === null ? `${counted(windows, 'window')}, none open` : activeText(active)
    lines.push(['schedule', next_change_at === null ? now : `${now} until ${at(next_change_at)}`])
  }
  return lines
}

function activeText(active: NonNullable<Schedule['active']>): string {
  const { action, min_replicas, max_replicas, overruled } = active
  if (overruled) return 'stop, but somebody started it: it runs'
  return action === 'scale' ? `${min_replicas} to ${max_replicas} replicas` : action
}
