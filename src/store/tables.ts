/**
 * Tables that gateways keep in memory: written with a version, read as deltas. Whoever has everything up to version n
 * asks for what is newer; since publishing transactions commit in the order of their versions, nothing is skipped.
 */
import type { Querier, Tx } from './querier.ts'

export const publishedTables = ['keyring', 'routes'] as const
export type PublishedTable = (typeof publishedTables)[number]

/** Where the documents of each are kept; removed ones stay as tombstones. */
const sources: Record<PublishedTable, string> = { keyring: 'api_keys', routes: 'routes' }

/** Channel on which `notify` tells that a published table changed. */
export const tablesChannel = 'paddock_tables'
/** Rows that one read gives at most, those of the last version completed. */
export const readLimit = 5_000

/**
 * The version for rows that this transaction writes (write it into their `version`). From here until the transaction
 * ends, others that publish the same table wait: call it as late as possible, and once.
 */
export async function nextVersion(tx: Tx, name: PublishedTable): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    'update table_versions set version = version + 1 where name = $1 returning version',
    [name],
  )
  if (!row) throw new Error(`table_versions has no row for ${name}`)
  return row.version
}

/** The newest version of every published table, in one small query to poll with. */
export async function currentVersions(db: Querier): Promise<Record<PublishedTable, number>> {
  const rows = await db.query<{ name: PublishedTable; version: number }>('select name, version from table_versions')
  return Object.fromEntries(rows.map(({ name, version }) => [name, version])) as Record<PublishedTable, number>
}

export interface Delta<Row> {
  /** The reader has everything up to here once it has applied `rows`. */
  version: number
  rows: Row[]
  /** True when there is more: read again from `version`. */
  more: boolean
}

/** Rows of the table (all columns) that are newer than `since`, oldest first. `since` 0 = everything. */
export async function readSince<Row extends { version: number }>(
  db: Querier,
  name: PublishedTable,
  since: number,
  limit = readLimit,
): Promise<Delta<Row>> {
  // One statement, so one snapshot: the version and the rows belong together.
  const found = await db.query<Row & { published: number }>(
    `select named.version as published, newer.*
     from table_versions as named left join lateral (
       select * from ${sources[name]} where version > $2 order by version fetch first $3 rows with ties
     ) as newer on true
     where named.name = $1 order by newer.version`,
    [name, since, limit],
  )
  const published = found[0]?.published
  if (published === undefined) throw new Error(`table_versions has no row for ${name}`)
  const rows = found.filter(({ version }) => version !== null).map(({ published: _, ...row }) => row as unknown as Row)
  const more = rows.length >= limit
  return { version: more ? rows.at(-1)!.version : published, rows, more }
}

/** Tells listeners when this transaction commits. Carries no data: it only saves them waiting for their next look. */
export async function notify(tx: Tx, channel: string = tablesChannel): Promise<void> {
  await tx.query("select pg_notify($1, '')", [channel])
}

/** Channel on which gateways tell that somebody waits for a replica. */
export const demandChannel = 'paddock_demand'

/** The same outside a transaction: for what is not a fact but a hint. */
export async function notifyNow(db: Querier, channel: string): Promise<void> {
  await db.query("select pg_notify($1, '')", [channel])
}
