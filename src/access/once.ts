/**
 * Idempotency-Key: the same key on the same route gives the same answer, and the thing is made once, through any crash:
 * the answer is stored in the transaction that makes the thing. Answers may hold a secret shown once, so they are sealed.
 */
import { Fault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Database, Querier, Tx } from '../store/database.ts'

export interface Once {
  /** The header's value, 1 to 255 characters. */
  key: string
  /** Method and path pattern, e.g. "POST /deployments". */
  route: string
  /** SHA-256 of the request body, hex: the same key with another body is a mistake worth telling. */
  requestHash: string
}

/** Runs `make` in a transaction, once per (org, route, key); a repeat gets the stored result. Results must be JSON. */
export async function runOnce<T extends object>(
  db: Database,
  seal: Seal,
  clock: Clock,
  orgId: string,
  once: Once | null,
  make: (tx: Tx) => Promise<T>,
): Promise<{ result: T; replayed: boolean }> {
  return db.tx(async (tx) => {
    if (once === null) return { result: await make(tx), replayed: false }
    // Two requests with one key at the same time: the second waits, then finds the first one's answer.
    await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7))', [`${orgId}\n${once.route}\n${once.key}`])
    const before = await stored<T>(tx, seal, orgId, once)
    if (before !== null) return { result: before, replayed: true }
    const result = await make(tx)
    await tx.query(
      `insert into idempotency (org_id, key, route, request_hash, response, created_at) values ($1, $2, $3, $4, $5, $6)`,
      [orgId, once.key, once.route, once.requestHash, seal.seal(JSON.stringify(result)), new Date(clock.now())],
    )
    return { result, replayed: false }
  })
}

/**
 * What was made with this key before; null = nothing yet, which may change at any moment. For those who must ask others
 * before they can make it: what was made once is answered whatever these say by now. Throws Fault `idempotency_conflict`.
 */
export async function madeBefore<T extends object>(
  db: Database,
  seal: Seal,
  orgId: string,
  once: Once | null,
): Promise<T | null> {
  return once === null ? null : stored<T>(db, seal, orgId, once)
}

async function stored<T extends object>(db: Querier, seal: Seal, orgId: string, once: Once): Promise<T | null> {
  const [before] = await db.query<{ request_hash: string; response: string }>(
    'select request_hash, response from idempotency where org_id = $1 and key = $2 and route = $3',
    [orgId, once.key, once.route],
  )
  if (before === undefined) return null
  if (before.request_hash !== once.requestHash)
    throw new Fault('idempotency_conflict', 'This Idempotency-Key was used for a request with another body.')
  return JSON.parse(seal.open(before.response)) as T
}
