/** Wall clocks of time zones, by Intl alone. A wall time is ms as if its digits were UTC. */

/** Formatters kept, at most: making one is what costs. */
const formattersMaximum = 64
const formatters = new Map<string, Intl.DateTimeFormat>()
const hourMs = 3_600_000

/** True for what Intl knows: `Europe/Berlin`, `UTC`, `+02:00`. */
export function isTimezone(timezone: string): boolean {
  try {
    return formatterOf(timezone) !== undefined
  } catch {
    return false
  }
}

/** What the clock on the wall shows at an instant (ms since epoch). */
export function wallAt(instant: number, timezone: string): number {
  // "11/21/2026, 05:55:12": read by place, because taking it in parts takes three times as long.
  const text = formatterOf(timezone).format(instant)
  const [month, day, year] = [text.slice(0, 2), text.slice(3, 5), text.slice(6, 10)].map(Number)
  const [hour, minute, second] = [text.slice(12, 14), text.slice(15, 17), text.slice(18, 20)].map(Number)
  const seconds = Date.UTC(year!, month! - 1, day!, hour!, minute!, second!)
  return seconds + (((instant % 1000) + 1000) % 1000)
}

/**
 * When the clock on the wall shows `wall`. A time that comes twice (clocks set back) is the first of the two; one that
 * never comes (clocks set forward) is the moment of the change.
 */
export function instantOf(wall: number, timezone: string): number {
  const offsets = [-24, 24].map((hours) => offsetAt(wall + hours * hourMs, timezone))
  if (offsets[0] === offsets[1]) return wall - offsets[0]!
  const candidates = offsets.map((offset) => wall - offset).sort((a, b) => a - b)
  const exact = candidates.find((instant) => wallAt(instant, timezone) === wall)
  return exact ?? changeBetween(candidates[0]!, candidates.at(-1)!, wall, timezone)
}

function offsetAt(instant: number, timezone: string): number {
  return wallAt(instant, timezone) - instant
}

/** First instant at which the wall is past `wall`. */
function changeBetween(before: number, after: number, wall: number, timezone: string): number {
  let [low, high] = [before, after]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (wallAt(middle, timezone) < wall) low = middle
    else high = middle
  }
  return high
}

function formatterOf(timezone: string): Intl.DateTimeFormat {
  const known = formatters.get(timezone)
  if (known) return known
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  })
  if (formatters.size >= formattersMaximum) formatters.clear()
  formatters.set(timezone, made)
  return made
}
