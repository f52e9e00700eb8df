/** LoRA adapters on the native API: as sent and shown. */
import { z } from 'zod'
import { instant, iso, orNull, plainText } from './fields.ts'
import { changeLimits, type Limits, limits } from './limits.ts'

export const adapterStates = ['pending', 'loading', 'ready', 'failed'] as const

const fields = {
  name: plainText(63).optional().meta({
    description: 'What requests call it by: `<deployment>:<name>`. Default: made of the source.',
    example: 'pirate',
  }),
  source: plainText(4096).meta({
    description:
      '`hf:<owner>/<name>[/<GGUF file, quantisation or folder>][@<revision>]` for a repository of the Hub; `byom:<name>` for one that was uploaded; or the absolute path of a GGUF file (llama.cpp) or of the folder that PEFT wrote (vLLM, SGLang), inside a folder that the operator allowed.',
    example: 'hf:acme/pirate-lora',
  }),
  force: z.boolean().optional().meta({
    description: '`true`: whatever it says that it was trained on; its shapes must fit all the same.',
  }),
  limits: changeLimits.optional().meta({
    description: 'How much may be asked of it, besides what may be asked of its deployment and with a key.',
  }),
}
export const adapterWish = z.strictObject(fields).meta({ id: 'AdapterWish' })

export const addAdapter = z
  .strictObject({
    ...fields,
    allow_downtime: z.boolean().optional().meta({
      description: 'Where the engine has to be started anew for it: also when nobody answers meanwhile.',
    }),
  })
  .meta({ id: 'AddAdapter', example: { name: 'pirate', source: '/srv/adapters/pirate.gguf' } })
export type AddAdapter = z.input<typeof addAdapter>

export const changeAdapter = z
  .strictObject({ limits: fields.limits })
  .meta({ id: 'ChangeAdapter', example: { limits: { rpm: 60, concurrency: null } } })
export type ChangeAdapter = z.input<typeof changeAdapter>

export const adapter = z
  .object({
    id: z.string().meta({ example: 'ada_0mhx3k2v9ab3d5f7h9k1' }),
    name: z.string(),
    model: z.string().meta({ description: 'What requests say as `model`.', example: 'my-first:pirate' }),
    source: z.string(),
    hub: orNull(
      z.object({
        repo: z.string(),
        revision: z.string().meta({ description: 'As it was asked for.' }),
        sha: z.string().meta({ description: 'The commit that it was then, and stays.' }),
      }),
    ).meta({ description: 'Where on the Hub it comes from; null: it does not.' }),
    format: z.enum(['gguf', 'peft']),
    rank: z.int(),
    size_bytes: z.int(),
    base_model: orNull(z.string()).meta({ description: 'What it says that it was trained on.' }),
    limits: limits.meta({ description: 'Of its own; a request counts for every adapter that it names.' }),
    state: z.enum(adapterStates).meta({ description: '`ready`: a replica answers for it.' }),
    replicas: z
      .array(
        z.object({
          replica_id: z.string(),
          state: z.enum(adapterStates),
          detail: orNull(z.string()).meta({ description: 'Why it is not ready.' }),
          changed_at: orNull(instant),
        }),
      )
      .meta({ description: 'Those that answer now. Each loads it before it gets its requests.' }),
    created_at: instant,
  })
  .meta({ id: 'Adapter' })
export type Adapter = z.output<typeof adapter>

/** What is absent stays absent. */
export function adapterFrom({ name, source, force, limits: bounds }: z.output<typeof addAdapter>) {
  return {
    source,
    ...(name === undefined ? {} : { name }),
    ...(force === undefined ? {} : { force }),
    ...(bounds === undefined ? {} : { limits: bounds }),
  }
}

export function renderAdapter(view: {
  id: string
  name: string
  model: string
  source: string
  hub: Adapter['hub']
  format: Adapter['format']
  rank: number
  sizeBytes: number
  base: string | null
  limits: Limits
  state: Adapter['state']
  replicas: { replicaId: string; state: Adapter['state']; detail: string | null; changedAt: Date | null }[]
  createdAt: Date
}): Adapter {
  return {
    id: view.id,
    name: view.name,
    model: view.model,
    source: view.source,
    hub: view.hub,
    format: view.format,
    rank: view.rank,
    size_bytes: view.sizeBytes,
    base_model: view.base,
    limits: view.limits,
    state: view.state,
    replicas: view.replicas.map(({ replicaId, state, detail, changedAt }) => ({
      replica_id: replicaId,
      state,
      detail,
      changed_at: iso(changedAt),
    })),
    created_at: iso(view.createdAt)!,
  }
}
