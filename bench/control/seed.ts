/**
 * Makes one deployment that serves into many: its rows are copied under new ids and names, so that the reconciler finds
 * nothing to do for any of them. Their machines are the caller's to bring.
 */
import { engineKey } from '../../src/deployments/observe.ts'
import type { Route } from '../../src/deployments/routes.ts'
import { newId } from '../../src/runtime/ids.ts'
import type { Seal } from '../../src/runtime/seal.ts'
import type { Database, Tx } from '../../src/store/database.ts'
import { nextVersion, notify } from '../../src/store/tables.ts'

type Row = Record<string, unknown> & { id: string }

export interface Copied {
  deploymentId: string
  orgId: string
  replicaIds: string[]
}

const perTransaction = 500

/** `count` copies, one after the other in each of these organisations. */
export async function copyDeployment(
  db: Database,
  seal: Seal,
  templateId: string,
  { count, orgIds, from = 0 }: { count: number; orgIds: readonly string[]; from?: number },
): Promise<Copied[]> {
  const template = await readTemplate(db, templateId)
  const all: Copied[] = []
  while (all.length < count) {
    const made = Array.from({ length: Math.min(perTransaction, count - all.length) }, (_, index) => {
      const at = from + all.length + index
      return copy(template, { name: `copy-${at}`, orgId: orgIds[at % orgIds.length]! }, seal)
    })
    await db.tx((tx) => insert(tx, made))
    all.push(...made.map(({ copied }) => copied))
  }
  return all
}

interface Template {
  deployment: Row
  revision: Row
  replicas: Row[]
  route: Route
}

async function readTemplate(db: Database, id: string): Promise<Template> {
  const read = async (table: string, where: string) => {
    const rows = await db.query<{ row: Row }>(
      `select to_jsonb(t) as row from ${table} t where ${where} order by t.id`,
      [id],
    )
    return rows.map(({ row }) => row)
  }
  const [deployment] = await read('deployments', 'id = $1')
  const [revision] = await read('revisions', 'deployment_id = $1')
  const replicas = await read('replicas', `deployment_id = $1 and phase = 'ready'`)
  const [route] = await db.query<{ document: Route }>('select document from routes where deployment_id = $1', [id])
  return { deployment: deployment!, revision: revision!, replicas, route: route!.document }
}

function copy(
  { deployment, revision, replicas, route }: Template,
  { name, orgId }: { name: string; orgId: string },
  seal: Seal,
) {
  const id = newId('dep')
  const revisionId = newId('rev')
  const copies: Row[] = replicas.map((row) => {
    return { ...row, id: newId('rep'), deployment_id: id, revision_id: revisionId, org_id: orgId }
  })
  const places = route.replicas.map((replica, at) => {
    return { ...replica, id: copies[at]!.id, key: engineKey(seal, copies[at]!.id) }
  })
  return {
    copied: { deploymentId: id, orgId, replicaIds: copies.map((row) => row.id) },
    deployment: { ...deployment, id, org_id: orgId, name, next_at: null, lease_token: null, lease_until: null },
    revision: { ...revision, id: revisionId, deployment_id: id },
    replicas: copies,
    route: { ...route, deploymentId: id, orgId, name, replicas: places.sort((a, b) => (a.id < b.id ? -1 : 1)) },
  }
}

async function insert(tx: Tx, made: ReturnType<typeof copy>[]): Promise<void> {
  const into = (table: string, rows: object[]) =>
    tx.run(`insert into ${table} select * from jsonb_populate_recordset(null::${table}, $1::jsonb)`, [
      JSON.stringify(rows),
    ])
  await into(
    'deployments',
    made.map((one) => one.deployment),
  )
  await into(
    'revisions',
    made.map((one) => one.revision),
  )
  await into(
    'replicas',
    made.flatMap((one) => one.replicas),
  )
  const version = await nextVersion(tx, 'routes')
  const routes = made.map(({ route }) => {
    return { deployment_id: route.deploymentId, org_id: route.orgId, document: route, version }
  })
  await into('routes', routes)
  await notify(tx)
}
