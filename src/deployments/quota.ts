/** The organisation's quota in GPUs: what its deployments may hold, checked when one is made or grows. */
import { Fault } from '../kernel/fault.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Tx } from '../store/database.ts'
import { choicesOf } from './prices.ts'
import { floorOf, policyOf, type ScalingPolicy } from './scaling.ts'
import type { DeploymentSpec } from './spec.ts'
import { liveSpecsOf } from './store.ts'

export interface QuotaContext {
  hardware: HardwareCatalogue
  /** GPUs an org may hold. */
  quotaGpus: number
}

export interface Holding {
  /** null: it is not there yet. */
  id: string | null
  spec: DeploymentSpec
  scaling: ScalingPolicy
  desiredReplicas: number
}

/** A floor counts while asleep too, so that waking is not refused. A list counts with its largest usable choice. */
export function gpusHeld({ spec, scaling, desiredReplicas }: Omit<Holding, 'id'>, hardware: HardwareCatalogue): number {
  const replicas = Math.max(scaling.minReplicas, desiredReplicas)
  const usable = choicesOf(spec, floorOf(scaling), hardware).filter((choice) => choice.skipped === null)
  const each = usable.map(({ gpuType, gpuCount }) => (hardware.get(gpuType)?.gpusPerUnit ?? 0) * gpuCount)
  return Math.max(0, ...each) * replicas
}

/** Throws Fault `quota_exceeded` {used by the others, asked, limit}. Callers hold the org's lock. */
export async function checkQuota(tx: Tx, orgId: string, asked: Holding, context: QuotaContext): Promise<void> {
  const { hardware, quotaGpus: limit } = context
  const gpus = gpusHeld(asked, hardware)
  if (gpus === 0) return
  const others = (await liveSpecsOf(tx, orgId)).filter((row) => row.id !== asked.id)
  const used = others.reduce(
    (sum, row) =>
      sum + gpusHeld({ spec: row.spec, scaling: policyOf(row), desiredReplicas: row.desired_replicas }, hardware),
    0,
  )
  if (used + gpus > limit)
    throw new Fault('quota_exceeded', `This needs ${gpus} GPUs; the organisation holds ${used} of ${limit}.`, {
      detail: { used, asked: gpus, limit },
    })
}

/** The same for one that is there and wants to become `after`; what does not grow is never refused. */
export async function checkGrowth(
  tx: Tx,
  orgId: string,
  before: Holding | null,
  after: Holding,
  context: QuotaContext,
): Promise<void> {
  const had = before === null ? 0 : gpusHeld(before, context.hardware)
  if (gpusHeld(after, context.hardware) > had) await checkQuota(tx, orgId, after, context)
}
