/**
 * What the calendar does to one deployment at this moment: its lease and its schedule. Pure.
 *
 * The schedule acts at its edges, the moments at which it says something else. At the beginning of a `stop` it stops what
 * runs. At its end it starts what it stopped itself, and nothing else: what a person stopped stays stopped, and what a
 * person started in the middle runs on until the next edge. A schedule that is changed or removed is such an edge. Edges
 * that nobody looked at (control was away, the clock jumped) are one edge, at the next look.
 *
 * A lease ends once: what runs is stopped, and neither schedule nor request brings it back. It is warned of before, once.
 */
import { type Override, type Schedule, scheduleAt } from './schedule.ts'
import type { StopCause } from './stopped.ts'

/** What the calendar said at its last look. It holds from `lookedAt` until `nextAt`; ms since epoch. */
export interface Calendar {
  /** Place in the schedule's list of the window that counts. */
  window: number | null
  override: Override | null
  lookedAt: number
  /** null = for good. */
  nextAt: number | null
  /** The end of lease that was warned of. */
  warnedFor: number | null
  /** Why the schedule could not start it again, so that it is told once. */
  refused: string | null
}

export interface CalendarView {
  schedule: Schedule | null
  expiresAt: number | null
  /** null = it was never looked at. */
  calendar: Calendar | null
  desired: 'running' | 'stopped' | 'deleted'
  /** Given up after too many failed starts: nothing runs. */
  failed: boolean
  /** null = it is not stopped. */
  stoppedBy: StopCause | null
}

export type CalendarAct =
  /** The lease is over. */
  | { do: 'expire' }
  /** It will be soon. */
  | { do: 'warn' }
  /** The schedule says something else than before. */
  | { do: 'turn'; window: number | null; override: Override | null; until: number | null }
  | { do: 'stop' }
  | { do: 'start' }

export interface CalendarStep {
  acts: CalendarAct[]
  calendar: Calendar
  /** When to look again; null = never, unless something is changed. */
  wakeAt: number | null
}

/** A clock that is set back by less than this changes nothing: what just began would end again. */
export const clockStepsMs = 60_000

/** Without a schedule. */
const nothingSaid = { window: null, override: null, nextAt: null }
/** After the lease; should it be prolonged, the schedule is asked anew. */
const saidNoMore = { ...nothingSaid, nextAt: 0 }

/** The schedule is another one: the next look is an edge, whatever was said before. */
export function anew(calendar: Calendar | null): Calendar | null {
  return calendar && { ...calendar, nextAt: 0 }
}

export function calendarStep(view: CalendarView, now: number, warningMs: number): CalendarStep {
  const { expiresAt, calendar: before } = view
  const expired = expiresAt !== null && now >= expiresAt
  const edge = before === null || !holds(before, now)
  const said = expired ? saidNoMore : edge ? schedule(view, now) : before
  const stops = said.override?.action === 'stop'
  const starts = !expired && !stops && view.desired === 'stopped' && view.stoppedBy === 'schedule'
  const warns = !expired && (starts || view.desired === 'running') && mustWarn(view, now, warningMs)
  const calendar: Calendar = {
    window: said.window,
    override: said.override,
    lookedAt: edge ? now : before.lookedAt,
    nextAt: said.nextAt,
    warnedFor: warns ? expiresAt : (before?.warnedFor ?? null),
    refused: view.stoppedBy === 'schedule' ? (before?.refused ?? null) : null,
  }
  const acts: CalendarAct[] = []
  if (expired && endsNow(view)) acts.push({ do: 'expire' })
  if (warns) acts.push({ do: 'warn' })
  if (!same(said.override, before?.override ?? null))
    acts.push({ do: 'turn', window: said.window, override: said.override, until: said.nextAt })
  if (edge && stops && view.desired === 'running' && !view.failed) acts.push({ do: 'stop' })
  if (starts) acts.push({ do: 'start' })
  return { acts, calendar, wakeAt: expired ? null : wakeAt(view, calendar, now, warningMs) }
}

/** Not long before its look either: then the clock was set back. */
function holds({ lookedAt, nextAt }: Calendar, now: number): boolean {
  return now >= lookedAt - clockStepsMs && (nextAt === null || now < nextAt)
}

function schedule({ schedule }: CalendarView, now: number): Pick<Calendar, 'window' | 'override' | 'nextAt'> {
  if (schedule === null) return nothingSaid
  const { window, override, nextChangeAt } = scheduleAt(schedule, now)
  return { window, override, nextAt: nextChangeAt }
}

/** What the schedule stopped is ended, too: it must not come back. */
function endsNow({ desired, failed, stoppedBy }: CalendarView): boolean {
  return desired === 'running' ? !failed : desired === 'stopped' && stoppedBy === 'schedule'
}

function mustWarn({ expiresAt, calendar }: CalendarView, now: number, warningMs: number): boolean {
  return expiresAt !== null && calendar?.warnedFor !== expiresAt && now >= expiresAt - warningMs
}

function wakeAt({ expiresAt }: CalendarView, { nextAt }: Calendar, now: number, warningMs: number): number | null {
  // One that is over waits for a start, which looks as well.
  const warning = expiresAt !== null && expiresAt - warningMs > now ? expiresAt - warningMs : null
  const moments = [nextAt, expiresAt, warning].filter((moment) => moment !== null)
  return moments.length === 0 ? null : Math.min(...moments)
}

function same(a: Override | null, b: Override | null): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
