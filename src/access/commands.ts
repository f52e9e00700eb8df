/** Use cases of access: who is asking, keys and organisations. */
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import { newId, randomToken } from '../runtime/ids.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Database } from '../store/database.ts'
import { propagated } from './gateways.ts'
import { bearer, defaultOrgId, hashKey, Keyring } from './keyring.ts'
import { allLimits, type Limits, type LimitsChange, noLimits, withLimits } from './limits.ts'
import { type Once, runOnce } from './once.ts'
import { can, mayHandOut, type Principal, type Right, type Role } from './permissions.ts'
import * as store from './store.ts'

export interface KeyView {
  id: string
  orgId: string
  name: string
  role: Role
  /** Last four characters of the secret. */
  hint: string
  createdAt: Date
  expiresAt: Date | null
  lastUsedAt: Date | null
  revokedAt: Date | null
  limits: Limits
  /** The highest that its requests may have. */
  priority: number
}

export interface KeyWish {
  name: string
  role?: Role
  expiresAt?: Date
  limits?: LimitsChange
  priority?: number
}
/** Absent = as before. */
export type KeyChange = Partial<Pick<KeyWish, 'name' | 'limits' | 'priority'>>

export interface OrgView {
  id: string
  name: string
  createdAt: Date
}

export interface Page {
  cursor?: string
  limit: number
}

const operatorKeyId = 'key_operator'
const usedEveryMs = 60_000

export class Access {
  readonly #db: Database
  readonly #seal: Seal
  readonly #clock: Clock
  constructor(db: Database, seal: Seal, clock: Clock) {
    this.#db = db
    this.#seal = seal
    this.#clock = clock
  }

