/** The SQL of the catalogue: one function per statement. */
import type { Database, Querier, Tx } from '../store/database.ts'
import type { ModelEntry } from './entry.ts'

export async function addedEntries(db: Database | Tx): Promise<ModelEntry[]> {
  const rows = await db.query<{ entry: ModelEntry }>('select entry from catalogue_models order by id')
  return rows.map(({ entry }) => entry)
}

export async function countEntries(db: Database | Tx): Promise<number> {
  const [row] = await db.query<{ count: string }>('select count(*) as count from catalogue_models')
  return Number(row!.count)
}

/** False when there is one of this id and it is not to be replaced. */
export async function saveEntry(tx: Tx, entry: ModelEntry, replace: boolean, at: Date): Promise<boolean> {
  const rows = await tx.query(
    `insert into catalogue_models (id, entry, added_at) values ($1, $2, $3)
     on conflict (id) do update set entry = excluded.entry, added_at = excluded.added_at where $4
     returning id`,
    [entry.id, JSON.stringify(entry), at, replace],
  )
  return rows.length > 0
}

/** False when there is none of this id. Until the end of the transaction nobody begins to use it. */
export async function lockEntry(tx: Tx, id: string): Promise<boolean> {
  return (await tx.query('select from catalogue_models where id = $1 for update', [id])).length > 0
}

/** False when there is none of this id. Until the end of the transaction nobody removes it. */
export async function keepEntry(db: Querier, id: string): Promise<boolean> {
  return (await db.query('select from catalogue_models where id = $1 for key share', [id])).length > 0
}

export async function removeEntry(tx: Tx, id: string): Promise<void> {
  await tx.query('delete from catalogue_models where id = $1', [id])
}

/** Held to the end of the transaction: the bound on their number holds with several at once. */
export async function lockEntries(tx: Tx): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('catalogue_models', 7))`)
}
