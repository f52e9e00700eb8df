/** What serving has cost so far: Σ over replicas of price × time from ready to end, exact, rounded once. Pure. */
import { amountMicroUsd, type MicroUsd } from '../kernel/money.ts'

export interface ServingInterval {
  priceMicroUsdPerUnitHour: MicroUsd
  units: number
  /** ms since epoch. */
  from: number
  /** null = still serving. */
  to: number | null
}

/** Half-open intervals [from, to); one that ends before it began (a clock that went back) counts nothing. */
export function costSoFar(intervals: readonly ServingInterval[], now: number): MicroUsd {
  const unitMsByPrice = new Map<MicroUsd, bigint>()
  for (const { priceMicroUsdPerUnitHour: price, units, from, to } of intervals) {
    const ms = BigInt(Math.max(0, Math.round((to ?? now) - from)))
    unitMsByPrice.set(price, (unitMsByPrice.get(price) ?? 0n) + ms * BigInt(units))
  }
  return [...unitMsByPrice].reduce((sum, [price, unitMs]) => sum + amountMicroUsd(price, unitMs), 0n)
}
