/**
 * Schedules: what the calendar says about one deployment. A window comes again and again, either on days of the week
 * from one time to another (`{days: ['mon'], from: '22:00', to: '06:00'}`; `days` are those on which it begins, a `to`
 * at or before `from` is on the day after, '24:00' is the end of the day), or as a cron pattern that says when it begins
 * and for how many minutes (`{cron: '0 22 * * mon-fri', minutes: 480}`). Where windows overlap, the first in the list
 * counts. Pure.
 *
 * Times are those on the wall. When clocks are set back a time that comes twice is the first of the two; when they are
 * set forward a time that never comes is the moment of the change. So windows that meet still meet on those days.
 * `minutes` are minutes that pass, whatever the clock on the wall does.
 */
import { beginsOn, type Cron, parseCron } from './cron.ts'
import { instantOf, wallAt } from './zone.ts'

export const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
export type Day = (typeof days)[number]

/**
 * scale: floor and ceiling; with min 0 it may sleep, else it is awake. sleep: goes to sleep once nobody asks, a request
 * wakes it. stop: answers nothing until the window ends.
 */
export type Override = { action: 'scale'; min: number; max: number } | { action: 'sleep' } | { action: 'stop' }

export type Times = { days: Day[]; from: string; to: string } | { cron: string; minutes: number }
export type ScheduleWindow = Times & { timezone: string } & Override

export interface Schedule {
  windows: ScheduleWindow[]
}

export interface Scheduled {
  /** Place in the list of the window that counts; null = none is open. */
  window: number | null
  override: Override | null
  /** When something else is said, ms since epoch; null = never. */
  nextChangeAt: number | null
  why: string
}

const dayMs = 86_400_000
/**
 * How far ahead the next change is looked for, near first. Two weeks: days of the week come again after one, and a
 * change of clocks may swallow a turn.
 */
const daysAhead = [2, 16] as const
/** How far ahead the next turn of a pattern is that has none in two weeks: a year, or, on 29 February, eight. */
const daysAheadOfRare = [400, 3000] as const

interface Span {
  start: number
  end: number
}

/** What the schedule says at `now`, ms since epoch. */
export function scheduleAt({ windows }: Schedule, now: number): Scheduled {
  const turns = windows.map((window) => spansOf(window, now, 0))
  const window = countsAt(turns, now)
  const override = overrideOf(windows, window)
  const nextChangeAt = nextChange(windows, now)
  return { window, override, nextChangeAt, why: whyOf(windows, window, nextChangeAt) }
}

/** The first in the list that is open. */
function countsAt(turns: readonly Span[][], now: number): number | null {
  const found = turns.findIndex((spans) => spans.some(({ start, end }) => start <= now && now < end))
  return found === -1 ? null : found
}

function overrideOf(windows: readonly ScheduleWindow[], at: number | null): Override | null {
  if (at === null) return null
  const window = windows[at]!
  return window.action === 'scale' ? { action: 'scale', min: window.min, max: window.max } : { action: window.action }
}

/**
 * First moment after `now` at which something else is said; null = there is none. Where only windows that do not count
 * come and go: a later moment up to which that is known.
 */
function nextChange(windows: readonly ScheduleWindow[], now: number): number | null {
  let restless: boolean[] = []
  for (const ahead of daysAhead) {
    const turns = windows.map((window) => joined(spansOf(window, now, ahead)))
    const found = changeWithin(windows, turns, now, now + ahead * dayMs)
    if (found !== null) return found
    restless = turns.map((spans) => edgesOf(spans, now, now + ahead * dayMs).length > 0)
  }
  const rare = windows.flatMap((window, at) => (restless[at] ? [] : (rareEdge(window, now) ?? [])))
  const known = restless.includes(true) ? [now + daysAhead[1] * dayMs] : []
  return rare.length + known.length === 0 ? null : Math.min(...rare, ...known)
}

/** The same up to `horizon`, for the turns of each window. */
function changeWithin(
  windows: readonly ScheduleWindow[],
  turns: readonly Span[][],
  now: number,
  horizon: number,
): number | null {
  const told = JSON.stringify(overrideOf(windows, countsAt(turns, now)))
  const edges = turns.flatMap((spans) => edgesOf(spans, now, horizon)).sort((a, b) => a - b)
  return edges.find((edge) => JSON.stringify(overrideOf(windows, countsAt(turns, edge))) !== told) ?? null
}

