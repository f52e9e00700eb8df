/** Growth that is wanted and may not be: by the organisation's quota, or by the deployment's own price ceiling. Pure. */
import { type MicroUsd, usdText } from '../kernel/money.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import { ceilingOf, choicesOf, type Priced } from './prices.ts'
import { floorOf, type ScalingPolicy } from './scaling.ts'

/** What the owner is told of it; also a reason. */
export interface Limited {
  code: 'quota_short' | 'price_ceiling'
  message: string
}

export interface Growth {
  /** The largest number that may be had, up to what was asked; at least what it has. */
  to: number
  /** Why it is not all; null = it is. */
  limited: Limited | null
}

/** `used`: GPUs that the organisation's other deployments hold. */
export function growthWithin(
  wish: { from: number; to: number; spec: Priced; scaling: ScalingPolicy; gpusEach: number },
  quota: { used: number; limit: number },
  catalogue: HardwareCatalogue,
): Growth {
  const { from, to, spec, scaling, gpusEach } = wish
  if (to <= from) return { to, limited: null }
  // What a floor counts for already is not refused again.
  const counted = Math.max(from, scaling.minReplicas)
  const room = gpusEach === 0 ? to : Math.floor((quota.limit - quota.used) / gpusEach)
  const byQuota = Math.max(counted, room)
  const byPrice = Math.max(from, affordableReplicas(spec, scaling, catalogue))
  const most = Math.min(to, byQuota, byPrice)
  if (most >= to) return { to, limited: null }
  return {
    to: Math.max(from, most),
    limited: byPrice <= byQuota ? tooDear(spec) : tooMany(gpusEach, quota),
  }
}

function affordableReplicas(spec: Priced, scaling: ScalingPolicy, catalogue: HardwareCatalogue): number {
  const ceiling = ceilingOf(spec)
  const usable = choicesOf(spec, floorOf(scaling), catalogue).filter((choice) => choice.skipped === null)
  const cheapest = usable.reduce<MicroUsd | null>(
    (least, { price }) => (least === null || price < least ? price : least),
    null,
  )
  return ceiling === null || cheapest === null || cheapest === 0n ? Number.MAX_SAFE_INTEGER : Number(ceiling / cheapest)
}

export function gpusText(gpus: number): string {
  return gpus === 1 ? '1 GPU' : `${gpus} GPUs`
}

/** Says nothing of how many are wanted: that changes with every look, and what is told should not. */
function tooMany(each: number, { used, limit }: { used: number; limit: number }): Limited {
  const message = `The organisation's quota leaves no room for it: its other deployments hold ${used} of ${limit} GPUs, and a replica takes ${gpusText(each)}.`
  return { code: 'quota_short', message }
}

function tooDear(spec: Priced): Limited {
  const message = `Another replica would cost more than max_hourly_usd allows ($${usdText(ceilingOf(spec) ?? 0n)} an hour).`
  return { code: 'price_ceiling', message }
}
