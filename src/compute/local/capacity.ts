/** What this machine offers, and how much of it is free. Pure. */
import type { Offer, Placement } from '../contract.ts'
import type { Gpu } from './gpus.ts'

export const provider = 'local'
export const cpuType = 'cpu'
export const localRegion = 'local'
/** GPUs' worth of units that the emulated fleet has of every type in every region. */
export const emulatedGpusPerRegion = 8

/** A type of the hardware catalogue, as far as it matters here. `cpu` is passed over. */
export interface FleetType {
  slug: string
  /** 8 for `mi300x_8`. */
  gpusPerUnit: number
  regions: string[]
}

export interface Machine {
  cpuSlots: number
  fleet: 'local' | 'emulated'
  types: readonly FleetType[]
  gpus: readonly Gpu[]
  /** GPUs that no replica has. */
  freeGpus: readonly Gpu[]
  /** Of replicas that have not ended. */
  held: readonly Placement[]
}

export function offersOf(machine: Machine): Offer[] {
  const cpu = offer(machine, cpuType, localRegion, machine.cpuSlots, false)
  return [cpu, ...realOffers(machine), ...(machine.fleet === 'emulated' ? emulatedOffers(machine) : [])]
}

function offer({ held }: Machine, gpuType: string, region: string, totalUnits: number, emulated: boolean): Offer {
  const here = held.filter((p) => p.gpuType === gpuType && p.region === region && p.emulated === emulated)
  const used = here.reduce((sum, p) => sum + p.gpuCount, 0)
  return { provider, gpuType, region, totalUnits, freeUnits: Math.max(0, totalUnits - used), emulated }
}

/** Single GPUs, and the catalogue's bundles of them (`mi300x_8` of eight `mi300x`) when there are enough. */
function realOffers({ types, gpus, freeGpus }: Machine): Offer[] {
  const singles = [...new Set(gpus.map((gpu) => gpu.slug))].map((slug) => ({ slug, gpusPerUnit: 1 }))
  const bundles = types.filter((type) => baseOf(type) !== type.slug)
  return [...singles, ...bundles].flatMap((type) => {
    const units = (of: readonly Gpu[]) =>
      Math.floor(of.filter((gpu) => gpu.slug === baseOf(type)).length / type.gpusPerUnit)
    const totalUnits = units(gpus)
    if (totalUnits === 0) return []
    const freeUnits = units(freeGpus)
    return [{ provider, gpuType: type.slug, region: localRegion, totalUnits, freeUnits, emulated: false }]
  })
}

function emulatedOffers(machine: Machine): Offer[] {
  const real = machine.types.filter((type) => type.slug !== cpuType && type.gpusPerUnit > 0)
  return real.flatMap((type) =>
    type.regions.map((region) =>
      offer(machine, type.slug, region, Math.floor(emulatedGpusPerRegion / type.gpusPerUnit), true),
    ),
  )
}

function baseOf({ slug, gpusPerUnit }: Pick<FleetType, 'slug' | 'gpusPerUnit'>): string {
  const suffix = `_${gpusPerUnit}`
  return gpusPerUnit > 1 && slug.endsWith(suffix) ? slug.slice(0, -suffix.length) : slug
}

/** GPUs that can serve this placement and how many it takes; null on CPU and on emulated hardware. */
export function gpusFor(
  placement: Placement,
  types: readonly FleetType[],
  gpus: readonly Gpu[],
): { candidates: Gpu[]; count: number } | null {
  if (placement.gpuType === cpuType || placement.emulated) return null
  const type = types.find((t) => t.slug === placement.gpuType)
  const base = type === undefined ? placement.gpuType : baseOf(type)
  const perUnit = type === undefined || base === type.slug ? 1 : type.gpusPerUnit
  return { candidates: gpus.filter((gpu) => gpu.slug === base), count: perUnit * placement.gpuCount }
}

export type Room = 'free' | 'full' | 'unknown'

/** `unknown`: this machine has no such hardware at all, so waiting is useless. */
export function roomFor(placement: Placement, offers: readonly Offer[]): Room {
  const match = offers.find(
    (o) =>
      o.gpuType === placement.gpuType &&
      o.region === placement.region &&
      o.emulated === placement.emulated &&
      o.totalUnits >= placement.gpuCount,
  )
  if (placement.provider !== provider || placement.gpuCount < 1 || match === undefined) return 'unknown'
  return match.freeUnits >= placement.gpuCount ? 'free' : 'full'
}
