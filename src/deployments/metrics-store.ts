/** Replicas as metrics count them. */
import type { Database } from '../store/database.ts'
import type { ReplicaPhase } from './replica.ts'

/** Those that are not gone. */
export async function replicasNow(db: Database, deploymentId: string): Promise<{ id: string; phase: ReplicaPhase }[]> {
  return db.query(`select id, phase from replicas where deployment_id = $1 and phase <> 'gone'`, [deploymentId])
}

/** Deployment → its model, of all that were not deleted. */
export async function liveModels(db: Database): Promise<Map<string, string>> {
  const rows = await db.query<{ id: string; model: string }>(
    `select id, spec ->> 'modelId' as model from deployments where deleted_at is null`,
  )
  return new Map(rows.map(({ id, model }) => [id, model]))
}

export async function liveReplicas(db: Database): Promise<{ id: string; deploymentId: string; phase: ReplicaPhase }[]> {
  return db.query(`select id, deployment_id as "deploymentId", phase from replicas where phase <> 'gone' order by id`)
}
