/** Replicas as metrics count them. */
import type { Database } from '../store/database.ts'
import type { ReplicaPhase } from './replica.ts'

/** Those that are not gone. */
export async function replicasNow(db: Database, deploymentId: string): Promise<{ id: string; phase: ReplicaPhase }[]> {
  return db.query(`select id, phase from replicas where deployment_id = $1 and phase <> 'gone'`, [deploymentId])
}
