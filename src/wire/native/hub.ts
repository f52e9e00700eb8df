/** An organisation's token for the Hub on the native API. The token goes in and never comes out. */
import { z } from 'zod'
import { instant, iso, orNull } from './fields.ts'

export const putHubToken = z
  .strictObject({
    token: z
      .string()
      .regex(/^[\x21-\x7e]{8,500}$/, 'must be 8 to 500 visible characters without spaces')
      .meta({ description: 'As the Hub shows it once; reading is enough.', example: 'hf_…' }),
  })
  .meta({ id: 'PutHubToken' })
export type PutHubToken = z.input<typeof putHubToken>

export const hubToken = z
  .object({
    org_id: z.string(),
    set: z.boolean().meta({ description: 'There is one.' }),
    hint: orNull(z.string()).meta({ description: 'Its last four characters.' }),
    account: orNull(z.string()).meta({ description: 'Whose it is; null when the Hub could not be asked.' }),
    changed_at: orNull(instant),
  })
  .meta({ id: 'HubToken', description: 'What is told of the token for the Hub.' })
export type HubToken = z.output<typeof hubToken>

export function renderHubToken(view: {
  orgId: string
  set: boolean
  hint: string | null
  account: string | null
  changedAt: Date | null
}): HubToken {
  const { orgId, set, hint, account, changedAt } = view
  return { org_id: orgId, set, hint, account, changed_at: iso(changedAt) }
}

/** Where the weights of a deployment come from; null: not from the Hub. */
export const modelSource = z
  .object({
    repo: z.string().meta({ example: 'Qwen/Qwen2.5-0.5B-Instruct-GGUF' }),
    revision: z.string().meta({ description: 'As it was asked for.', example: 'main' }),
    sha: z.string().meta({ description: 'The commit that it was then, and stays.' }),
    format: z.enum(['gguf', 'safetensors']),
    quantization: orNull(z.string()),
    architecture: z.string(),
    files: z.int().meta({ description: 'How many there are.' }),
    size_bytes: z.int(),
  })
  .meta({ id: 'ModelSource' })
export type ModelSource = z.output<typeof modelSource>

/** What is needed to show it. */
export interface ModelSourceShape {
  repo: string
  revision: string
  sha: string
  format: 'gguf' | 'safetensors'
  quantization: string | null
  architecture: string
  files: readonly unknown[]
  sizeBytes: number
}

export function renderSource(source: ModelSourceShape | undefined): ModelSource | null {
  if (source === undefined) return null
  const { repo, revision, sha, format, quantization, architecture, files, sizeBytes } = source
  return { repo, revision, sha, format, quantization, architecture, files: files.length, size_bytes: sizeBytes }
}
