/** What can be deployed: hardware types, models, and which of them go together. */
import { z } from 'zod'
import { label, orNull, plainText, usd } from './fields.ts'
import { type FitShape, fit, renderFit } from './fit.ts'

const unitPrice = orNull(usd).meta({ description: 'US dollars per unit and hour; null: the operator set no price.' })
const obstacle = orNull(z.string()).meta({ description: 'Why it cannot be deployed here; null when it can.' })
const regions = z.array(z.string()).meta({ example: ['atl1', 'nyc2'] })

export const gpuType = z
  .object({
    gpu_type: z.string().meta({ example: 'h100' }),
    name: z.string().meta({ example: '1× NVIDIA H100' }),
    gpus_per_unit: z.int().meta({ description: '8 for `mi300x_8`, 0 for `cpu`.' }),
    vram_gb: z.number().meta({ description: 'Memory of one unit; of `cpu` the machine’s, 0: not known.' }),
    gpu_counts: z.array(z.int()).meta({ description: 'Units per replica that are offered.' }),
    regions,
    hourly_cost_usd: unitPrice,
    availability: orNull(
      z.array(
        z.object({
          region: z.string(),
          free_units: z.int().nonnegative(),
          total_units: z.int().nonnegative(),
          emulated: z.boolean().meta({ description: 'true: slots of this machine stand in for it.' }),
          simulated: z.boolean().meta({ description: 'true: it is made up.' }),
        }),
      ),
    ).meta({ description: 'What there is of it now, by region; null for a key that may not deploy or look.' }),
    deployable: z.boolean(),
    reason: obstacle,
  })
  .meta({ id: 'GpuType' })
export type GpuType = z.output<typeof gpuType>

export const capabilities = [
  'chat',
  'completion',
  'embedding',
  'vision',
  'reasoning',
  'function-calling',
  'structured-output',
] as const

/** engines/contract.forms.ts; whatever is added there is added here. */
const toolCalls = z.enum(['llama3', 'llama4', 'hermes', 'mistral', 'deepseek_v3'])
const thoughts = z.enum(['deepseek_r1', 'qwen3'])
const toolCallsText =
  'How it writes calls of tools, which vLLM and SGLang have to be told; null: nobody knows, or it makes none.'
const thoughtsText = 'How it writes what it thinks first; null: nobody knows, or it does not.'

const configBytesMaximum = 64 * 1024
/** Not `hf:`, `byom:` or `file:`; no colon, which names adapters; no file. */
const modelId = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/, {
    error: 'must be up to 128 of letters, digits, ".", "_", "-", with at most one "/" between',
  })
  .refine((id) => !id.toLowerCase().endsWith('.gguf') && !id.startsWith('paddock/'), {
    error: 'must not end in ".gguf" or begin with "paddock/"',
  })

const entryFields = {
  id: modelId.meta({ description: 'What deployments name in `model_id`.', example: 'acme/support-8b' }),
  title: label(100).optional().meta({ description: 'Default: the id.' }),
  about: label(1000).optional(),
  source_repo: orNull(
    z
      .string()
      .max(200)
      .regex(/^[\w.-]+\/[\w.-]+$/, { error: 'must be a repository such as org/name' }),
  )
    .optional()
    .meta({ description: 'Where its weights are on the Hub.', example: 'acme/support-8b' }),
  revision: orNull(plainText(200)).optional().meta({ description: 'Branch, tag or commit; default: the newest.' }),
  path: orNull(plainText(4096)).optional().meta({
    description: 'In place of a repository: a GGUF file on the server, absolute. Its header says what `config` would.',
  }),
  quantization: label(40)
    .optional()
    .meta({ description: 'Default `none`. `fp8-at-load`: the engine makes its weights 8 bit as it loads them.' }),
  capabilities: z.array(z.enum(capabilities)).max(20).optional().meta({ description: 'Default: chat, completion.' }),
  context_size: z.int().min(1).max(100_000_000).meta({ description: 'Tokens.', example: 131_072 }),
  tensor_type: label(20).meta({ example: 'BF16' }),
  tool_calls: orNull(toolCalls).optional().meta({ description: toolCallsText }),
  thoughts: orNull(thoughts).optional().meta({ description: thoughtsText }),
  gated: z.boolean().optional().meta({ description: 'Its repository asks for a grant. Default false.' }),
  deployable: z.boolean().optional().meta({ description: '`false`: listed, and nobody can deploy it.' }),
  reason: orNull(label(500)).optional().meta({ description: 'Why it is not deployable.' }),
  weight_bytes: orNull(z.int().min(1).max(Number.MAX_SAFE_INTEGER))
    .optional()
    .meta({ description: 'Of all weights once they are loaded; with `config` it makes the fit check possible.' }),
  config: orNull(
    z.record(z.string(), z.unknown()).refine((config) => JSON.stringify(config).length <= configBytesMaximum, {
      error: `must be at most ${configBytesMaximum} bytes of JSON`,
    }),
  )
    .optional()
    .meta({ description: 'The `config.json` of its repository, or the part that says layers, heads and lengths.' }),
}

