/**
 * Leases and schedules: what the calendar says about one deployment. A window is
 * `{days: ['mon', …], from: '22:00', to: '06:00', timezone: 'Europe/Berlin', action: 'scale' | 'sleep' | 'stop', min?, max?}`
 * and repeats every week; `days` are those on which it begins; a `to` at or before `from` is on the day after; '24:00'
 * is the end of the day. Where windows overlap, the first in the list counts.
 *
 * Times are those on the wall. When clocks are set back a time that comes twice is the first of the two; when they are
 * set forward a time that never comes is the moment of the change. So windows that meet still meet on those days.
 */
import { Fault } from '../kernel/fault.ts'
import { instantOf, isTimezone, wallAt } from './zone.ts'

export const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
export type Day = (typeof days)[number]

/**
 * scale: floor and ceiling; with min 0 it may sleep, else it is awake. sleep: goes to sleep once nobody asks, a request
 * wakes it. stop: answers nothing until the window ends.
 */
export type Override = { action: 'scale'; min: number; max: number } | { action: 'sleep' } | { action: 'stop' }

export type ScheduleWindow = { days: Day[]; from: string; to: string; timezone: string } & Override

export interface Schedule {
  /** When the lease ends, ms since epoch: stopped from then on. null = never. */
  expiresAt: number | null
  windows: ScheduleWindow[]
}

export interface Scheduled {
  override: Override | null
  /** True from the end of the lease on. */
  expired: boolean
  /** When the answer is another one, ms since epoch; null = it stays. */
  nextChangeAt: number | null
  why: string
}

export const noSchedule: Schedule = { expiresAt: null, windows: [] }
export const windowsMaximum = 20

const dayMs = 86_400_000
/** How far ahead the next change is looked for: near first; then so far that a window which a change of clocks swallows has its next turn in sight. */
const daysAhead = [1, 15] as const

interface Span {
  start: number
  end: number
  window: ScheduleWindow
}

/** What the schedule says at `now`, ms since epoch. */
export function scheduleAt(schedule: Schedule, now: number): Scheduled {
  const { expiresAt } = schedule
  if (expiresAt !== null && now >= expiresAt) {
    const why = `The lease ended at ${new Date(expiresAt).toISOString()}.`
    return { override: { action: 'stop' }, expired: true, nextChangeAt: null, why }
  }
  const current = activeAt(spansOf(schedule, now, 0), now)
  const change = daysAhead.reduce<number | null>((found, ahead) => found ?? nextChange(schedule, now, ahead), null)
  const nextChangeAt = earlier(change, expiresAt)
  const why = current === null ? 'No window of the schedule is open.' : whyOf(current)
  return { override: overrideOf(current), expired: false, nextChangeAt, why }
}

/** All that touch the time from `now` to `ahead` days later, in the order of the list. */
function spansOf(schedule: Schedule, now: number, ahead: number): Span[] {
  return schedule.windows.flatMap((window) => turnsOf(window, now, ahead))
}

function turnsOf(window: ScheduleWindow, now: number, ahead: number): Span[] {
  const wall = wallAt(now, window.timezone)
  const today = wall - (((wall % dayMs) + dayMs) % dayMs)
  const [from, to] = [minutesOf(window.from)!, minutesOf(window.to)!]
  // From two days before, for a night that is still going on; to one day more than asked, for days of 25 hours.
  return Array.from({ length: ahead + 4 }, (_, at) => today + (at - 2) * dayMs)
    .filter((date) => window.days.includes(days[new Date(date).getUTCDay()]!))
    .map((date) => ({
      start: instantOf(date + from * 60_000, window.timezone),
      end: instantOf(date + to * 60_000 + (to <= from ? dayMs : 0), window.timezone),
      window,
    }))
}

function activeAt(spans: Span[], now: number): Span | null {
  return spans.find(({ start, end }) => start <= now && now < end) ?? null
}

