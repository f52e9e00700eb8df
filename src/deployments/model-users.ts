/** Which deployments, of whatever organisation, use a model of the catalogue. */
import type { CatalogueUser } from '../models/users.ts'
import type { Tx } from '../store/database.ts'

const toldMaximum = 20

/** Those that wish it, also stopped ones, and those that still have a replica of it. */
export async function modelUsers(tx: Tx, modelId: string): Promise<CatalogueUser[]> {
  const rows = await tx.query<{ id: string; name: string; org_id: string }>(
    `select id, name, org_id from deployments as d where (desired <> 'deleted' and spec ->> 'modelId' = $1)
       or exists (select from replicas r join revisions v on v.id = r.revision_id
                  where r.deployment_id = d.id and r.phase <> 'gone' and v.spec ->> 'modelId' = $1)
     order by org_id, name limit $2`,
    [modelId, toldMaximum],
  )
  return rows.map(({ id, name, org_id }) => ({ id, name, orgId: org_id }))
}
