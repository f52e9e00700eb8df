/** The SQL of uploads: one function per statement. */

import { json, type Querier, type Tx, violates } from '../../store/database.ts'
import type { ModelShape } from '../fit/shape.ts'

export const uploadStatuses = ['uploading', 'validating', 'ready', 'failed', 'deleting'] as const
export type UploadStatus = (typeof uploadStatuses)[number]

/** What the file's header says. */
export interface UploadFacts {
  /** `adapter`: a LoRA, which is put beside a model. */
  kind: 'model' | 'adapter'
  architecture: string
  /** Tokens; 0 for adapters. */
  contextSize: number
  quantization: string
  /** What the fit check needs; null = its header does not say enough. */
  shape: ModelShape | null
}

export interface UploadRow {
  id: string
  org_id: string
  name: string | null
  status: UploadStatus
  reason: { code: string; message: string } | null
  resumable: boolean
  size_bytes: number
  received_bytes: number
  sha256: string | null
  facts: UploadFacts | null
  deployment_id: string | null
  roll: { state: 'waiting' | 'done' | 'refused'; why: string | null } | null
  by_key: string
  holder: string
  created_at: Date
  touched_at: Date
}

type Db = Querier

export async function lockUploads(tx: Tx, orgId: string): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 12))', [orgId])
}

/** Bytes that count against the organisation's quota. */
export async function bytesOf(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx.query<{ bytes: string }>(
    `select coalesce(sum(size_bytes), 0)::text as bytes from uploads
     where org_id = $1 and status in ('uploading', 'validating', 'ready', 'deleting')`,
    [orgId],
  )
  return Number(row!.bytes)
}

/** How many are coming now. */
export async function countComing(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx.query<{ count: number }>(
    `select count(*)::integer as count from uploads where org_id = $1 and status = 'uploading'`,
    [orgId],
  )
  return row!.count
}

export type NewUpload = Pick<
  UploadRow,
  'id' | 'org_id' | 'name' | 'resumable' | 'size_bytes' | 'deployment_id' | 'by_key' | 'holder'
>

/** False when the name is taken. */
export async function insertUpload(tx: Tx, row: NewUpload, at: Date): Promise<boolean> {
  const { id, org_id, name, resumable, size_bytes, deployment_id, by_key, holder } = row
  const added = await tx.run(
    `insert into uploads (id, org_id, name, status, resumable, size_bytes, deployment_id, by_key, holder, created_at, touched_at)
     values ($1, $2, $3, 'uploading', $4, $5, $6, $7, $8, $9, $9)
     on conflict (org_id, name) where status in ('uploading', 'validating', 'ready') do nothing`,
    [id, org_id, name, resumable, size_bytes, deployment_id, by_key, holder, at],
  )
  return added > 0
}

/** False when the name is taken. */
export async function nameUpload(db: Db, id: string, name: string): Promise<boolean> {
  try {
    return (await db.run(`update uploads set name = $2 where id = $1 and status = 'uploading'`, [id, name])) > 0
  } catch (error) {
    if (violates(error, 'uploads_name')) return false
    throw error
  }
}

export async function setDeployment(db: Db, id: string, deploymentId: string): Promise<void> {
  await db.run('update uploads set deployment_id = $2 where id = $1', [id, deploymentId])
}

export async function uploadById(db: Db, id: string): Promise<UploadRow | null> {
  return (await db.query<UploadRow>('select * from uploads where id = $1', [id]))[0] ?? null
}

export async function lockUpload(tx: Tx, id: string): Promise<UploadRow | null> {
  return (await tx.query<UploadRow>('select * from uploads where id = $1 for update', [id]))[0] ?? null
}

/** The one that has the name now, whatever its state. */
export async function uploadNamed(db: Db, orgId: string, name: string): Promise<UploadRow | null> {
  const rows = await db.query<UploadRow>(
    `select * from uploads where org_id = $1 and name = $2 and status in ('uploading', 'validating', 'ready')`,
    [orgId, name],
  )
  return rows[0] ?? null
}