/** First moment of the next `ahead` days at which something else is said; null = there is none. */
function nextChange(schedule: Schedule, now: number, ahead: number): number | null {
  const spans = spansOf(schedule, now, ahead)
  const told = JSON.stringify(overrideOf(activeAt(spans, now)))
  const moments = spans
    .flatMap(({ start, end }) => [start, end])
    .filter((moment) => moment > now && moment <= now + ahead * dayMs)
    .sort((a, b) => a - b)
  return moments.find((moment) => JSON.stringify(overrideOf(activeAt(spans, moment))) !== told) ?? null
}

function overrideOf(span: Span | null): Override | null {
  if (span === null) return null
  const { window } = span
  return window.action === 'scale' ? { action: 'scale', min: window.min, max: window.max } : { action: window.action }
}

function whyOf({ window, end }: Span): string {
  const what = window.action === 'scale' ? `${window.min} to ${window.max} replicas` : window.action
  return `Schedule: ${what} from ${window.from} to ${window.to} ${window.timezone}, until ${new Date(end).toISOString()}.`
}

function earlier(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b)
}

/** '22:30' → 1350, '24:00' → 1440; null = no time of day. */
function minutesOf(text: string): number | null {
  const found = /^(\d\d):(\d\d)$/.exec(text)
  if (!found) return null
  const [hours, minutes] = [Number(found[1]), Number(found[2])]
  return minutes < 60 && (hours < 24 || (hours === 24 && minutes === 0)) ? hours * 60 + minutes : null
}

/** The schedule as it is. Throws Fault `invalid_request` that names every problem. */
export function checkSchedule(schedule: Schedule, now: number, replicasMaximum: number): Schedule {
  const problems = problemsOf(schedule, now, replicasMaximum)
  if (problems.length > 0) throw new Fault('invalid_request', problems.join(' '), { detail: { problems } })
  return schedule
}

function problemsOf({ expiresAt, windows }: Schedule, now: number, replicasMaximum: number): string[] {
  const problems: string[] = []
  if (expiresAt !== null && !(Math.abs(expiresAt) <= 8.64e15)) problems.push('expires_at is no time.')
  else if (expiresAt !== null && expiresAt <= now) problems.push('expires_at is in the past.')
  if (windows.length > windowsMaximum) problems.push(`A schedule has at most ${windowsMaximum} windows.`)
  const each = windows.slice(0, windowsMaximum)
  return [...problems, ...each.flatMap((window, at) => windowProblems(window, `windows[${at}]`, replicasMaximum))]
}

function windowProblems(window: ScheduleWindow, name: string, replicasMaximum: number): string[] {
  const problems: string[] = []
  const unknown = window.days.filter((day) => !days.includes(day))
  if (window.days.length === 0) problems.push(`${name}.days is empty.`)
  if (unknown.length > 0) problems.push(`${name}.days: ${unknown.join(', ')} is none of ${days.join(', ')}.`)
  const [from, to] = [minutesOf(window.from), minutesOf(window.to)]
  if (from === null || from === 1440) problems.push(`${name}.from must be a time such as 08:30.`)
  if (to === null) problems.push(`${name}.to must be a time such as 18:00, or 24:00.`)
  if (from !== null && from === to)
    problems.push(`${name}: from and to are the same; a whole day is from 00:00 to 24:00.`)
  if (!isTimezone(window.timezone)) problems.push(`${name}.timezone: there is no time zone "${window.timezone}".`)
  return window.action === 'scale' ? [...problems, ...rangeProblems(window, name, replicasMaximum)] : problems
}

function rangeProblems({ min, max }: { min: number; max: number }, name: string, replicasMaximum: number): string[] {
  const problems: string[] = []
  const whole = (value: number, least: number) => Number.isInteger(value) && value >= least && value <= replicasMaximum
  if (!whole(min, 0)) problems.push(`${name}.min must be a whole number from 0 to ${replicasMaximum}.`)
  if (!whole(max, 1)) problems.push(`${name}.max must be a whole number from 1 to ${replicasMaximum}.`)
  if (min > max) problems.push(`${name}.min (${min}) is above its max (${max}).`)
  return problems
}
