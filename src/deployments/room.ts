/** Is there hardware for this now? What `fail_fast` asks before anything is written. Pure. */
import type { Offer } from '../compute/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { comparableTo, type HardwareCatalogue } from '../models/hardware.ts'
import { place } from './place.ts'
import { choicesOf, type Priced } from './prices.ts'

/** The seed's own sentence, to the letter. */
export const unavailable = 'Hardware for endpoint not available now. please try again later'
const retryAfterSeconds = 60

/** Throws Fault `capacity_short` unless `replicas` can start now, all of them. */
export function checkRoom(
  spec: Priced,
  replicas: number,
  offers: readonly Offer[],
  catalogue: HardwareCatalogue,
): void {
  const usable = choicesOf(spec, replicas, catalogue).filter((choice) => choice.skipped === null)
  const free = place(usable, offers, replicas).length
  if (free >= replicas) return
  const comparable = comparableTo(spec.hardware, catalogue)
  const instead = offers.filter(({ gpuType, freeUnits }) =>
    comparable.some((one) => one.gpuType === gpuType && freeUnits >= one.gpuCount),
  )
  throw new Fault('capacity_short', unavailable, {
    action: adviceText(free, [...new Set(instead.map(({ gpuType }) => gpuType))]),
    detail: {
      wanted_replicas: replicas,
      free_replicas: free,
      comparable: instead.map(({ gpuType, region, freeUnits }) => {
        return { gpu_type: gpuType, region, free_units: freeUnits }
      }),
    },
    retryAfterSeconds,
  })
}

/** What the seed advises, with what is known. */
function adviceText(free: number, comparable: readonly string[]): string {
  const fewer = free > 0 ? [`ask for ${free === 1 ? '1 replica' : `${free} replicas`}`] : []
  const other = comparable.length > 0 ? [`use comparable hardware that is free now (${comparable.join(', ')})`] : []
  const ways = [...fewer, ...other, 'try again later, or leave fail_fast out to be queued'].join('; ')
  return `${ways[0]!.toUpperCase()}${ways.slice(1)}.`
}
