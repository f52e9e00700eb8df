/** The organisation's quota in GPUs: what its deployments may hold, checked when one is made or grows. */
import { Fault } from '../kernel/fault.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Database, Tx } from '../store/database.ts'
import { type Growth, gpusText, growthWithin } from './limited.ts'
import { choicesOf } from './prices.ts'
import { liveSpecsOf, quotasOf } from './quota-store.ts'
import { floorOf, policyOf, type ScalingPolicy } from './scaling.ts'
import type { DeploymentSpec } from './spec.ts'

export interface QuotaContext {
  hardware: HardwareCatalogue
  /** GPUs that an org may hold unless the operator sets another number. */
  quotaGpus: number
}

export interface Holding {
  /** null: it is not there yet. */
  id: string | null
  spec: DeploymentSpec
  scaling: ScalingPolicy
  desiredReplicas: number
}

/** A floor counts while asleep too, so that waking is not refused. */
export function gpusHeld(holding: Omit<Holding, 'id'>, hardware: HardwareCatalogue): number {
  return gpusEach(holding, hardware) * Math.max(holding.scaling.minReplicas, holding.desiredReplicas)
}

/** GPUs of one replica; a list counts with its largest usable choice. */
function gpusEach({ spec, scaling }: Omit<Holding, 'id'>, hardware: HardwareCatalogue): number {
  const usable = choicesOf(spec, floorOf(scaling), hardware).filter((choice) => choice.skipped === null)
  return Math.max(0, ...usable.map(({ gpuType, gpuCount }) => (hardware.get(gpuType)?.gpusPerUnit ?? 0) * gpuCount))
}

export interface OrgQuota {
  /** GPUs it may hold. */
  limit: number
  /** The operator has set no other number than the setting's. */
  isDefault: boolean
  /** GPUs that count. */
  used: number
}

/** By organisation; those that are not there are absent. `exceptId`: a deployment that is not counted. */
export async function orgQuotas(
  db: Database | Tx,
  orgIds: readonly string[],
  { hardware, quotaGpus }: QuotaContext,
  exceptId: string | null = null,
): Promise<Map<string, OrgQuota>> {
  const [limits, rows] = [await quotasOf(db, orgIds), await liveSpecsOf(db, orgIds)]
  const quotas = new Map<string, OrgQuota>()
  for (const [id, own] of limits) quotas.set(id, { limit: own ?? quotaGpus, isDefault: own === null, used: 0 })
  for (const row of rows) {
    const quota = quotas.get(row.org_id)
    if (quota === undefined || row.id === exceptId) continue
    quota.used += gpusHeld({ spec: row.spec, scaling: policyOf(row), desiredReplicas: row.desired_replicas }, hardware)
  }
  return quotas
}

async function othersIn(
  tx: Tx,
  orgId: string,
  exceptId: string | null,
  context: QuotaContext,
): Promise<{ used: number; limit: number }> {
  const quota = (await orgQuotas(tx, [orgId], context, exceptId)).get(orgId)
  return quota ?? { used: 0, limit: context.quotaGpus }
}

/** Throws Fault `quota_exceeded` {used by the others, asked, limit}. Callers hold the org's lock. */
export async function checkQuota(tx: Tx, orgId: string, asked: Holding, context: QuotaContext): Promise<void> {
  const gpus = gpusHeld(asked, context.hardware)
  if (gpus === 0) return
  const { used, limit } = await othersIn(tx, orgId, asked.id, context)
  if (used + gpus > limit)
    throw new Fault('quota_exceeded', `This needs ${gpusText(gpus)}; the organisation holds ${used} of ${limit}.`, {
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

/** How far one that is there may grow towards `to` replicas, and why no further. Callers hold the org's lock. */
export async function roomToGrow(
  tx: Tx,
  orgId: string,
  holding: Holding,
  to: number,
  context: QuotaContext,
): Promise<Growth> {
  const { spec, scaling, desiredReplicas: from } = holding
  if (to <= from) return { to, limited: null }
  const each = gpusEach(holding, context.hardware)
  const quota = each === 0 ? { used: 0, limit: 0 } : await othersIn(tx, orgId, holding.id, context)
  return growthWithin({ from, to, spec, scaling, gpusEach: each }, quota, context.hardware)
}
