/**
 * Five fields, as everybody knows them: minute, hour, day of the month, month, day of the week. `*`, lists, ranges,
 * steps, and names of months and days; 0 and 7 are Sunday. Where both days are restricted, either will do. Pure: what a
 * pattern means in a time zone is the schedule's business.
 */

export interface Cron {
  /** Minutes of the day at which it begins, in order. */
  times: number[]
  daysOfMonth: ReadonlySet<number>
  months: ReadonlySet<number>
  weekdays: ReadonlySet<number>
  /** Both kinds of days are restricted: either counts. */
  either: boolean
}

const dayMs = 86_400_000
/** Long enough for two leap days. */
const daysLookedAt = 9 * 366
/** After so many days, and two beginnings, every distance was seen. */
const daysEnough = 1500
const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

interface Field {
  name: string
  least: number
  most: number
  names: readonly string[]
}

const fields: readonly Field[] = [
  { name: 'minute', least: 0, most: 59, names: [] },
  { name: 'hour', least: 0, most: 23, names: [] },
  { name: 'day of the month', least: 1, most: 31, names: [] },
  { name: 'month', least: 1, most: 12, names: monthNames },
  { name: 'day of the week', least: 0, most: 7, names: dayNames },
]

/** The pattern, or what is wrong with it as the end of a sentence. */
export function parseCron(text: string): Cron | string {
  const parts = text.trim().split(/\s+/)
  if (parts.length !== fields.length)
    return `has ${text.trim() === '' ? 0 : parts.length} fields; it needs 5, such as "0 8 * * mon-fri"`
  const sets = fields.map((field, at) => parseField(parts[at]!, field))
  const wrong = sets.find((set) => typeof set === 'string')
  if (wrong !== undefined) return wrong as string
  const [minutes, hours, daysOfMonth, months, weekdays] = sets as Set<number>[]
  const times = [...hours!].flatMap((hour) => [...minutes!].map((minute) => hour * 60 + minute)).sort((a, b) => a - b)
  const cron: Cron = {
    times,
    daysOfMonth: daysOfMonth!,
    months: months!,
    weekdays: new Set([...weekdays!].map((day) => day % 7)),
    either: !parts[2]!.startsWith('*') && !parts[4]!.startsWith('*'),
  }
  return shortestGapMinutes(cron) === null ? 'never begins: there is no such day' : cron
}

/** True when it begins on this day of the calendar; `date`: ms of its midnight, as if in UTC. */
export function beginsOn(cron: Cron, date: number): boolean {
  const day = new Date(date)
  if (!cron.months.has(day.getUTCMonth() + 1)) return false
  const [ofMonth, ofWeek] = [cron.daysOfMonth.has(day.getUTCDate()), cron.weekdays.has(day.getUTCDay())]
  return cron.either ? ofMonth || ofWeek : ofMonth && ofWeek
}

/** The least time from one beginning to the next, on the wall; null = there is no beginning at all. */
export function shortestGapMinutes(cron: Cron): number | null {
  let shortest: number | null = null
  let last: number | null = null
  const begin = Date.UTC(2024, 0, 1)
  for (let day = 0; day < daysLookedAt; day += 1) {
    if (shortest === 1 || (shortest !== null && day > daysEnough)) break
    if (!beginsOn(cron, begin + day * dayMs)) continue
    for (const time of cron.times) {
      const at = day * 1440 + time
      if (last !== null) shortest = Math.min(shortest ?? at - last, at - last)
      last = at
    }
  }
  return shortest
}

/** The numbers of one field, or what is wrong with it. */
function parseField(text: string, field: Field): Set<number> | string {
  const values = new Set<number>()
  for (const part of text.split(',')) {
    const found = parsePart(part, field)
    if (found === null) {
      const range = `${field.least} to ${field.most}${field.names.length > 0 ? `, or ${field.names[0]} and so on` : ''}`
      return `has "${part}" as its ${field.name}, which must be ${range}`
    }
    for (let value = found.from; value <= found.to; value += found.step) values.add(value)
  }
  return values
}

function parsePart(part: string, field: Field): { from: number; to: number; step: number } | null {
  const match = /^(?:(\*)|([a-z\d]+)(?:-([a-z\d]+))?)(?:\/(\d{1,2}))?$/i.exec(part)
  if (!match) return null
  const [, star, first, last, every] = match
  const step = every === undefined ? 1 : Number(every)
  if (step === 0) return null
  if (star !== undefined) return { from: field.least, to: field.most, step }
  const from = numberOf(first!, field)
  // A step without an end goes on to the last: 5/15 is 5, 20, 35, 50.
  const open = last === undefined && every !== undefined
  const to = open ? field.most : last === undefined ? from : numberOf(last, field)
  if (from === null || to === null) return null
  // The week ends with Sunday as well as it begins with it: sat-sun.
  const end = to === 0 && from > 0 && field.most === 7 ? 7 : to
  return from > end ? null : { from, to: end, step }
}

function numberOf(text: string, { names, least, most }: Field): number | null {
  const named = names.indexOf(text.toLowerCase())
  // Months count from 1, days of the week from 0, as their fields do.
  if (named !== -1) return named + least
  if (!/^\d{1,2}$/.test(text)) return null
  const value = Number(text)
  return value >= least && value <= most ? value : null
}
