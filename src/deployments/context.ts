/** What the use cases of this folder stand on, and the one check of who may touch which deployment. */
import { can, type Principal, type Right } from '../access/permissions.ts'
import type { ComputeDriver } from '../compute/contract.ts'
import { Fault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Database } from '../store/database.ts'
import type { AdapterLimits } from './adapters/keep.ts'
import type { Pin } from './pin.ts'
import type { ScalingLimits } from './scaling.ts'
import type { ScheduleLimits } from './schedule-check.ts'
import type { SpecContext } from './spec.ts'
import { type DeploymentRow, deploymentOf } from './store.ts'

export interface DeploymentContext extends SpecContext, ScalingLimits, ScheduleLimits, AdapterLimits {
  db: Database
  seal: Seal
  clock: Clock
  computes: ReadonlyMap<string, ComputeDriver>
  /** So long before the end of a lease it is warned of. */
  leaseWarningSeconds: number
  /** GPUs an org may hold. */
  quotaGpus: number
  /** How long requests are held: a roll in place that is expected to take longer has to be allowed. */
  holdMaxSeconds: number
  /** How long a start takes when none was measured. */
  startExpectedSeconds: number
  /** Who waits longer for hardware than this has a place kept for it; default: queue.ts's. */
  reserveAfterMs?: number
  /** Asks the Hub what a `model_id` names; absent: there is no Hub. */
  pin?: Pin
  /** Tells the reconciler that something changed. */
  wake(): void
}

/** Another org's deployment is not there (404); one of the own org without the right is forbidden (403). */
export async function allowed(
  context: DeploymentContext,
  principal: Principal,
  idOrName: string,
  right: Right,
): Promise<DeploymentRow> {
  const row = await deploymentOf(context.db, principal.orgId, idOrName)
  if (!row) throw new Fault('not_found', `There is no deployment "${idOrName}" in this organisation.`)
  if (!can(principal, right, row.id)) throw forbidden(right)
  return row
}

export function forbidden(right: Right): Fault {
  return new Fault('forbidden', `This API key does not have the right ${right} here.`)
}