  /** Makes the default org and the operator's key exist; a changed operator secret replaces the old one everywhere. */
  async ensureOperator(secret: string): Promise<void> {
    const now = new Date(this.#clock.now())
    await this.#db.tx(async (tx) => {
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7))', ['operator'])
      await store.insertOrg(tx, { id: defaultOrgId, name: 'default', created_at: now })
      const rows = await tx.query<{ hash: string }>('select hash from api_keys where id = $1', [operatorKeyId])
      if (rows[0]?.hash === hashKey(secret)) return
      await tx.query('delete from api_keys where id = $1', [operatorKeyId])
      await store.insertKey(tx, {
        ...newKeyRow(secret, now),
        id: operatorKeyId,
        org_id: defaultOrgId,
        name: 'operator',
        role: 'owner',
        operator: true,
      })
    })
  }

  /** The principal behind a request, straight from the database. Throws `missing_key`, `invalid_key` (401), `not_found`. */
  async authenticate(authorization: string | undefined, actAs: string | undefined): Promise<Principal> {
    const secret = bearer(authorization)
    const row = await store.keyByHash(this.#db, hashKey(secret))
    const keyring = new Keyring()
    if (row) keyring.apply([store.toEntry(row)])
    const principal = keyring.authenticate(authorization, this.#clock.now(), actAs)
    if (principal.operator && actAs !== undefined && !(await store.orgById(this.#db, actAs)))
      throw new Fault('not_found', `There is no organisation "${actAs}".`)
    await this.#noteUse(row!)
    return principal
  }

  /** Within a minute is good enough for "last used", and spares a write per request. */
  async #noteUse(row: store.KeyRow): Promise<void> {
    const now = this.#clock.now()
    if (row.last_used_at !== null && now - row.last_used_at.getTime() < usedEveryMs) return
    await store.markUsed(this.#db, new Map([[row.id, now]]))
  }

  /** The secret is in the answer and nowhere else: only its hash is stored. */
  async createKey(
    principal: Principal,
    wish: KeyWish,
    once: Once | null,
  ): Promise<{ key: KeyView; secret: string; propagated: boolean }> {
    need(principal, 'key:write')
    const at = new Date(this.#clock.now())
    const role = wish.role ?? 'developer'
    if (!mayHandOut(principal, role))
      throw new Fault('forbidden', `This API key may not create a key with the role ${role}.`)
    if (wish.expiresAt && wish.expiresAt <= at) throw new Fault('invalid_request', 'expires_at lies in the past.')
    const { result } = await runOnce(this.#db, this.#seal, this.#clock, principal.orgId, once, async (tx) => {
      const secret = `sk_${randomToken(32)}`
      const row = {
        ...newKeyRow(secret, at),
        id: newId('key', this.#clock),
        org_id: principal.orgId,
        name: wish.name,
        role,
        expires_at: wish.expiresAt ?? null,
        limits: withLimits(noLimits, wish.limits ?? {}).limits,
        priority: wish.priority ?? 0,
      }
      const version = await store.insertKey(tx, row)
      const data = { key_id: row.id, name: row.name, by: principal.keyId }
      await record(tx, { orgId: principal.orgId, deploymentId: null, type: 'key.created', data, at })
      return {
        row: { ...row, created_at: at.toISOString(), expires_at: row.expires_at?.toISOString() ?? null },
        secret,
        version,
      }
    })
    const { row } = result
    const key = toView({
      ...row,
      created_at: new Date(row.created_at),
      expires_at: row.expires_at === null ? null : new Date(row.expires_at),
      revoked_at: null,
      last_used_at: null,
      version: result.version,
    })
    return {
      key,
      secret: result.secret,
      propagated: await propagated(this.#db, this.#clock, 'keyring', result.version),
    }
  }

  /** Revoked ones too. */
  async getKey(principal: Principal, keyId: string): Promise<KeyView> {
    need(principal, 'key:read')
    const row = await store.keyOf(this.#db, principal.orgId, keyId)
    if (row === null) throw noKey(keyId)
    return toView(row)
  }

  /** Answers when every live gateway knows (`propagated`), or after a second. */
  async changeKey(
    principal: Principal,
    keyId: string,
    change: KeyChange,
    once: Once | null = null,
  ): Promise<{ key: KeyView; propagated: boolean }> {
    need(principal, 'key:write')
    const at = new Date(this.#clock.now())
    const { result } = await runOnce(this.#db, this.#seal, this.#clock, principal.orgId, once, async (tx) => {
      const row = await store.lockKey(tx, principal.orgId, keyId)
      if (row === null) throw noKey(keyId)
      const { limits, changed } = withLimits(allLimits(row.limits), change.limits ?? {})
      const { name = row.name, priority = row.priority } = change
      const others = [...(name === row.name ? [] : ['name']), ...(priority === row.priority ? [] : ['priority'])]
      if (changed.length + others.length === 0) return { version: Number(row.version) }
      const version = await store.saveKey(tx, { id: row.id, name, limits, priority })
      const data = { key_id: row.id, by: principal.keyId, changed: [...others, ...changed] }
      await record(tx, { orgId: principal.orgId, deploymentId: null, type: 'key.changed', data, at })
      return { version }
    })
    const known = await propagated(this.#db, this.#clock, 'keyring', result.version)
    return { key: await this.getKey(principal, keyId), propagated: known }
  }

  async listKeys(principal: Principal, page: Page): Promise<{ items: KeyView[]; nextCursor: string | null }> {
    need(principal, 'key:read')
    const rows = await store.keysOf(this.#db, principal.orgId, page.cursor ?? null, page.limit + 1)
    const items = rows.slice(0, page.limit).map(toView)
    return { items, nextCursor: rows.length > page.limit ? items.at(-1)!.id : null }
  }

  /** Answers when every live gateway refuses the key (`propagated`), or after a second. */
  async revokeKey(principal: Principal, keyId: string): Promise<{ propagated: boolean }> {
    need(principal, 'key:write')
    const at = new Date(this.#clock.now())
    const version = await this.#db.tx(async (tx) => {
      const revoked = await store.revokeKey(tx, principal.orgId, keyId, at)
      if (revoked !== null)
        await record(tx, {
          orgId: principal.orgId,
          deploymentId: null,
          type: 'key.revoked',
          data: { key_id: keyId, by: principal.keyId },
          at,
        })
      return revoked
    })
    if (version === null) throw noKey(keyId)
    return { propagated: await propagated(this.#db, this.#clock, 'keyring', version) }
  }

  async createOrg(principal: Principal, wish: { name: string }, once: Once | null): Promise<OrgView> {
    if (!principal.operator) throw new Fault('forbidden', 'Only the operator may create organisations.')
    const at = new Date(this.#clock.now())
    const { result } = await runOnce(this.#db, this.#seal, this.#clock, principal.orgId, once, async (tx) => {
      const row = { id: newId('org', this.#clock), name: wish.name, created_at: at }
      if (!(await store.insertOrg(tx, row)))
        throw new Fault('name_taken', `There is an organisation "${wish.name}" already.`)
      await record(tx, { orgId: row.id, deploymentId: null, type: 'org.created', data: { name: row.name }, at })
      return { ...row, created_at: at.toISOString() }
    })
    return { id: result.id, name: result.name, createdAt: new Date(result.created_at) }
  }

  async listOrgs(principal: Principal): Promise<OrgView[]> {
    if (!principal.operator) need(principal, 'org:read')
    const rows = await store.orgs(this.#db, principal.operator ? null : principal.orgId)
    return rows.map((row) => ({ id: row.id, name: row.name, createdAt: row.created_at }))
  }
}

function need(principal: Principal, right: Right): void {
  if (!can(principal, right)) throw new Fault('forbidden', `This API key does not have the right ${right}.`)
}

function noKey(keyId: string): Fault {
  return new Fault('not_found', `There is no API key "${keyId}" in this organisation.`)
}

function newKeyRow(secret: string, at: Date) {
  return {
    operator: false,
    grants: {},
    hash: hashKey(secret),
    hint: secret.slice(-4),
    created_at: at,
    expires_at: null as Date | null,
    limits: {},
    priority: 0,
  }
}

function toView(row: store.KeyRow): KeyView {
  return {
    id: row.id,
    orgId: row.org_id,
    name: row.name,
    role: row.role,
    hint: row.hint,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    revokedAt: row.revoked_at,
    limits: allLimits(row.limits),
    priority: row.priority,
  }
}
