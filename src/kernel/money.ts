/**
 * Money is exact. Prices are micro-USD per unit-hour as bigint; an amount is a rational (numerator, denominator) until
 * a statement line rounds it once. Nothing here uses floating point except `microUsdFromDecimal`, which parses text.
 */
export type MicroUsd = bigint

export const MICRO_PER_USD = 1_000_000n
const MS_PER_HOUR = 3_600_000n

/** "4.41" → 4410000n. Throws RangeError for anything but a plain non-negative decimal with at most six places. */
export function microUsdFromDecimal(text: string): MicroUsd {
  const match = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text)
  if (!match) throw new RangeError(`not a price in USD with at most six decimal places: ${text}`)
  return BigInt(match[1]!) * MICRO_PER_USD + BigInt((match[2] ?? '').padEnd(6, '0'))
}

/** Micro-USD → number of USD for JSON fields such as `hourly_cost_usd` (never computed with). */
export function usdNumber(micro: MicroUsd): number {
  return Number(micro) / 1_000_000
}

/** Micro-USD → "1.234567" without trailing zeros beyond `places` (default 2, at most 6). */
export function usdText(micro: MicroUsd, places = 2): string {
  const sign = micro < 0n ? '-' : ''
  const abs = micro < 0n ? -micro : micro
  const fraction = (abs % MICRO_PER_USD).toString().padStart(6, '0')
  let end = 6
  while (end > places && fraction[end - 1] === '0') end -= 1
  return `${sign}${abs / MICRO_PER_USD}${end > 0 ? `.${fraction.slice(0, end)}` : ''}`
}

/** Price × time, rounded half up once to micro-USD. `unitMs` = Σ units × milliseconds. */
export function amountMicroUsd(priceMicroUsdPerUnitHour: MicroUsd, unitMs: bigint): MicroUsd {
  return (priceMicroUsdPerUnitHour * unitMs * 2n + MS_PER_HOUR) / (2n * MS_PER_HOUR)
}
