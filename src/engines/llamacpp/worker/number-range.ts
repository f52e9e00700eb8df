/**
 * Numbers between bounds as a part of a grammar. Whole numbers exactly; others as their whole part and digits after it, so
 * that of a range only what lies between its outermost whole numbers is let through. Pure.
 */
import { malformed, refused, type Schema } from './schema-keywords.ts'

/** Digits of a bound, and of what is not bounded. */
const digitsMaximum = 15
const boundMaximum = 10 ** digitsMaximum - 1
const fraction = '"." [0-9]{0,15} [1-9]'

interface Bounds {
  /** null = none. */
  least: number | null
  most: number | null
}

/** null: there are no bounds. Throws Faults `invalid_request` and `engine_unsupported`. */
export function numberRange(schema: Schema, isWhole: boolean): string | null {
  const whole = wholeBounds(schema)
  if (whole === null) return null
  // Those whose fraction lies between the bounds as well: −2.5 goes with 2, and stays above −3.
  const parts = isWhole ? signed(whole, '') : [...signed(whole, ''), ...signed(inside(schema), ` ${fraction}`)]
  if (parts.length === 0) throw refused('bounds with no whole number between them')
  return parts.join(' | ')
}

/** The whole numbers that are allowed. */
function wholeBounds(schema: Schema): Bounds | null {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = numbersOf(schema)
  const least = larger(
    changed(minimum, Math.ceil),
    changed(exclusiveMinimum, (n) => Math.floor(n) + 1),
  )
  const most = smaller(
    changed(maximum, Math.floor),
    changed(exclusiveMaximum, (n) => Math.ceil(n) - 1),
  )
  return least === null && most === null ? null : { least, most }
}

/** The whole numbers between which everything is allowed. */
function inside(schema: Schema): Bounds {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = numbersOf(schema)
  const least = larger(minimum, exclusiveMinimum)
  const most = smaller(maximum, exclusiveMaximum)
  return { least: changed(least, Math.ceil), most: changed(most, Math.floor) }
}

function numbersOf(schema: Schema) {
  const read = (name: string) => {
    const value = schema[name]
    if (value === undefined) return null
    if (typeof value !== 'number') throw malformed(`${name} must be a number.`)
    if (Math.abs(value) > boundMaximum) throw refused(`${name} beyond ${boundMaximum}`)
    return value
  }
  return {
    minimum: read('minimum'),
    maximum: read('maximum'),
    exclusiveMinimum: read('exclusiveMinimum'),
    exclusiveMaximum: read('exclusiveMaximum'),
  }
}

function changed(value: number | null, change: (value: number) => number): number | null {
  return value === null ? null : change(value)
}

function larger(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other)
}

function smaller(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other)
}

/** With a tail the number must lie one before the end of its range, on its side of zero. */
function signed({ least, most }: Bounds, tail: string): string[] {
  const isFraction = tail !== ''
  const back = isFraction ? 1 : 0
  const parts: string[] = []
  const negative = natural(
    Math.max(isFraction ? 0 : 1, most === null ? 0 : -most),
    least === null ? null : -least - back,
  )
  if (negative !== null) parts.push(`"-" ( ${negative} )${tail}`)
  const positive = natural(Math.max(0, least ?? 0), most === null ? null : most - back)
  if (positive !== null) parts.push(`( ${positive} )${tail}`)
  return parts
}

/** Numbers from 0 up; null = none. */
function natural(least: number, most: number | null): string | null {
  const end = most ?? boundMaximum
  if (end < least) return null
  const parts: string[] = []
  for (let digits = String(least).length; digits <= String(end).length; digits += 1) {
    const first = Math.max(least, digits === 1 ? 0 : 10 ** (digits - 1))
    const last = Math.min(end, 10 ** digits - 1)
    parts.push(between(String(first), String(last)))
  }
  return parts.join(' | ')
}

/** Of the same number of digits. */
function between(first: string, last: string): string {
  if (first === '') return '""'
  const [low, high] = [Number(first[0]), Number(last[0])]
  const [lowRest, highRest] = [first.slice(1), last.slice(1)]
  if (low === high) return lowRest === '' ? `"${low}"` : `"${low}" ( ${between(lowRest, highRest)} )`
  const digits = lowRest.length
  const isLowWhole = /^0*$/.test(lowRest)
  const isHighWhole = /^9*$/.test(highRest)
  const parts: string[] = []
  if (!isLowWhole) parts.push(`"${low}" ( ${between(lowRest, '9'.repeat(digits))} )`)
  const [from, to] = [isLowWhole ? low : low + 1, isHighWhole ? high : high - 1]
  if (from <= to) parts.push(`[${from}-${to}]${digits === 0 ? '' : ` [0-9]{${digits}}`}`)
  if (!isHighWhole) parts.push(`"${high}" ( ${between('0'.repeat(digits), highRest)} )`)
  return parts.join(' | ')
}