/** Newest first; those that are being deleted are gone for everybody. */
export async function uploadsOf(db: Db, orgId: string, limit: number): Promise<UploadRow[]> {
  return db.query<UploadRow>(
    `select * from uploads where org_id = $1 and status <> 'deleting' and name is not null
     order by created_at desc, id desc limit $2`,
    [orgId, limit],
  )
}

/** Bytes have come. False when nobody wants them any more. */
export async function touchUpload(db: Db, id: string, receivedBytes: number, at: Date): Promise<boolean> {
  const sql = `update uploads set received_bytes = $2, touched_at = $3 where id = $1 and status = 'uploading'`
  return (await db.run(sql, [id, receivedBytes, at])) > 0
}

/**
 * All of it is there; hash and facts are null when it has to be read once more. False when it was given up meanwhile.
 */
export async function markReceived(
  db: Db,
  id: string,
  { bytes, sha256, facts }: { bytes: number; sha256: string | null; facts: UploadFacts | null },
  at: Date,
): Promise<boolean> {
  const changed = await db.run(
    `update uploads set status = 'validating', size_bytes = $2, received_bytes = $2, sha256 = $3, facts = $4,
       touched_at = $5 where id = $1 and status = 'uploading'`,
    [id, bytes, sha256, facts === null ? null : json(facts), at],
  )
  return changed > 0
}

/** Only one of several that validate it at once gets true. */
export async function markReady(tx: Tx, id: string, found: Pick<UploadRow, 'sha256' | 'facts' | 'roll'>, at: Date) {
  const { sha256, facts, roll } = found
  const changed = await tx.run(
    `update uploads set status = 'ready', sha256 = $2, facts = $3, roll = $4, touched_at = $5
     where id = $1 and status = 'validating'`,
    [id, sha256, json(facts), roll === null ? null : json(roll), at],
  )
  return changed > 0
}

export async function markFailed(tx: Tx, id: string, reason: { code: string; message: string }, at: Date) {
  const changed = await tx.run(
    `update uploads set status = 'failed', reason = $2, touched_at = $3
     where id = $1 and status in ('uploading', 'validating')`,
    [id, json(reason), at],
  )
  return changed > 0
}

export async function markDeleting(db: Db, id: string, at: Date): Promise<boolean> {
  const sql = `update uploads set status = 'deleting', touched_at = $2 where id = $1 and status <> 'deleting'`
  return (await db.run(sql, [id, at])) > 0
}

export async function setRoll(db: Db, id: string, roll: UploadRow['roll']): Promise<void> {
  await db.run('update uploads set roll = $2 where id = $1', [id, json(roll)])
}

/** Its bytes are gone. */
export async function dropUpload(db: Db, id: string): Promise<void> {
  await db.run(`delete from uploads where id = $1 and status = 'deleting'`, [id])
}

/** What this control, or one that is silent since `silentBefore`, was receiving in one piece and never will. */
export async function abandonedUploads(db: Db, holder: string, startedAt: Date, silentBefore: Date): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select id from uploads where status = 'uploading' and not resumable
       and ((holder = $1 and created_at < $2) or touched_at < $3)`,
    [holder, startedAt, silentBefore],
  )
  return rows.map(({ id }) => id)
}

/** Those that nobody went on with, and failures that everybody had time to read of. */
export async function expiredUploads(db: Db, before: Date): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select id from uploads where touched_at < $1 and (status = 'failed' or (status = 'uploading' and resumable))`,
    [before],
  )
  return rows.map(({ id }) => id)
}

export async function uploadsToAdvance(db: Db): Promise<UploadRow[]> {
  return db.query<UploadRow>(
    `select * from uploads where status in ('validating', 'deleting') or roll ->> 'state' = 'waiting' order by created_at`,
  )
}

/** Of these, the ones that have no row, or whose bytes nobody wants any more. */
export async function withoutOwner(db: Db, ids: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select id from unnest($1::text[]) as stored (id)
     where not exists (select from uploads where uploads.id = stored.id and status <> 'failed')`,
    [ids],
  )
  return rows.map(({ id }) => id)
}
