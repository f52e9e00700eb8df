/** The SQL of cold starts: one function per statement. */
import type { Database, Tx } from '../store/database.ts'
import type { ColdBegan, ColdFrom, ColdStart } from './cold-start.ts'

/** What is older was not reported by a gateway of now. */
const heldLongestMs = 3_600_000

/**
 * From now on something should answer and nothing does; when a request woke it, from when the first of them began to wait
 * at a gateway.
 */
export async function beginCold(tx: Tx, deploymentId: string, from: Exclude<ColdFrom, 'replica'>, at: Date) {
  const ms = at.getTime()
  await tx.query(
    `update deployments set cold = jsonb_build_object('from', $2::text, 'at', case when $2 = 'request'
       then (select coalesce(min(held.since), $3) from (
         select (demand->$1->>'heldSince')::bigint as since from gateways) as held
         where held.since between $4 and $3)
       else $3::bigint end)
     where id = $1`,
    [deploymentId, from, ms, ms - heldLongestMs],
  )
}

/** Nothing should answer any more. */
export async function endCold(tx: Tx, deploymentId: string): Promise<void> {
  await tx.query('update deployments set cold = null where id = $1 and cold is not null', [deploymentId])
}

/** Since when nothing answers although something should; null = something does, or nothing should. */
export async function coldOf(tx: Tx, deploymentId: string): Promise<ColdBegan | null> {
  const [row] = await tx.query<{ cold: ColdBegan | null }>('select cold from deployments where id = $1', [deploymentId])
  return row?.cold ?? null
}

/** Something answers. Of replicas that are ready at the same moment the first counts. */
export async function saveColdStart(tx: Tx, deploymentId: string, start: ColdStart): Promise<void> {
  await tx.query(
    `update deployments set cold = null, cold_start = $2
     where id = $1 and (cold_start is null or (cold_start->>'at')::bigint < $3)`,
    [deploymentId, JSON.stringify(start), start.at],
  )
}

export async function lastColdStart(db: Database, deploymentId: string): Promise<ColdStart | null> {
  const [row] = await db.query<{ cold_start: ColdStart | null }>('select cold_start from deployments where id = $1', [
    deploymentId,
  ])
  return row?.cold_start ?? null
}
