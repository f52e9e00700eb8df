/** API keys and organisations on the native API. */
import { z } from 'zod'
import { instant, iso, label, orNull } from './fields.ts'
import { changeLimits, type Limits, limits, priority } from './limits.ts'

/** Roles that a key can be given, strongest first. `scoped` has no right but what grants on single deployments give. */
export const keyRoles = ['owner', 'admin', 'developer', 'billing', 'viewer', 'scoped'] as const
export type KeyRole = (typeof keyRoles)[number]

export const createKey = z
  .strictObject({
    name: label(100).meta({ description: 'For you to recognise it.', example: 'production' }),
    role: z.enum(keyRoles).optional().meta({ description: 'Default `developer`.' }),
    expires_at: z.iso.datetime({ offset: true }).optional().meta({ description: 'ISO 8601; default: never.' }),
    limits: changeLimits.optional(),
    priority: priority.optional(),
  })
  .meta({ id: 'CreateApiKey' })
export type CreateKey = z.input<typeof createKey>

export const changeKey = z
  .strictObject({ name: label(100).optional(), limits: changeLimits.optional(), priority: priority.optional() })
  .meta({ id: 'ChangeApiKey', example: { limits: { rpm: 600, tpm: null } } })
export type ChangeKey = z.input<typeof changeKey>

const keyFields = {
  id: z.string().meta({ example: 'key_0mhx3k2v9ab3d5f7h9k1' }),
  org_id: z.string(),
  name: z.string(),
  role: z.enum(keyRoles),
  hint: z.string().meta({ description: 'The last four characters of the secret.' }),
  created_at: instant,
  expires_at: orNull(instant),
  last_used_at: orNull(instant),
  revoked_at: orNull(instant),
  limits,
  priority,
}
export const apiKey = z.object(keyFields).meta({ id: 'ApiKey' })
export type ApiKey = z.output<typeof apiKey>

const propagated = z.boolean().meta({
  description: 'true: every gateway knows already; false: a gateway did not answer in time and learns it soon.',
})
export const createdKey = z
  .object({ ...keyFields, secret: z.string().meta({ description: 'Shown this once.', example: 'sk_…' }), propagated })
  .meta({ id: 'CreatedApiKey' })
export type CreatedKey = z.output<typeof createdKey>

export const changedKey = z.object({ ...keyFields, propagated }).meta({ id: 'ChangedApiKey' })
export type ChangedKey = z.output<typeof changedKey>

export const revokedKey = z
  .object({ id: z.string(), revoked: z.literal(true), propagated })
  .meta({ id: 'RevokedApiKey' })
export type RevokedKey = z.output<typeof revokedKey>

export const createOrg = z.strictObject({ name: label(100).meta({ example: 'Acme' }) }).meta({ id: 'CreateOrg' })
export type CreateOrg = z.input<typeof createOrg>
const quotaFields = {
  gpus: z.int().meta({ description: 'GPUs that its deployments may hold.', example: 8 }),
  gpus_used: z.int().meta({ description: 'GPUs that count now; it may be more than it may hold.' }),
  is_default: z.boolean().meta({ description: 'As the server’s setting says.' }),
}

export const org = z
  .object({
    id: z.string().meta({ example: 'org_0mhx3k2v9ab3d5f7h9k1' }),
    name: z.string(),
    quota: z.object(quotaFields),
    created_at: instant,
  })
  .meta({ id: 'Org' })
export type Org = z.output<typeof org>

const gpusMaximum = 1_000_000
export const changeQuota = z
  .strictObject({
    gpus: z
      .int()
      .min(0)
      .max(gpusMaximum)
      .nullable()
      .meta({ description: 'null: as the server’s setting says.', example: 16 }),
  })
  .meta({ id: 'ChangeQuota' })
export type ChangeQuota = z.input<typeof changeQuota>

export const orgQuota = z
  .object({
    org_id: z.string(),
    ...quotaFields,
    growth_stopped: z.boolean().meta({ description: 'It holds as much as it may, or more: nothing grows.' }),
    message: z.string(),
  })
  .meta({ id: 'OrgQuota' })
export type OrgQuota = z.output<typeof orgQuota>

export interface KeyShape {
  id: string
  orgId: string
  name: string
  role: KeyRole
  hint: string
  createdAt: Date
  expiresAt: Date | null
  lastUsedAt: Date | null
  revokedAt: Date | null
  limits: Limits
  priority: number
}

export function renderKey(key: KeyShape): ApiKey {
  return {
    id: key.id,
    org_id: key.orgId,
    name: key.name,
    role: key.role,
    hint: key.hint,
    created_at: iso(key.createdAt),
    expires_at: iso(key.expiresAt),
    last_used_at: iso(key.lastUsedAt),
    revoked_at: iso(key.revokedAt),
    limits: key.limits,
    priority: key.priority,
  }
}

interface QuotaShape {
  limit: number
  used: number
  isDefault: boolean
}

function renderQuota({ limit, used, isDefault }: QuotaShape): Org['quota'] {
  return { gpus: limit, gpus_used: used, is_default: isDefault }
}

export function renderOrg(view: { id: string; name: string; createdAt: Date }, quota: QuotaShape): Org {
  return { id: view.id, name: view.name, quota: renderQuota(quota), created_at: iso(view.createdAt) }
}

export function renderOrgQuota(orgId: string, quota: QuotaShape): OrgQuota {
  const { limit, used } = quota
  const holds = `It holds ${used} of ${limit} GPUs`
  const message =
    used > limit
      ? `${holds}: nothing is taken away, but nothing starts or grows until it holds less.`
      : used === limit
        ? `${holds}: nothing grows until it holds less.`
        : `${holds}.`
  return { org_id: orgId, ...renderQuota(quota), growth_stopped: used >= limit, message }
}
