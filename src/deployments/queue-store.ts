/** The SQL of the queue for hardware: one function per statement. */
import type { Database, Tx } from '../store/database.ts'
import { type Claim, givenBack, type Held } from './queue.ts'
import type { Waiting } from './waiting.ts'

type Db = Database | Tx

/** Claims that one look considers, longest waiting first. */
const claimsMaximum = 500

export async function claims(db: Db): Promise<Claim[]> {
  const rows = await db.query<{ waiting: Waiting }>(
    `select waiting from deployments where waiting is not null and desired = 'running'
     order by waiting->'since' limit $1`,
    [claimsMaximum],
  )
  return rows.map(({ waiting: { position: _p, of: _o, instead: _i, hopeless: _h, ...claim } }) => claim)
}

/** What every organisation holds; `gpusPerUnit` by hardware type. */
export async function heldByOrgs(db: Db, gpusPerUnit: Readonly<Record<string, number>>): Promise<Record<string, Held>> {
  const rows = await db.query<{ org_id: string; gpu_type: string; units: string; replicas: string }>(
    `select org_id, gpu_type, sum(gpu_count) as units, count(*) as replicas from replicas
     where phase <> 'gone' group by 1, 2`,
  )
  const held: Record<string, Held> = {}
  for (const { org_id, gpu_type, units, replicas } of rows) {
    const before = held[org_id] ?? { gpus: 0, replicas: 0 }
    const gpus = before.gpus + Number(units) * (gpusPerUnit[gpu_type] ?? 0)
    held[org_id] = { gpus, replicas: before.replicas + Number(replicas) }
  }
  return held
}

/**
 * The place that a replica was to have is not there: its deployment waits again with what it had waited with (`claim`; null
 * = it had not). `refused`: its provider said so, although it had offered it. Callers hold the row.
 */
export async function returnClaim(
  tx: Tx,
  { id, org_id }: { id: string; org_id: string },
  claim: Claim | null,
  refused: Claim['refused'],
  now: number,
): Promise<void> {
  const [row] = await tx.query<{ waiting: Waiting | null }>('select waiting from deployments where id = $1', [id])
  const nothing: Claim = {
    id,
    orgId: org_id,
    hardware: [],
    missing: 0,
    has: claim?.has ?? 0,
    lost: 0,
    since: now,
    refused: [],
  }
  const before: Waiting = row?.waiting ?? { ...nothing, position: 0, of: 0, instead: [], hopeless: false }
  const after: Waiting = { ...before, ...(claim === null ? before : givenBack(before, claim)) }
  await tx.query('update deployments set waiting = $2 where id = $1', [
    id,
    JSON.stringify({ ...after, refused: [...before.refused, ...refused] }),
  ])
}

/** Its turns fail: nothing is kept for it until one succeeds. */
export async function stall(db: Db, id: string): Promise<void> {
  await db.run(
    `update deployments set waiting = waiting || '{"stalled": true}' where id = $1 and waiting is not null`,
    [id],
  )
}
