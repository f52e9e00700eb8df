/** Which hardware a new replica gets: the first entry of the preference list that is free. Pure. */
import type { Offer, Placement } from '../compute/contract.ts'

export interface Wanted {
  gpuType: string
  /** Units per replica. */
  gpuCount: number
  /** null = any. */
  region: string | null
}

/** Up to `count` placements, in order of preference; fewer when that is all there is. */
export function place(wanted: readonly Wanted[], offers: readonly Offer[], count: number): Placement[] {
  const free = offers.map((offer) => ({ ...offer }))
  const placements: Placement[] = []
  while (placements.length < count) {
    const placement = takeOne(wanted, free)
    if (placement === null) break
    placements.push(placement)
  }
  return placements
}

/** Units held by replicas that are not gone, by hardware. */
export interface HeldUnits {
  provider: string
  gpuType: string
  region: string
  units: number
}

/** Asked again when the place is taken, under its lock: do the rows leave room for one more? */
export function hasRoom(placement: Placement, offers: readonly Offer[], held: readonly HeldUnits[]): boolean {
  const there = (one: Pick<HeldUnits, 'provider' | 'gpuType' | 'region'>) =>
    one.provider === placement.provider && one.gpuType === placement.gpuType && one.region === placement.region
  const total = offers.find(there)?.totalUnits ?? 0
  return (held.find(there)?.units ?? 0) + placement.gpuCount <= total
}

/** The first choice that is free; takes it from `free`. null = none is. */
export function takeOne(wanted: readonly Wanted[], free: readonly Offer[]): Placement | null {
  for (const { gpuType, gpuCount, region } of wanted) {
    const fits = free.filter(
      (offer) =>
        offer.gpuType === gpuType && offer.freeUnits >= gpuCount && (region === null || offer.region === region),
    )
    // The region with most room first; by name among equals, so that the choice can be replayed.
    const [offer] = fits.sort((a, b) => b.freeUnits - a.freeUnits || a.region.localeCompare(b.region))
    if (offer === undefined) continue
    offer.freeUnits -= gpuCount
    return { provider: offer.provider, gpuType, gpuCount, region: offer.region, emulated: offer.emulated }
  }
  return null
}

/** True when the hardware that is wanted exists here only as emulated slots. */
export function onlyEmulated(wanted: readonly Pick<Wanted, 'gpuType'>[], offers: readonly Offer[]): boolean {
  const named = offers.filter((offer) => wanted.some(({ gpuType }) => gpuType === offer.gpuType))
  return named.length > 0 && named.every((offer) => offer.emulated)
}
