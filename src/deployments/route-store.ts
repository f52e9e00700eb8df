/** The SQL of routes: one function per statement. */
import type { Database, Tx } from '../store/database.ts'
import { nextVersion, tablesChannel } from '../store/tables.ts'
import { json } from './replica-store.ts'
import type { Route } from './routes.ts'

type Db = Database | Tx

export async function routeOf(db: Db, deploymentId: string): Promise<Route | null> {
  const rows = await db.query<{ document: Route; version: string }>(
    'select document, version from routes where deployment_id = $1',
    [deploymentId],
  )
  const row = rows[0]
  return row ? { ...row.document, version: Number(row.version) } : null
}

export async function routesOf(db: Db, deploymentIds: readonly string[]): Promise<Map<string, Route>> {
  const rows = await db.query<{ document: Route; version: string }>(
    'select document, version from routes where deployment_id = any($1)',
    [deploymentIds],
  )
  return new Map(rows.map((row) => [row.document.deploymentId, { ...row.document, version: Number(row.version) }]))
}

/** Publishes a changed route; returns the version that carries it. Gateways are told when the transaction commits. */
export async function publishRoute(tx: Tx, route: Route): Promise<number> {
  const version = await nextVersion(tx, 'routes')
  await tx.query(
    `insert into routes (deployment_id, org_id, document, version) values ($1, $2, $3, $4)
     on conflict (deployment_id) do update set document = $3, version = $4 returning pg_notify($5, '')`,
    [route.deploymentId, route.orgId, json(route), version, tablesChannel],
  )
  return version
}

/** What a route table must learn after `version`, oldest first. */
export async function routesSince(db: Db, version: number, limit = 5_000): Promise<Route[]> {
  const rows = await db.query<{ document: Route; version: string }>(
    'select document, version from routes where version > $1 order by version limit $2',
    [version, limit],
  )
  return rows.map((row) => ({ ...row.document, version: Number(row.version) }))
}
