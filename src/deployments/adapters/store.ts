/** The SQL of adapters: one function per statement. */
import type { Limits } from '../../access/limits.ts'
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import type { AdapterFile } from '../../models/adapters/file.ts'
import type { AdapterOrigin } from '../../models/adapters/sources.ts'
import { type Database, json, type Tx } from '../../store/database.ts'
import type { AdapterState } from './plan.ts'
import type { AdapterSummary } from './summary.ts'

export interface AdapterRow {
  id: string
  org_id: string
  deployment_id: string
  name: string
  source: string
  format: AdapterFormat
  path: string
  rank: number
  size_bytes: string
  base: string | null
  /** null = a path on this disk. */
  origin: AdapterOrigin | null
  /** null = its file says. */
  facts: AdapterFacts | null
  /** Whatever it says that it was trained on. */
  forced: boolean
  limits: Limits
  created_at: Date
  removed_at: Date | null
}

/** What it must fit by. */
export type AdapterFacts = Pick<AdapterFile, 'bases' | 'architecture' | 'changes'>

export interface AdapterStateRow {
  adapter_id: string
  replica_id: string
  state: AdapterState
  detail: string | null
  handle: string | null
  tries: number
  next_at: Date
  changed_at: Date
}

type Db = Database | Tx

const columns = `id, org_id, deployment_id, name, source, format, path, rank, size_bytes, base, origin, facts, forced,
  limits, created_at, removed_at`

/** False: there is one of that name. */
export async function insertAdapter(
  tx: Tx,
  row: Omit<AdapterRow, 'created_at' | 'removed_at' | 'size_bytes'> & { size_bytes: number },
  at: Date,
): Promise<boolean> {
  const rows = await tx.query(
    `insert into adapters (id, org_id, deployment_id, name, source, format, path, rank, size_bytes, base, created_at,
       origin, facts, forced, limits)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
     on conflict (deployment_id, name) where removed_at is null do nothing returning id`,
    [
      row.id,
      row.org_id,
      row.deployment_id,
      row.name,
      row.source,
      row.format,
      row.path,
      row.rank,
      row.size_bytes,
      row.base,
      at,
      row.origin === null ? null : json(row.origin),
      row.facts === null ? null : json(row.facts),
      row.forced,
      json(row.limits),
    ],
  )
  return rows.length > 0
}

/** Removed ones too, as long as a replica has not let go of them. Oldest first. */
export async function adaptersOf(db: Db, deploymentId: string): Promise<AdapterRow[]> {
  return db.query<AdapterRow>(
    `select ${columns} from adapters where deployment_id = $1 and (removed_at is null or exists
       (select 1 from adapter_replicas where adapter_id = adapters.id)) order by created_at, id`,
    [deploymentId],
  )
}

/** By id, whether they are still called or not. */
export async function adaptersById(db: Db, ids: readonly string[]): Promise<AdapterRow[]> {
  return db.query<AdapterRow>(`select ${columns} from adapters where id = any($1) order by created_at, id`, [ids])
}

export async function saveAdapterLimits(tx: Tx, id: string, limits: Limits): Promise<void> {
  await tx.query('update adapters set limits = $2 where id = $1', [id, json(limits)])
}

export async function removeAdapter(tx: Tx, id: string, at: Date): Promise<void> {
  await tx.query('update adapters set removed_at = $2 where id = $1', [id, at])
  await tx.query('update adapter_replicas set next_at = $2, tries = 0 where adapter_id = $1', [id, at])
}

export async function statesOf(db: Db, deploymentId: string): Promise<AdapterStateRow[]> {
  return db.query<AdapterStateRow>(
    `select s.adapter_id, s.replica_id, s.state, s.detail, s.handle, s.tries, s.next_at, s.changed_at
     from adapter_replicas s join adapters a on a.id = s.adapter_id where a.deployment_id = $1
     order by s.replica_id`,
    [deploymentId],
  )
}

export async function saveAdapterState(tx: Tx, row: Omit<AdapterStateRow, 'changed_at'>, at: Date): Promise<void> {
  await tx.query(
    `insert into adapter_replicas (adapter_id, replica_id, state, detail, handle, tries, next_at, changed_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (adapter_id, replica_id) do update
       set state = $3, detail = $4, handle = $5, tries = $6, next_at = $7, changed_at = $8`,
    [row.adapter_id, row.replica_id, row.state, row.detail, row.handle, row.tries, row.next_at, at],
  )
}

export async function dropState(tx: Tx, adapterId: string, replicaId: string): Promise<void> {
  await tx.query('delete from adapter_replicas where adapter_id = $1 and replica_id = $2', [adapterId, replicaId])
}

export async function saveSummary(tx: Tx, deploymentId: string, summary: AdapterSummary | null): Promise<void> {
  await tx.query('update deployments set adapters = $2 where id = $1', [
    deploymentId,
    summary === null ? null : JSON.stringify(summary),
  ])
}

/** Deployments whose adapters may need something. */
export async function withAdapters(db: Db): Promise<string[]> {
  const rows = await db.query<{ id: string }>('select id from deployments where adapters is not null order by id')
  return rows.map(({ id }) => id)
}
