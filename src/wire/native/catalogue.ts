/** What can be deployed: hardware types, models, and which of them go together. */
import { z } from 'zod'
import { orNull, usd } from './fields.ts'

const unitPrice = orNull(usd).meta({ description: 'US dollars per unit and hour; null: the operator set no price.' })
const obstacle = orNull(z.string()).meta({ description: 'Why it cannot be deployed here; null when it can.' })
const regions = z.array(z.string()).meta({ example: ['atl1', 'nyc2'] })

export const gpuType = z
  .object({
    gpu_type: z.string().meta({ example: 'h100' }),
    name: z.string().meta({ example: '1× NVIDIA H100' }),
    gpus_per_unit: z.int().meta({ description: '8 for `mi300x_8`, 0 for `cpu`.' }),
    vram_gb: z.number().meta({ description: 'Memory of one unit.' }),
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

export const model = z
  .object({
    id: z.string().meta({ example: 'paddock/starter' }),
    title: z.string(),
    about: z.string(),
    source_repo: orNull(z.string()),
    quantization: z.string(),
    capabilities: z.array(z.string()),
    context_size: z.int().meta({ description: 'Tokens.' }),
    tensor_type: z.string(),
    gated: z.boolean(),
    deployable: z.boolean(),
    reason: obstacle,
    emulated: z.boolean().meta({ description: 'true: another model answers in its place.' }),
    simulated: z.boolean().meta({ description: 'true: nothing computes; the answers are made up.' }),
    served_by: orNull(z.string()),
  })
  .meta({ id: 'Model' })
export type Model = z.output<typeof model>

export const gpuModelConfig = z
  .object({
    gpu_type: z.string(),
    model_id: z.string(),
    gpu_counts: z.array(z.int()),
    regions,
    hourly_cost_usd: unitPrice,
    emulated: z.boolean(),
    simulated: z.boolean(),
    valid: z.boolean(),
    reason: obstacle,
  })
  .meta({ id: 'GpuModelConfig', description: 'One hardware type with one model.' })
export type GpuModelConfig = z.output<typeof gpuModelConfig>
