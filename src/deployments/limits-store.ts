/** The SQL of a deployment's limits. */
import type { Limits } from '../access/limits.ts'
import type { Tx } from '../store/database.ts'

export async function saveLimits(tx: Tx, id: string, limits: Limits, at: Date): Promise<void> {
  await tx.query('update deployments set limits = $2, updated_at = $3 where id = $1', [id, JSON.stringify(limits), at])
}
