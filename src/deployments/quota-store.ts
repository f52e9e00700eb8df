/** The SQL of quotas: one function per statement. */
import type { Database, Tx } from '../store/database.ts'
import type { Limited } from './limited.ts'
import type { DeploymentRow } from './store.ts'

type Db = Database | Tx
type Held = Pick<DeploymentRow, 'id' | 'org_id' | 'spec' | 'scaling' | 'desired_replicas'>

/** Deployments of these orgs that hold or want hardware. Locks nothing: who checks holds the org's lock. */
export async function liveSpecsOf(db: Db, orgIds: readonly string[]): Promise<Held[]> {
  return db.query<Held>(
    `select id, org_id, spec, scaling, desired_replicas from deployments
     where org_id = any($1) and desired = 'running' and phase <> 'failed'`,
    [orgIds],
  )
}

/** Organisation → GPUs it may hold; null = as the setting says. An organisation that is not there is absent. */
export async function quotasOf(db: Db, orgIds: readonly string[]): Promise<Map<string, number | null>> {
  const rows = await db.query<{ id: string; quota_gpus: number | null }>(
    'select id, quota_gpus from orgs where id = any($1)',
    [orgIds],
  )
  return new Map(rows.map(({ id, quota_gpus }) => [id, quota_gpus]))
}

export async function saveQuota(tx: Tx, orgId: string, gpus: number | null): Promise<void> {
  await tx.query('update orgs set quota_gpus = $2 where id = $1', [orgId, gpus])
}

/** Growth that was refused, or no longer is; the reconciler says it. */
export async function saveLimited(tx: Tx, id: string, limited: Limited | null, at: Date): Promise<void> {
  await tx.query('update deployments set limited = $2, updated_at = $3, next_at = least(next_at, $3) where id = $1', [
    id,
    limited === null ? null : JSON.stringify(limited),
    at,
  ])
}
