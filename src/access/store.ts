import type { Database, Tx } from '../store/database.ts'
import { nextVersion, notify } from '../store/tables.ts'
import type { KeyringEntry } from './keyring.ts'
import { type LimitsChange, setLimits } from './limits.ts'
import type { GrantRole, Role } from './permissions.ts'

export interface KeyRow {
  id: string
  org_id: string
  name: string
  role: Role
  operator: boolean
  grants: Record<string, GrantRole>
  hash: string
  hint: string
  created_at: Date
  expires_at: Date | null
  revoked_at: Date | null
  last_used_at: Date | null
  limits: LimitsChange
  priority: number
  version: string | number
}

export interface OrgRow {
  id: string
  name: string
  created_at: Date
}

const keyColumns =
  'id, org_id, name, role, operator, grants, hash, hint, created_at, expires_at, revoked_at, last_used_at, limits, priority, version'

export function toEntry(row: KeyRow): KeyringEntry {
  return {
    keyId: row.id,
    hash: row.hash,
    orgId: row.org_id,
    role: row.role,
    grants: row.grants,
    operator: row.operator,
    expiresAt: row.expires_at?.getTime() ?? null,
    limits: setLimits(row.limits),
    priority: row.priority,
    removed: row.revoked_at !== null,
    version: Number(row.version),
  }
}

/** Inserts a key and publishes it; returns the keyring version that carries it. */
export async function insertKey(tx: Tx, row: Omit<KeyRow, 'version' | 'last_used_at' | 'revoked_at'>): Promise<number> {
  const version = await nextVersion(tx, 'keyring')
  await tx.query(
    `insert into api_keys (id, org_id, name, role, operator, grants, hash, hint, created_at, expires_at, limits, priority, version)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
    [
      row.id,
      row.org_id,
      row.name,
      row.role,
      row.operator,
      JSON.stringify(row.grants),
      row.hash,
      row.hint,
      row.created_at,
      row.expires_at,
      JSON.stringify(row.limits),
      row.priority,
      version,
    ],
  )
  await notify(tx)
  return version
}

/** Revokes a live key of an org and publishes it; null when there is none. Revoking twice changes nothing. */
export async function revokeKey(tx: Tx, orgId: string, id: string, at: Date): Promise<number | null> {
  const rows = await tx.query<{ revoked_at: Date | null; version: string }>(
    'select revoked_at, version from api_keys where org_id = $1 and id = $2 and not operator for update',
    [orgId, id],
  )
  const row = rows[0]
  if (!row) return null
  if (row.revoked_at !== null) return Number(row.version)
  const version = await nextVersion(tx, 'keyring')
  await tx.query('update api_keys set revoked_at = $2, version = $3 where id = $1', [id, at, version])
  await notify(tx)
  return version
}

/** A live key of an org, locked; null when there is none. The operator's is not there. */
export async function lockKey(tx: Tx, orgId: string, id: string): Promise<KeyRow | null> {
  const rows = await tx.query<KeyRow>(
    `select ${keyColumns} from api_keys
     where org_id = $1 and id = $2 and revoked_at is null and not operator for update`,
    [orgId, id],
  )
  return rows[0] ?? null
}

/** Name, limits and priority, published; returns the keyring version that carries them. */
export async function saveKey(tx: Tx, row: Pick<KeyRow, 'id' | 'name' | 'limits' | 'priority'>): Promise<number> {
  const version = await nextVersion(tx, 'keyring')
  await tx.query('update api_keys set name = $2, limits = $3, priority = $4, version = $5 where id = $1', [
    row.id,
    row.name,
    JSON.stringify(row.limits),
    row.priority,
    version,
  ])
  await notify(tx)
  return version
}

/** A key of an org, revoked ones too. */
export async function keyOf(db: Database, orgId: string, id: string): Promise<KeyRow | null> {
  const rows = await db.query<KeyRow>(
    `select ${keyColumns} from api_keys where org_id = $1 and id = $2 and not operator`,
    [orgId, id],
  )
  return rows[0] ?? null
}

export async function keyByHash(db: Database, hash: string): Promise<KeyRow | null> {
  const rows = await db.query<KeyRow>(`select ${keyColumns} from api_keys where hash = $1`, [hash])
  return rows[0] ?? null
}

/** Keys of an org, newest first, revoked ones left out. */
export async function keysOf(db: Database, orgId: string, afterId: string | null, limit: number): Promise<KeyRow[]> {
  const rows = await db.query<KeyRow>(
    `select ${keyColumns} from api_keys
     where org_id = $1 and revoked_at is null and not operator and ($2::text is null or id < $2) order by id desc limit $3`,
    [orgId, afterId, limit],
  )
  return rows
}

/** What a keyring must learn after `version`, oldest first. */
export async function keyringSince(db: Database, version: number, limit = 5_000): Promise<KeyringEntry[]> {
  const rows = await db.query<KeyRow>(
    `select ${keyColumns} from api_keys where version > $1 order by version limit $2`,
    [version, limit],
  )
  return rows.map(toEntry)
}

export async function markUsed(db: Database, used: ReadonlyMap<string, number>): Promise<void> {
  if (used.size === 0) return
  await db.query(
    `update api_keys set last_used_at = greatest(last_used_at, u.at) from unnest($1::text[], $2::timestamptz[]) as u(id, at) where api_keys.id = u.id`,
    [[...used.keys()], [...used.values()].map((ms) => new Date(ms))],
  )
}

export async function orgById(db: Database, id: string): Promise<OrgRow | null> {
  const rows = await db.query<OrgRow>('select id, name, created_at from orgs where id = $1', [id])
  return rows[0] ?? null
}

export async function orgs(db: Database, onlyId: string | null): Promise<OrgRow[]> {
  const rows = await db.query<OrgRow>(
    'select id, name, created_at from orgs where $1::text is null or id = $1 order by created_at, id limit 1000',
    [onlyId],
  )
  return rows
}

/** False when the name is taken. */
export async function insertOrg(tx: Tx, row: OrgRow): Promise<boolean> {
  const rows = await tx.query(
    'insert into orgs (id, name, created_at) values ($1, $2, $3) on conflict do nothing returning id',
    [row.id, row.name, row.created_at],
  )
  return rows.length > 0
}
