/**
 * All live API keys in memory, by hash: what lets a request be authenticated without a database. Filled by the loop
 * from versioned deltas and from the snapshot on disk; holds hashes only.
 */
import { hash } from 'node:crypto'
import { Fault } from '../kernel/fault.ts'
import type { Limits } from './limits.ts'
import type { GrantRole, Principal, Role } from './permissions.ts'

/** One row of the delta. `removed` is a tombstone. */
export interface KeyringEntry {
  keyId: string
  /** SHA-256 of the secret, hex. */
  hash: string
  orgId: string
  role: Role
  grants: Record<string, GrantRole>
  operator: boolean
  /** ms since epoch; null = never. */
  expiresAt: number | null
  /** null, absent = none is set. */
  limits?: Limits | null
  /** The highest that its requests may have; absent = 0. */
  priority?: number
  removed: boolean
  version: number
}

export const defaultOrgId = 'org_default'

/** SHA-256 of a key's secret, hex: what is stored and compared. The secrets have 256 random bits, so no salt is needed. */
export function hashKey(secret: string): string {
  return hash('sha256', secret, 'hex')
}

export class Keyring {
  readonly #byHash = new Map<string, KeyringEntry>()
  readonly #hashById = new Map<string, string>()
  version = 0

  /** Applies a delta in any order, repeatedly if need be: an older version of an entry never replaces a newer one. */
  apply(entries: readonly KeyringEntry[]): void {
    for (const entry of entries) {
      const oldHash = this.#hashById.get(entry.keyId)
      const old = oldHash === undefined ? undefined : this.#byHash.get(oldHash)
      if (old && old.version > entry.version) continue
      if (oldHash !== undefined && oldHash !== entry.hash) this.#byHash.delete(oldHash)
      this.#byHash.set(entry.hash, entry)
      this.#hashById.set(entry.keyId, entry.hash)
      this.version = Math.max(this.version, entry.version)
    }
  }

  /** null: it has none, or is not known. */
  limitsOf(keyId: string): Limits | null {
    const hash = this.#hashById.get(keyId)
    return (hash === undefined ? undefined : this.#byHash.get(hash)?.limits) ?? null
  }

  entries(): KeyringEntry[] {
    return [...this.#byHash.values()]
  }

  /**
   * The principal behind an `Authorization` header. Throws Fault `missing_key` or `invalid_key` (401): missing,
   * malformed, unknown, revoked and expired keys. `actAs` is the value of X-Paddock-Org; only the operator may use it.
   */
  authenticate(authorization: string | undefined, now: number, actAs?: string): Principal {
    return this.principalOf(hashKey(bearer(authorization)), now, actAs)
  }

  /** The same for whoever has hashed the secret already. */
  principalOf(hash: string, now: number, actAs?: string): Principal {
    const entry = this.#byHash.get(hash)
    if (!entry) throw new Fault('invalid_key', 'This API key is not known here.')
    if (entry.removed) throw new Fault('invalid_key', 'This API key was revoked.')
    if (entry.expiresAt !== null && entry.expiresAt <= now) throw new Fault('invalid_key', 'This API key has expired.')
    const orgId = entry.operator ? (actAs ?? defaultOrgId) : entry.orgId
    const { keyId, role, grants, operator, limits = null, priority = 0 } = entry
    return { keyId, orgId, role, grants, operator, limits, priority }
  }
}

/** The secret of a Bearer header. Throws Fault `missing_key`. */
export function bearer(authorization: string | undefined): string {
  if (authorization === undefined || authorization.trim() === '')
    throw new Fault('missing_key', 'The Authorization header is missing.')
  const match = /^bearer +(\S{1,512})$/i.exec(authorization.trim())
  if (!match) throw new Fault('missing_key', 'The Authorization header is not of the form "Bearer <key>".')
  return match[1]!
}
