/** Is there hardware for this now, with regard to those who wait? What `fail_fast` asks before anything is written. Pure. */
import { Fault } from '../kernel/fault.ts'
import type { DeploymentContext } from './context.ts'
import { type Market, queueFor } from './offers.ts'
import { choicesOf, type Priced } from './prices.ts'
import { defaultReserveAfterMs, divide } from './queue.ts'
import { type Instead, insteadOf } from './waiting.ts'

/** The seed's own sentence, to the letter. */
export const unavailable = 'Hardware for endpoint not available now. please try again later'
const retryAfterSeconds = 60

export interface Wish {
  /** null = it is not there yet. */
  id: string | null
  orgId: string
  spec: Priced
  replicas: number
}

/** Throws Fault `capacity_short` unless all of its replicas can start now. */
export function checkRoom(
  { id, orgId, spec, replicas }: Wish,
  market: Market,
  { hardware, clock, reserveAfterMs = defaultReserveAfterMs }: DeploymentContext,
): void {
  const usable = choicesOf(spec, replicas, hardware).filter((choice) => choice.skipped === null)
  const { others, comparable } = queueFor(market, hardware, { id, hardware: spec.hardware, waiting: null })
  const now = clock.now()
  const claim = {
    id: id ?? 'new',
    orgId,
    hardware: usable.map(({ gpuType, gpuCount, region }) => {
      return { gpuType, gpuCount, region, gpus: (market.gpus[gpuType] ?? 0) * gpuCount }
    }),
    missing: replicas,
    has: 0,
    lost: 0,
    since: now,
    refused: [],
  }
  const { given } = divide([...others, claim], market.offers, market.held, { now, reserveAfterMs })
  const free = given.get(claim.id)?.length ?? 0
  if (free >= replicas) return
  const instead = insteadOf(comparable, market.offers).filter((one) => one.freeUnits >= one.gpuCount)
  throw new Fault('capacity_short', unavailable, {
    action: adviceText(free, instead),
    detail: {
      wanted_replicas: replicas,
      free_replicas: free,
      comparable: instead.map(({ gpuType, gpuCount, region, freeUnits }) => {
        return { gpu_type: gpuType, gpu_count: gpuCount, region, free_units: freeUnits }
      }),
    },
    retryAfterSeconds,
  })
}

/** What the seed advises, with what is known. */
function adviceText(free: number, instead: readonly Instead[]): string {
  const types = [...new Set(instead.map(({ gpuType }) => gpuType))].join(', ')
  const fewer = free > 0 ? [`ask for ${free === 1 ? '1 replica' : `${free} replicas`}`] : []
  const other = types === '' ? [] : [`use comparable hardware that is free now (${types})`]
  const ways = [...fewer, ...other, 'try again later, or leave fail_fast out to be queued'].join('; ')
  return `${ways[0]!.toUpperCase()}${ways.slice(1)}.`
}
