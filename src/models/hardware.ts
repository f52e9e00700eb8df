/** The hardware catalogue: types, prices, counts and regions as data, with the operator's prices on top. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type MicroUsd, microUsdFromDecimal } from '../kernel/money.ts'

export interface HardwareType {
  slug: string
  name: string
  /** GPUs in one unit: 8 for `mi300x_8`, 0 for `cpu`. */
  gpusPerUnit: number
  /** Memory of one unit, GiB; of a CPU the machine's, which all its replicas share. 0 = not known. */
  vramGib: number
  /** Of one GPU's memory, TB per second, by its data sheet; null = not known. */
  gpuBandwidth: number | null
  /** Of one GPU at 16 bit without sparsity, by its data sheet; null = not known. */
  gpuTeraflops: number | null
  /** Units per replica that this type offers. */
  counts: number[]
  regions: string[]
  /** Micro-USD per unit-hour; null = not offered until the operator sets a price. */
  price: MicroUsd | null
}

interface Row {
  slug: string
  name: string
  gpus_per_unit: number
  vram_gib: number
  gpu_tb_per_second: number | null
  gpu_teraflops: number | null
  counts: number[]
  regions: string[]
  usd_per_unit_hour: string | null
}

export class HardwareCatalogue {
  readonly #types: ReadonlyMap<string, HardwareType>
  constructor(types: readonly HardwareType[]) {
    this.#types = new Map(types.map((type) => [type.slug, type]))
  }

  get(slug: string): HardwareType | null {
    return this.#types.get(slug) ?? null
  }

  all(): HardwareType[] {
    return [...this.#types.values()]
  }
}

/**
 * `prices`: setting `compute.prices`, USD per unit-hour by slug; a new slug is ignored (it has no hardware).
 * `cpuMemoryGib`: of the machine; 0 = not known.
 */
export function loadHardware(prices: Readonly<Record<string, string>>, cpuMemoryGib = 0): HardwareCatalogue {
  const path = join(import.meta.dirname, 'catalogue', 'hardware.json')
  const rows = JSON.parse(readFileSync(path, 'utf8')) as Row[]
  const types = rows.map((row) => fromRow(row, prices[row.slug]))
  return new HardwareCatalogue(
    types.map((type) => (type.gpusPerUnit === 0 ? { ...type, vramGib: cpuMemoryGib } : type)),
  )
}

function fromRow(row: Row, ownPrice: string | undefined): HardwareType {
  const price = ownPrice ?? row.usd_per_unit_hour
  return {
    slug: row.slug,
    name: row.name,
    gpusPerUnit: row.gpus_per_unit,
    vramGib: row.vram_gib,
    gpuBandwidth: row.gpu_tb_per_second,
    gpuTeraflops: row.gpu_teraflops,
    counts: row.counts,
    regions: row.regions,
    price: price === null ? null : microUsdFromDecimal(price),
  }
}

/**
 * Other types that can stand in for these choices, cheapest first: on offer, with as much memory as the smallest choice,
 * in the fewest units that have it. Nothing stands in for a CPU.
 */
export function comparableTo(
  choices: readonly { gpuType: string; gpuCount: number }[],
  catalogue: HardwareCatalogue,
): { gpuType: string; gpuCount: number; price: MicroUsd }[] {
  const wanted = choices.flatMap(({ gpuType, gpuCount }) => {
    const type = catalogue.get(gpuType)
    return type && type.gpusPerUnit > 0 ? [type.vramGib * gpuCount] : []
  })
  if (wanted.length === 0) return []
  const least = Math.min(...wanted)
  const others = catalogue.all().filter((type) => type.gpusPerUnit > 0 && type.price !== null)
  return others
    .filter((type) => !choices.some(({ gpuType }) => gpuType === type.slug))
    .flatMap((type) => {
      const gpuCount = [...type.counts].sort((a, b) => a - b).find((count) => type.vramGib * count >= least)
      return gpuCount === undefined ? [] : [{ gpuType: type.slug, gpuCount, price: type.price! * BigInt(gpuCount) }]
    })
    .sort((a, b) => (a.price < b.price ? -1 : a.price > b.price ? 1 : 0))
}
