/** What uploaded models need of deployments: who uses one, who may roll to one, and the roll itself. */
import type { Principal } from '../access/permissions.ts'
import { Fault } from '../kernel/fault.ts'
import { isUploadName } from '../models/uploads/names.ts'
import type { ModelUsers } from '../models/uploads/users.ts'
import type { Tx } from '../store/database.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { Lifecycle } from './lifecycle.ts'
import { lockOrg } from './store.ts'

export class UploadUsers implements ModelUsers {
  readonly #context: DeploymentContext
  readonly #lifecycle: Lifecycle
  constructor(context: DeploymentContext) {
    this.#context = context
    this.#lifecycle = new Lifecycle(context)
  }

  async check(principal: Principal, idOrName: string): Promise<string> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:write')
    const engine = this.#context.engines.get(row.spec.engine.type)
    if (engine?.formats.includes('gguf')) return row.id
    throw new Fault(
      'engine_unsupported',
      `deployment_id: the engine of ${row.name}, ${row.spec.engine.type}, loads no GGUF.`,
      {
        action: 'Name a deployment that runs on llama.cpp, or deploy the model when it is ready.',
      },
    )
  }

  async using(tx: Tx, orgId: string, modelId: string): Promise<string[]> {
    // Whoever creates or changes a deployment holds this while it looks whether the model is still there.
    await lockOrg(tx, orgId)
    return (await usersOf(tx, orgId, modelId)).map(({ name }) => name)
  }

  async roll({ orgId, deploymentId, modelId, byKey }: Parameters<ModelUsers['roll']>[0]): Promise<void> {
    // Whether its key may was asked when the upload began.
    const principal: Principal = { keyId: byKey, orgId, role: 'owner', grants: {}, operator: false }
    await this.#lifecycle.change(principal, deploymentId, { modelId })
  }
}

/**
 * Deployments that wish it, as their model or an adapter, still have a replica of it, or go back to it by themselves when
 * the revision that takes over does not start. Other revisions of the past do not count: see upload-kept.ts.
 */
async function usersOf(tx: Tx, orgId: string, modelId: string): Promise<{ name: string }[]> {
  if (!isUploadName(modelId)) return []
  return tx.query<{ name: string }>(
    `select name from deployments as d where org_id = $1 and (
       (desired <> 'deleted' and spec ->> 'modelId' = $2)
       or (desired <> 'deleted' and exists (
                  select from revisions v where v.deployment_id = d.id and v.spec ->> 'modelId' = $2
                    and v.proven and not v.failed
                    and not exists (select from revisions n where n.deployment_id = d.id and n.number > v.number
                                    and n.proven and not n.failed)))
       or exists (select from replicas r join revisions v on v.id = r.revision_id
                  where r.deployment_id = d.id and r.phase <> 'gone' and v.spec ->> 'modelId' = $2)
       or exists (select from adapters a where a.org_id = $1 and a.deployment_id = d.id and a.source = $2 and (
                  (desired <> 'deleted' and a.removed_at is null)
                  or exists (select from adapter_replicas s join replicas r on r.id = s.replica_id
                             where s.adapter_id = a.id and r.phase <> 'gone'))))
     order by name`,
    [orgId, modelId],
  )
}
