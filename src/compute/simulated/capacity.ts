/** How many units of what there are where, and who has them. */
import type { Offer, Placement } from '../contract.ts'
import type { Script } from './script.ts'
import type { Troubles } from './troubles.ts'

export const provider = 'simulated'

/** A type of the hardware catalogue. */
export interface SimulatedType {
  slug: string
  /** 8 for `mi300x_8`, 0 for `cpu`. */
  gpusPerUnit: number
  regions: readonly string[]
}

/** GPUs' worth of units of every type in every region, unless the script says otherwise: as on the emulated fleet. */
const gpusPerRegion = 8

interface Pool {
  gpuType: string
  region: string
  total: number
  used: number
}

export class Capacity {
  readonly #pools = new Map<string, Pool>()

  constructor(types: readonly SimulatedType[], units: Script['units'], cpuSlots: number) {
    for (const { slug, gpusPerUnit, regions } of types)
      for (const region of regions) {
        const usual = gpusPerUnit === 0 ? cpuSlots : Math.floor(gpusPerRegion / gpusPerUnit)
        const total = units[`${slug}/${region}`] ?? units[slug] ?? usual
        this.#pools.set(`${slug}/${region}`, { gpuType: slug, region, total, used: 0 })
      }
  }

  offers(troubles: Troubles, now: number): Offer[] {
    return [...this.#pools.values()].map((pool) => ({
      provider,
      gpuType: pool.gpuType,
      region: pool.region,
      totalUnits: pool.total,
      freeUnits: free(pool, troubles, now),
      emulated: true,
      simulated: true,
    }))
  }

  room(placement: Placement, troubles: Troubles, now: number): 'free' | 'full' | 'unknown' {
    const pool = this.#poolOf(placement)
    const { gpuCount } = placement
    if (placement.provider !== provider || pool === undefined || gpuCount < 1 || gpuCount > pool.total) return 'unknown'
    return free(pool, troubles, now) >= gpuCount ? 'free' : 'full'
  }

  take(placement: Placement): void {
    const pool = this.#poolOf(placement)
    if (pool !== undefined) pool.used += placement.gpuCount
  }

  giveBack(placement: Placement): void {
    const pool = this.#poolOf(placement)
    if (pool !== undefined) pool.used -= placement.gpuCount
  }

  /** Where a machine that nobody asked for turns up: the first place that fits. */
  anywhere(here: (place: { gpuType: string; region: string }) => boolean): Placement | null {
    const pool = [...this.#pools.values()].find(here)
    return pool ? { provider, gpuType: pool.gpuType, gpuCount: 1, region: pool.region, emulated: true } : null
  }

  #poolOf({ gpuType, region }: Placement): Pool | undefined {
    return this.#pools.get(`${gpuType}/${region}`)
  }
}

/** While there is a shortage only so many units may be in use. */
function free(pool: Pool, troubles: Troubles, now: number): number {
  const shortage = troubles.underWay('shortage', now, pool)
  return Math.max(0, Math.min(pool.total, shortage?.spec.units ?? pool.total) - pool.used)
}
