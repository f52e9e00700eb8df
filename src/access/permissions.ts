/** Who may do what. The one list of rights, roles and what each role holds; the gateway and the API read it alike. */
import type { Limits } from './limits.ts'

export const rights = [
  'deployment:read',
  'deployment:write',
  'deployment:invoke',
  'deployment:logs',
  'key:read',
  'key:write',
  'org:read',
  'org:write',
  'billing:read',
] as const
export type Right = (typeof rights)[number]

export const roles = ['owner', 'admin', 'developer', 'billing', 'viewer', 'scoped'] as const
/** `scoped`: no right in the org; only what grants on single deployments give. */
export type Role = (typeof roles)[number]

export const grantRoles = ['inference', 'viewer', 'admin'] as const
export type GrantRole = (typeof grantRoles)[number]

const all = new Set<Right>(rights)
const developer = new Set<Right>([
  'deployment:read',
  'deployment:write',
  'deployment:invoke',
  'deployment:logs',
  'key:read',
  'org:read',
  'billing:read',
])
const rightsOfRole: Record<Role, ReadonlySet<Right>> = {
  owner: all,
  admin: all,
  developer,
  billing: new Set<Right>(['billing:read', 'deployment:read', 'org:read']),
  viewer: new Set<Right>(['deployment:read', 'org:read']),
  scoped: new Set<Right>(),
}
const rightsOfGrant: Record<GrantRole, ReadonlySet<Right>> = {
  inference: new Set<Right>(['deployment:invoke', 'deployment:read']),
  viewer: new Set<Right>(['deployment:read']),
  admin: new Set<Right>(['deployment:invoke', 'deployment:read', 'deployment:write', 'deployment:logs']),
}

/** Who is asking, as the keyring knows it. */
export interface Principal {
  keyId: string
  orgId: string
  role: Role
  /** deployment id → role; grants add to the role, they never take away. */
  grants: Readonly<Record<string, GrantRole>>
  /** The operator's key: may act in any org. */
  operator: boolean
  /** null, absent = none is set. */
  limits?: Limits | null
  /** The highest that its requests may have; absent = 0. */
  priority?: number
}

export function can(principal: Principal, right: Right, deploymentId?: string): boolean {
  if (principal.operator || rightsOfRole[principal.role].has(right)) return true
  const grant = deploymentId === undefined ? undefined : principal.grants[deploymentId]
  return grant !== undefined && rightsOfGrant[grant].has(right)
}

/** Nobody hands out more than they hold. */
export function mayHandOut(principal: Principal, role: Role): boolean {
  return principal.operator || [...rightsOfRole[role]].every((right) => rightsOfRole[principal.role].has(right))
}
