/** Routes of what can be deployed: hardware types, models, and which go together (A14). */
import { z } from 'zod'
import type { Offer } from '../compute/contract.ts'
import { makeSpec } from '../deployments/spec.ts'
import { toFault } from '../kernel/fault.ts'
import { usdNumber } from '../kernel/money.ts'
import type { CatalogueModel } from '../models/catalogue.ts'
import type { HardwareType } from '../models/hardware.ts'
import {
  type GpuModelConfig,
  type GpuType,
  gpuModelConfig,
  gpuType,
  type Model,
  model,
} from '../wire/native/catalogue.ts'
import { listOf, queryFlag } from '../wire/native/fields.ts'
import { type ApiParts, endpoint, whole } from './endpoint.ts'

const tag = 'Catalogue'

export const catalogueEndpoints = [
  endpoint({
    id: 'listGpuTypes',
    method: 'get',
    path: '/gpu-types',
    tag,
    summary: 'List hardware types, their prices and how much of each is free',
    answer: listOf(gpuType),
    run: async ({ principal, parts }) => {
      const offers = await parts.deployments.availability(principal)
      return whole(parts.hardware.all().map((type) => renderGpuType(type, offers)))
    },
  }),
  endpoint({
    id: 'listModels',
    method: 'get',
    path: '/models',
    tag,
    summary: 'List the models of the catalogue',
    answer: listOf(model),
    run: async ({ parts }) => whole(parts.models.all().map((entry) => renderModel(entry, parts))),
  }),
  endpoint({
    id: 'listGpuModelConfigs',
    method: 'get',
    path: '/gpu-model-configs',
    tag,
    summary: 'List which hardware and models go together',
    query: z.strictObject({
      all: queryFlag.meta({ description: '`true`: also what cannot be deployed here, with the reason.' }),
    }),
    answer: listOf(gpuModelConfig),
    run: async ({ parts, query }) => whole(configs(parts).filter((config) => query.all || config.valid)),
  }),
]

function renderGpuType(type: HardwareType, offers: readonly Offer[] | null): GpuType {
  const own = offers?.filter(({ gpuType }) => gpuType === type.slug).map(renderOffer) ?? null
  return {
    gpu_type: type.slug,
    name: type.name,
    gpus_per_unit: type.gpusPerUnit,
    vram_gb: type.vramGib,
    gpu_counts: type.counts,
    regions: type.regions,
    hourly_cost_usd: type.price === null ? null : usdNumber(type.price),
    availability: own,
    deployable: type.price !== null,
    reason: noPrice(type),
  }
}

function renderOffer({ region, freeUnits, totalUnits, emulated, simulated = false }: Offer) {
  return { region, free_units: freeUnits, total_units: totalUnits, emulated, simulated }
}

/** The simulated engine is there where the hardware is simulated, and nowhere else. */
function isSimulated({ engines }: ApiParts): boolean {
  return engines.has('simulated')
}

function noPrice(type: HardwareType): string | null {
  return type.price === null ? `${type.name} has no price on this server, so it is not offered.` : null
}

function renderModel(entry: CatalogueModel, parts: ApiParts): Model {
  const { reason, emulated } = judgeModel(entry, parts)
  return {
    id: entry.id,
    title: entry.title,
    about: entry.about,
    source_repo: entry.sourceRepo,
    quantization: entry.quantization,
    capabilities: entry.capabilities,
    context_size: entry.contextSize,
    tensor_type: entry.tensorType,
    gated: entry.gated,
    deployable: reason === null,
    reason,
    emulated,
    simulated: isSimulated(parts),
    served_by: emulated ? parts.models.standIn(entry.id) : null,
  }
}

function configs(parts: ApiParts): GpuModelConfig[] {
  return parts.models.all().flatMap((entry) => {
    const judged = judgeModel(entry, parts)
    return parts.hardware.all().map((type): GpuModelConfig => {
      const reason = noPrice(type) ?? judged.reason
      const { gpu_counts, regions, hourly_cost_usd } = renderGpuType(type, null)
      const valid = reason === null
      const marks = { emulated: judged.emulated, simulated: isSimulated(parts) }
      return { gpu_type: type.slug, model_id: entry.id, gpu_counts, regions, hourly_cost_usd, ...marks, valid, reason }
    })
  })
}

/** Asks what a create would say: on hardware that is offered, the model and its engine alone decide. */
function judgeModel(entry: CatalogueModel, parts: ApiParts): { reason: string | null; emulated: boolean } {
  const offered = parts.hardware.all().find((type) => type.price !== null)
  if (!offered) return { reason: 'No hardware type has a price on this server.', emulated: false }
  const wish = { name: 'any', modelId: entry.id, gpuType: offered.slug, gpuCount: offered.counts[0] }
  try {
    const { model: resolved } = makeSpec(wish, { ...parts, replicasMaximum: 1 })
    return { reason: null, emulated: resolved.emulated }
  } catch (thrown) {
    const fault = toFault(thrown)
    if (fault.code === 'internal') throw thrown
    // The message names a path of this server, which is nobody's business who only looks at the catalogue.
    const unreadable = fault.code === 'model_path_not_allowed' || fault.code === 'model_file_unreadable'
    return {
      reason: unreadable ? `The weights of ${entry.id} cannot be read on this server.` : fault.message,
      emulated: false,
    }
  }
}