function edgesOf(spans: readonly Span[], now: number, horizon: number): number[] {
  return spans.flatMap(({ start, end }) => [start, end]).filter((edge) => edge > now && edge <= horizon)
}

/** When a window opens or closes next that does neither in two weeks. */
function rareEdge(window: ScheduleWindow, now: number): number | null {
  // Days of the week: it is always open.
  if (!('cron' in window)) return null
  for (const ahead of daysAheadOfRare) {
    const [edge] = edgesOf(joined(spansOf(window, now, ahead)), now, now + ahead * dayMs)
    if (edge !== undefined) return edge
  }
  return null
}

/** Spans in order of their beginning, those that meet or overlap as one. */
function joined(spans: Span[]): Span[] {
  const merged: Span[] = []
  for (const { start, end } of spans.filter((span) => span.end > span.start).sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1)
    if (last && start <= last.end) last.end = Math.max(last.end, end)
    else merged.push({ start, end })
  }
  return merged
}

/** Every turn that touches the time from `now` to `ahead` days later; some before and after as well. */
function spansOf(window: ScheduleWindow, now: number, ahead: number): Span[] {
  const { timezone } = window
  const wall = wallAt(now, timezone)
  const today = wall - (((wall % dayMs) + dayMs) % dayMs)
  const lasts = 'cron' in window ? Math.ceil(window.minutes / 1440) : 1
  // From so long before that one which is still going on is seen; to one day more than asked, for days of 25 hours.
  const dates = Array.from({ length: ahead + lasts + 3 }, (_, at) => today + (at - lasts - 1) * dayMs)
  if ('cron' in window) {
    const cron = cronOf(window.cron)
    const begins = dates
      .filter((date) => beginsOn(cron, date))
      .flatMap((date) => cron.times.map((time) => date + time * 60_000))
    return begins.map((begin) => {
      const start = instantOf(begin, timezone)
      return { start, end: start + window.minutes * 60_000 }
    })
  }
  const [from, to] = [minutesOf(window.from)!, minutesOf(window.to)!]
  return dates
    .filter((date) => window.days.includes(days[new Date(date).getUTCDay()]!))
    .map((date) => ({
      start: instantOf(date + from * 60_000, timezone),
      end: instantOf(date + to * 60_000 + (to <= from ? dayMs : 0), timezone),
    }))
}

/** Patterns kept, at most. */
const patternsMaximum = 256
const patterns = new Map<string, Cron>()

function cronOf(text: string): Cron {
  const known = patterns.get(text)
  if (known) return known
  const parsed = parseCron(text)
  // What is stored was checked.
  if (typeof parsed === 'string') throw new Error(`The pattern "${text}" ${parsed}.`)
  if (patterns.size >= patternsMaximum) patterns.clear()
  patterns.set(text, parsed)
  return parsed
}

function whyOf(windows: readonly ScheduleWindow[], at: number | null, until: number | null): string {
  if (at === null) return 'No window of the schedule is open.'
  const end = until === null ? 'for good' : `until ${new Date(until).toISOString()}`
  return `Schedule: ${whatOf(windows[at]!)} (${timesOf(windows[at]!)}), ${end}.`
}

/** "2 to 6 replicas", "sleep" or "stop". */
export function whatOf(override: Override): string {
  return override.action === 'scale' ? `${override.min} to ${override.max} replicas` : override.action
}

function timesOf(window: ScheduleWindow): string {
  const when = 'cron' in window ? `${window.cron} for ${window.minutes} min` : `${window.from} to ${window.to}`
  return `${when} ${window.timezone}`
}

/** '22:30' → 1350, '24:00' → 1440; null = no time of day. */
export function minutesOf(text: string): number | null {
  const found = /^(\d\d):(\d\d)$/.exec(text)
  if (!found) return null
  const [hours, minutes] = [Number(found[1]), Number(found[2])]
  return minutes < 60 && (hours < 24 || (hours === 24 && minutes === 0)) ? hours * 60 + minutes : null
}
