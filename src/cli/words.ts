/** Numbers as a person reads them: times, money, counts. Pure. */

/** Elapsed time: "0.4 s", "12.3 s", "2m 05s", "1h 02m". */
export function elapsedText(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`
}

/** How long ago, in one unit: "now", "45s", "3m", "2h", "4d". */
export function ageText(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000)
  if (seconds < 1) return 'now'
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** Short times: "38 ms", "1.2 s". */
export function momentText(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** USD with two places, or with up to six where two would say nothing: "$4.41", "$0.0031", "$0.00". */
export function usdShown(usd: number): string {
  if (usd === 0) return '$0.00'
  if (Math.abs(usd) >= 1) return `$${usd.toFixed(2)}`
  if (Math.abs(usd) < 0.000_000_5) return '<$0.000001'
  // Two significant digits are enough to see it grow; never more than micro-USD, which is all there is.
  const places = Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(Math.abs(usd)))))
  return `$${usd.toFixed(places)}`
}

/** "1 token", "3 tokens". */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** Clock time of the day, local, "12:03:04"; with the date when it is not today's. */
export function timeShown(at: Date, now: Date): string {
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':')
  if (at.toDateString() === now.toDateString()) return time
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`
}

const unitSeconds: Record<string, number> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }

/** "90", "90s", "10m", "1h", "30d" → milliseconds; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,6}(?:\.\d{1,3})?)([smhd]?)$/.exec(text)
  if (!match) return null
  return Math.round(Number(match[1]) * unitSeconds[match[2]!]! * 1000)
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
