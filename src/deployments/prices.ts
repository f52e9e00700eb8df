/**
 * What hardware costs a deployment, and its price ceiling. Pure. The ceiling is what an hour of the whole deployment may
 * cost: a choice that is too dear for as many replicas as there are at least is passed over, and a replica beyond them
 * starts only while it stays within the ceiling. What a roll holds for its own time is exempt, as it is from the quota.
 */
import { Fault } from '../kernel/fault.ts'
import { type MicroUsd, microUsdFromDecimal, usdNumber, usdText } from '../kernel/money.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Wanted } from './place.ts'

/** A choice of hardware with what one replica on it costs an hour. */
export interface Choice extends Wanted {
  price: MicroUsd
  /** Passed over, and why; null = usable. */
  skipped: string | null
}

/** As much of a spec as has a price. */
export interface Priced {
  hardware: readonly Wanted[]
  maxHourlyUsd?: string
}

export function ceilingOf({ maxHourlyUsd }: Priced): MicroUsd | null {
  return maxHourlyUsd === undefined ? null : microUsdFromDecimal(maxHourlyUsd)
}

/** The choices in order of preference, for at least `replicas`. */
export function choicesOf(spec: Priced, replicas: number, catalogue: HardwareCatalogue): Choice[] {
  const ceiling = ceilingOf(spec)
  return spec.hardware.map((wanted) => {
    const price = (catalogue.get(wanted.gpuType)?.price ?? 0n) * BigInt(wanted.gpuCount)
    return { ...wanted, price, skipped: tooDear(price, replicas, ceiling) }
  })
}

function tooDear(price: MicroUsd, replicas: number, ceiling: MicroUsd | null): string | null {
  const hourly = price * BigInt(replicas)
  if (ceiling === null || hourly <= ceiling) return null
  const many = replicas === 1 ? '1 replica' : `${replicas} replicas`
  return `${many} would cost $${usdText(hourly)} an hour, above max_hourly_usd (${usdText(ceiling, 0)}).`
}

/** Throws Fault `price_ceiling` with the numbers when no choice fits under the ceiling. */
export function checkCeiling(spec: Priced, replicas: number, catalogue: HardwareCatalogue): void {
  const choices = choicesOf(spec, replicas, catalogue)
  if (choices.some((choice) => choice.skipped === null)) return
  const hourly = choices.map(({ price }) => price * BigInt(replicas))
  const least = hourly.reduce((a, b) => (a < b ? a : b))
  const ceiling = ceilingOf(spec)!
  throw new Fault(
    'price_ceiling',
    `max_hourly_usd is ${usdText(ceiling, 0)}; the cheapest choice costs $${usdText(least)} an hour for ${replicas === 1 ? '1 replica' : `${replicas} replicas`}.`,
    {
      detail: {
        max_hourly_usd: Number(spec.maxHourlyUsd),
        replicas,
        choices: choices.map(({ gpuType, gpuCount, region }, at) => {
          return { gpu_type: gpuType, gpu_count: gpuCount, region, hourly_usd: usdNumber(hourly[at]!) }
        }),
      },
    },
  )
}

/**
 * What an hour costs now: what runs at its own price, what is missing at that of the first usable choice, as far as the
 * ceiling lets it come.
 */
export function hourlyNow(
  running: readonly MicroUsd[],
  wanted: number,
  choices: readonly Choice[],
  ceiling: MicroUsd | null,
): MicroUsd {
  const held = running.slice(0, wanted)
  const missing = BigInt(wanted - held.length)
  const first = choices.find((choice) => choice.skipped === null) ?? choices[0]
  const runs = held.reduce((sum, price) => sum + price, 0n)
  const all = runs + (first?.price ?? 0n) * missing
  if (ceiling === null || all <= ceiling) return all
  return runs > ceiling ? runs : ceiling
}

/** The most that an hour can cost: the dearest usable choice for all replicas, within the ceiling. */
export function hourlyMost(replicas: number, choices: readonly Choice[], ceiling: MicroUsd | null): MicroUsd {
  const usable = choices.filter((choice) => choice.skipped === null)
  const most = usable.reduce((dearest, { price }) => (price > dearest ? price : dearest), 0n) * BigInt(replicas)
  return ceiling !== null && ceiling < most ? ceiling : most
}

/**
 * The choices that one more replica may be started on when `spent` an hour is what there is costs, and how many more at
 * once: one at a time where the dearest of them for all would go beyond the ceiling.
 */
export function affordable(
  hardware: readonly (Wanted & { price?: MicroUsd })[],
  ceiling: MicroUsd | null,
  spent: MicroUsd,
  count: number,
): { hardware: Wanted[]; count: number } {
  if (ceiling === null) return { hardware: [...hardware], count }
  const fits = hardware.filter(({ price = 0n }) => spent + price <= ceiling)
  const dearest = fits.reduce((most, { price = 0n }) => (price > most ? price : most), 0n)
  return { hardware: fits, count: spent + dearest * BigInt(count) <= ceiling ? count : Math.min(count, 1) }
}
