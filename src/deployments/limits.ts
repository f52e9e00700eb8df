/** Use cases of a deployment's limits: what they are, and others. They count at once, without a new revision. */
import { allLimits, type Limits, type LimitsChange, setLimits, withLimits } from '../access/limits.ts'
import type { Once } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import { record } from '../events/store.ts'
import type { Tx } from '../store/database.ts'
import { changeDeployment } from './change.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { saveLimits } from './limits-store.ts'
import * as store from './store.ts'

export class DeploymentLimits {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  async get(principal: Principal, idOrName: string): Promise<Limits> {
    return allLimits((await allowed(this.#context, principal, idOrName, 'deployment:read')).limits)
  }

  /** Every live gateway knows when this returns, or a second is over. */
  async change(
    principal: Principal,
    idOrName: string,
    change: LimitsChange,
    once: Once | null = null,
  ): Promise<Limits> {
    await changeDeployment(this.#context, principal, idOrName, once, (tx, row, at) =>
      writeLimits(tx, row, change, { by: principal.keyId, at }),
    )
    return this.get(principal, idOrName)
  }
}

/** Nothing is written when nothing changes. */
export async function writeLimits(
  tx: Tx,
  row: store.DeploymentRow,
  change: LimitsChange,
  { by, at }: { by: string; at: Date },
): Promise<void> {
  const { limits, changed } = withLimits(allLimits(row.limits), change)
  if (changed.length === 0) return
  await saveLimits(tx, row.id, limits, at)
  const data = { by, changed }
  await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'deployment.limits_changed', data, at })
  const { limits: _before, ...route } = (await store.routeOf(tx, row.id))!
  const set = setLimits(limits)
  await store.publishRoute(tx, { ...route, ...(set === null ? {} : { limits: set }) })
}
