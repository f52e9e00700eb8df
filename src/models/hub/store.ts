/** The SQL of Hub tokens: one function per statement. */
import type { Database, Tx } from '../../store/database.ts'

export interface TokenRow {
  org_id: string
  /** By runtime/seal.ts. */
  sealed: string
  /** Its last four characters. */
  hint: string
  account: string | null
  changed_at: Date
}

export async function tokenOf(db: Database, orgId: string): Promise<TokenRow | null> {
  const rows = await db.query<TokenRow>(
    'select org_id, sealed, hint, account, changed_at from hub_tokens where org_id = $1',
    [orgId],
  )
  return rows[0] ?? null
}

export async function saveToken(tx: Tx, row: TokenRow): Promise<void> {
  await tx.query(
    `insert into hub_tokens (org_id, sealed, hint, account, changed_at) values ($1, $2, $3, $4, $5)
     on conflict (org_id) do update set sealed = excluded.sealed, hint = excluded.hint, account = excluded.account,
       changed_at = excluded.changed_at`,
    [row.org_id, row.sealed, row.hint, row.account, row.changed_at],
  )
}

/** False when there was none. */
export async function removeToken(tx: Tx, orgId: string): Promise<boolean> {
  const rows = await tx.query('delete from hub_tokens where org_id = $1 returning org_id', [orgId])
  return rows.length > 0
}

export async function isOrg(db: Database, orgId: string): Promise<boolean> {
  return (await db.query('select 1 from orgs where id = $1', [orgId])).length > 0
}