/** One entry of the operator's file. */
export const modelEntry = z.strictObject(entryFields)
export const modelEntries = z.array(modelEntry).max(10_000)

export const addModel = z
  .strictObject({
    ...entryFields,
    replace: z
      .boolean()
      .optional()
      .meta({ description: '`true`: changes the entry of this id that was added before.' }),
  })
  .meta({
    id: 'AddModel',
    example: { id: 'acme/support-8b', source_repo: 'acme/support-8b', context_size: 131_072, tensor_type: 'BF16' },
  })
export type AddModel = z.input<typeof addModel>

export const model = z
  .object({
    id: z.string().meta({ example: 'paddock/starter' }),
    title: z.string(),
    about: z.string(),
    source_repo: orNull(z.string()),
    revision: orNull(z.string()).meta({ description: 'null: the newest.' }),
    quantization: z.string(),
    capabilities: z.array(z.string()),
    architecture: orNull(z.string()).meta({ example: 'LlamaForCausalLM' }),
    weight_gb: orNull(z.number()).meta({ description: 'Of its weights once loaded, in GB; null: not known.' }),
    context_size: z.int().meta({ description: 'Tokens.' }),
    tensor_type: z.string(),
    tool_calls: orNull(toolCalls).meta({ description: toolCallsText }),
    thoughts: orNull(thoughts).meta({ description: thoughtsText }),
    gated: z.boolean().meta({ description: 'true: it is deployed with a Hub token that was granted access.' }),
    deployable: z.boolean(),
    reason: obstacle,
    emulated: z.boolean().meta({ description: 'true: another model answers in its place.' }),
    simulated: z.boolean().meta({ description: 'true: nothing computes; the answers are made up.' }),
    served_by: orNull(z.string()),
    added_by: z.enum(['paddock', 'file', 'api', 'upload']).meta({
      description:
        'It ships with Paddock, is in the operator’s file, was added over the API, or your organisation uploaded it.',
    }),
  })
  .meta({ id: 'Model' })
export type Model = z.output<typeof model>

const unitFit = fit.extend({ gpu_count: z.int().meta({ description: 'Units per replica.' }) })

export const gpuModelConfig = z
  .object({
    gpu_type: z.string(),
    model_id: z.string(),
    gpu_counts: z.array(z.int()).meta({
      description:
        'Units per replica on which it can be deployed: those that are offered and that it fits on. Empty where it cannot be.',
    }),
    fit: orNull(z.array(unitFit)).meta({
      description:
        'For every number of units that is offered; null: not known, or a CPU that runs it with another engine than llama.cpp.',
    }),
    regions,
    hourly_cost_usd: unitPrice,
    emulated: z.boolean(),
    simulated: z.boolean(),
    valid: z.boolean(),
    reason: obstacle,
  })
  .meta({ id: 'GpuModelConfig', description: 'One hardware type with one model.' })
export type GpuModelConfig = z.output<typeof gpuModelConfig>

export function renderUnitFit(units: number, shape: FitShape): z.output<typeof unitFit> {
  return { gpu_count: units, ...renderFit(shape) }
}
