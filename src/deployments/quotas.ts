/** Use cases of quotas: what organisations may hold and hold; the operator sets it. */
import { type Once, runOnce } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { DeploymentContext } from './context.ts'
import { type OrgQuota, orgQuotas } from './quota.ts'
import { saveQuota } from './quota-store.ts'
import { lockOrg } from './store.ts'

export class Quotas {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  /** By organisation. Callers show it only to who may see the organisation. */
  async of(orgIds: readonly string[]): Promise<Map<string, OrgQuota>> {
    return orgQuotas(this.#context.db, orgIds, this.#context)
  }

  /**
   * `gpus` null = as the server's setting says. Less than it holds takes nothing away: it stops growth. Throws Fault
   * `forbidden` to all but the operator, `not_found` for an organisation that is not the caller's.
   */
  async set(principal: Principal, orgId: string, gpus: number | null, once: Once | null = null): Promise<OrgQuota> {
    const { db, seal, clock, quotaGpus } = this.#context
    if (!principal.operator) {
      if (orgId !== principal.orgId) throw missing(orgId)
      throw new Fault('forbidden', 'Only the operator may set quotas.')
    }
    const { result } = await runOnce(db, seal, clock, principal.orgId, once, async (tx) => {
      await lockOrg(tx, orgId)
      const before = (await orgQuotas(tx, [orgId], this.#context)).get(orgId)
      if (before === undefined) throw missing(orgId)
      const to = gpus ?? quotaGpus
      if (gpus === null ? !before.isDefault : before.isDefault || before.limit !== gpus) {
        await saveQuota(tx, orgId, gpus)
        const data = { from: before.limit, to, by: principal.keyId }
        await record(tx, { orgId, deploymentId: null, type: 'org.quota_changed', data, at: new Date(clock.now()) })
      }
      return { limit: to, isDefault: gpus === null, used: before.used }
    })
    return result
  }
}

function missing(orgId: string): Fault {
  return new Fault('not_found', `There is no organisation "${orgId}".`)
}
