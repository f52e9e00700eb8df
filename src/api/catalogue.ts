/** Routes of what can be deployed: hardware types, models, and which go together (A14). */
import { z } from 'zod'
import type { Offer } from '../compute/contract.ts'
import { misfitText } from '../deployments/fit.ts'
import { makeSpec } from '../deployments/spec.ts'
import { toFault } from '../kernel/fault.ts'
import { usdNumber } from '../kernel/money.ts'
import type { CatalogueModel, NamedModel } from '../models/catalogue.ts'
import { canCheck, checkFit, type FitWish, usualWish } from '../models/fit/check.ts'
import type { HardwareType } from '../models/hardware.ts'
import {
  addModel,
  type GpuModelConfig,
  type GpuType,
  gpuModelConfig,
  gpuType,
  type Model,
  model,
  renderUnitFit,
} from '../wire/native/catalogue.ts'
import { listOf, queryFlag } from '../wire/native/fields.ts'
import { type ApiParts, endpoint, whole } from './endpoint.ts'
import { renderOwn } from './uploads.ts'

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
    summary: 'List the models of the catalogue, and those that your organisation uploaded',
    query: z.strictObject({
      deployable: queryFlag.meta({ description: '`true`: only what can be deployed here.' }),
    }),
    answer: listOf(model),
    run: async ({ principal, parts, query }) => {
      await parts.catalogue.refresh()
      const own = (await parts.uploads.list(principal)).flatMap((upload) => renderOwn(upload, isSimulated(parts)))
      const models = [...parts.models.all().map((entry) => renderModel(entry, parts)), ...own]
      return whole(models.filter(({ deployable }) => deployable || !query.deployable))
    },
  }),
  endpoint({
    id: 'addModel',
    method: 'post',
    path: '/models',
    tag,
    summary: 'Add a model to the catalogue',
    description:
      'The operator only; everybody can then deploy it. With `config` and `weight_bytes` it is checked whether it fits.',
    creates: true,
    body: addModel,
    answer: model,
    faults: ['name_taken', 'conflict', 'model_not_supported', 'model_path_not_allowed', 'model_file_unreadable'],
    run: async ({ principal, body, once, parts }) => {
      const { replace = false, ...entry } = body
      return renderModel(await parts.catalogue.add(principal, entry, once, { replace }), parts)
    },
  }),
  endpoint({
    id: 'removeModel',
    method: 'delete',
    path: '/models/{model}',
    tag,
    summary: 'Take a model out of the catalogue again',
    description:
      'The operator only, and only what was added over the API. A slash in the id is written %2F. Refused while a deployment uses it.',
    answer: model,
    faults: ['conflict'],
    run: async ({ principal, param, parts }) =>
      renderModel(await parts.catalogue.remove(principal, param('model')), parts),
  }),
  endpoint({
    id: 'listGpuModelConfigs',
    method: 'get',
    path: '/gpu-model-configs',
    tag,
    summary: 'List which hardware and models go together',
    description: 'Computed by the fit check, one sequence of the whole context at least, or of what there is room for.',
    query: z.strictObject({
      all: queryFlag.meta({ description: '`true`: also what cannot be deployed here, with the reason.' }),
    }),
    answer: listOf(gpuModelConfig),
    run: async ({ parts, query }) => {
      await parts.catalogue.refresh()
      return whole(configs(parts).filter((config) => query.all || config.valid))
    },
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
  const { reason, emulated, named } = judgeModel(entry, parts)
  return {
    id: entry.id,
    title: entry.title,
    about: entry.about,
    source_repo: entry.sourceRepo,
    revision: entry.source.kind === 'hub' ? entry.source.revision : null,
    quantization: entry.quantization,
    capabilities: entry.capabilities,
    architecture: named?.shape?.architecture ?? null,
    weight_gb: named?.shape ? Number((named.shape.weightBytes / 1e9).toPrecision(3)) : null,
    context_size: entry.contextSize,
    tensor_type: entry.tensorType,
    tool_calls: entry.forms.toolCalls ?? null,
    thoughts: entry.forms.thoughts ?? null,
    gated: entry.gated,
    deployable: reason === null,
    reason,
    emulated,
    simulated: isSimulated(parts),
    served_by: emulated ? parts.models.standIn(entry.id) : null,
    added_by: entry.addedBy,
  }
}

function configs(parts: ApiParts): GpuModelConfig[] {
  return parts.models.all().flatMap((entry) => {
    const judged = judgeModel(entry, parts)
    return parts.hardware.all().map((type) => configOf(entry, type, judged, parts))
  })
}

function configOf(entry: CatalogueModel, type: HardwareType, judged: Judged, parts: ApiParts): GpuModelConfig {
  const { gpu_counts, regions, hourly_cost_usd } = renderGpuType(type, null)
  const shape = judged.named?.shape ?? null
  const fits =
    shape === null || !canCheck(shape, type)
      ? null
      : gpu_counts.map((units) => ({ units, fit: checkFit(shape, type, units, judged.wish) }))
  const able =
    fits === null ? gpu_counts : fits.filter(({ fit }) => fit.verdict !== 'does_not_fit').map(({ units }) => units)
  const misfit = able.length > 0 ? null : misfitText(type.slug, gpu_counts[0]!, fits![0]!.fit)
  const reason = noPrice(type) ?? judged.reason ?? misfit
  return {
    gpu_type: type.slug,
    model_id: entry.id,
    gpu_counts: reason === null ? able : [],
    fit: fits?.map(({ units, fit }) => renderUnitFit(units, fit)) ?? null,
    regions,
    hourly_cost_usd,
    emulated: judged.emulated,
    simulated: isSimulated(parts),
    valid: reason === null,
    reason,
  }
}

interface Judged {
  /** Why nobody can deploy it here, on whatever hardware; null = it can be. */
  reason: string | null
  emulated: boolean
  /** null = its file cannot be read. */
  named: NamedModel | null
  wish: FitWish
}

/** Asks what a create would say: on hardware that is offered, the model and its engine alone decide. */
function judgeModel(entry: CatalogueModel, parts: ApiParts): Judged {
  const offered = parts.hardware.all().find((type) => type.price !== null)
  const not = (reason: string): Judged => ({ reason, emulated: false, named: namedOr(entry, parts), wish: usualWish })
  if (!offered) return not('No hardware type has a price on this server.')
  const wish = { name: 'any', modelId: entry.id, gpuType: offered.slug, gpuCount: offered.counts[0] }
  try {
    const { model: resolved, fitWish } = makeSpec(wish, { ...parts, replicasMaximum: 1, unpinned: true })
    return { reason: null, emulated: resolved.emulated, named: resolved.named, wish: fitWish }
  } catch (thrown) {
    const fault = toFault(thrown)
    if (fault.code === 'internal') throw thrown
    // The message names a path of this server, which is nobody's business who only looks at the catalogue.
    const unreadable = fault.code === 'model_path_not_allowed' || fault.code === 'model_file_unreadable'
    return not(unreadable ? `The weights of ${entry.id} cannot be read on this server.` : fault.message)
  }
}

function namedOr(entry: CatalogueModel, parts: ApiParts): NamedModel | null {
  try {
    return parts.models.named(entry)
  } catch {
    return null
  }
}
