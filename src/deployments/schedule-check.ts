/** A schedule as somebody wishes it, checked and made exact. Pure. Every problem is told at once, in the API's words. */
import { Fault } from '../kernel/fault.ts'
import { parseCron, shortestGapMinutes } from './cron.ts'
import { type Day, days, minutesOf, type Override, type Schedule, type ScheduleWindow, type Times } from './schedule.ts'
import { isTimezone } from './zone.ts'

/** What was sent; absent = not given. */
export interface WindowWish {
  /** Default, with `from` and `to`: every day. */
  days?: Day[]
  from?: string
  to?: string
  cron?: string
  minutes?: number
  /** Default: that of the schedule. */
  timezone?: string
  action: Override['action']
  minReplicas?: number
  maxReplicas?: number
}

export interface ScheduleWish {
  timezone?: string
  windows: WindowWish[]
}

export interface ScheduleLimits {
  replicasMaximum: number
  scheduleWindowsMaximum: number
}

/** A pattern may begin so often a day, at most: every change is an event, and replicas take their time to start. */
export const beginningsPerDayMaximum = 24

/** Throws Fault `invalid_request` that names every problem, its fields with `prefix` before them. */
export function makeSchedule(wish: ScheduleWish, limits: ScheduleLimits, prefix = ''): Schedule {
  const problems: string[] = []
  const say = (name: string, problem: string) => problems.push(`${prefix}${name}${problem}`)
  if (wish.windows.length > limits.scheduleWindowsMaximum)
    say('windows', ` are ${wish.windows.length}; a schedule has at most ${limits.scheduleWindowsMaximum}.`)
  if (wish.timezone !== undefined && !isTimezone(wish.timezone)) say('timezone', `: ${noZone(wish.timezone)}`)
  const windows = wish.windows.slice(0, limits.scheduleWindowsMaximum).map((window, at): ScheduleWindow => {
    const sayHere = (problem: string) => say(`windows[${at}]`, problem)
    const times = timesFrom(window, sayHere)
    const timezone = zoneFrom(window, wish, sayHere)
    return { ...times, timezone, ...overrideFrom(window, limits, sayHere) }
  })
  if (problems.length > 0) throw new Fault('invalid_request', problems.join(' '), { detail: { problems } })
  return { windows }
}

type Say = (problem: string) => unknown

function zoneFrom(window: WindowWish, schedule: ScheduleWish, say: Say): string {
  const timezone = window.timezone ?? schedule.timezone
  if (timezone === undefined)
    say('.timezone is missing: name one such as Europe/Berlin, here or for the whole schedule.')
  else if (window.timezone !== undefined && !isTimezone(timezone)) say(`.timezone: ${noZone(timezone)}`)
  return timezone ?? ''
}

function noZone(timezone: string): string {
  return `there is no time zone "${timezone}"; one is called Europe/Berlin, for example.`
}

function timesFrom(window: WindowWish, say: Say): Times {
  const { cron, minutes, from, to } = window
  if (cron === undefined && minutes === undefined) return weekFrom(window, say)
  if (from !== undefined || to !== undefined || window.days !== undefined)
    say(' has both kinds of times: send cron and minutes, or from and to with days.')
  if (cron === undefined) say('.cron is missing: minutes say how long, cron says when it begins.')
  else if (minutes === undefined) say('.minutes is missing: cron says when it begins, minutes how long it lasts.')
  else checkCron(cron, minutes, say)
  return { cron: cron ?? '', minutes: minutes ?? 0 }
}

function checkCron(text: string, minutes: number, say: Say): unknown {
  const cron = parseCron(text)
  if (typeof cron === 'string') return say(`.cron ${cron}.`)
  if (cron.times.length > beginningsPerDayMaximum)
    return say(`.cron begins ${cron.times.length} times a day; at most ${beginningsPerDayMaximum} are possible.`)
  const gap = shortestGapMinutes(cron)!
  return minutes > gap && say(`.minutes (${minutes}) is longer than its period: it begins again after ${gap} minutes.`)
}

function weekFrom({ days: named, from, to }: WindowWish, say: Say): Times {
  const on = named ?? [...days]
  const unknown = on.filter((day) => !days.includes(day))
  if (on.length === 0) say('.days is empty.')
  if (unknown.length > 0) say(`.days: ${unknown.join(', ')} is none of ${days.join(', ')}.`)
  const [begins, ends] = [from, to].map((text) => (text === undefined ? null : minutesOf(text)))
  if (begins === null || begins === 1440) say('.from must be a time such as 08:30.')
  if (ends === null) say('.to must be a time such as 18:00, or 24:00.')
  if (begins !== null && begins === ends) say(': from and to are the same; a whole day is from 00:00 to 24:00.')
  return { days: on, from: from ?? '', to: to ?? '' }
}

function overrideFrom(window: WindowWish, { replicasMaximum }: ScheduleLimits, say: Say): Override {
  const { action, minReplicas: min, maxReplicas: max } = window
  if (action !== 'scale') {
    if (min !== undefined || max !== undefined)
      say(`: min_replicas and max_replicas go with action scale, not ${action}.`)
    return { action }
  }
  const whole = (value: number | undefined, least: number) =>
    value !== undefined && Number.isInteger(value) && value >= least && value <= replicasMaximum
  if (!whole(min, 0)) say(`.min_replicas must be a whole number from 0 to ${replicasMaximum}.`)
  if (!whole(max, 1)) say(`.max_replicas must be a whole number from 1 to ${replicasMaximum}.`)
  if (min !== undefined && max !== undefined && min > max) say(`.min_replicas (${min}) is above max_replicas (${max}).`)
  return { action, min: min ?? 0, max: max ?? 1 }
}
