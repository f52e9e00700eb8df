/** What somebody wishes, checked and made exact: the spec that a revision freezes. Pure but for the model resolver. */
import type { LimitsChange } from '../access/limits.ts'
import type { AdapterRoom } from '../engines/contract.adapters.ts'
import type { EngineDriver, EngineSpec, EngineType } from '../engines/contract.ts'
import type { Tuning } from '../engines/contract.tuning.ts'
import { Fault } from '../kernel/fault.ts'
import type { ModelCatalogue, NamedModel, ResolvedModel } from '../models/catalogue.ts'
import type { FitWish } from '../models/fit/check.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { HubSource } from '../models/hub/pin.ts'
import type { AdapterWish } from './adapters/accept.ts'
import type { CalendarWish } from './calendar-change.ts'
import { chooseEngine } from './engine-choice.ts'
import { type EngineSettings, engineSettings } from './engine-settings.ts'
import { type ChoiceFit, contextToTell, fitsOf, fitWishOf } from './fit.ts'
import type { Wanted } from './place.ts'
import type { PresetName } from './presets.ts'
import { checkCeiling } from './prices.ts'
import type { ScalingPolicy } from './scaling.ts'

/** A create request in our own words. Absent = default. */
export interface DeploymentWish extends CalendarWish {
  name: string
  modelId: string
  /** What `modelId` is pinned to, where it names a repository of the Hub. */
  source?: HubSource
  /** With count and region: the one choice; absent when there is a list. */
  gpuType?: string
  /** Units per replica; default 1. */
  gpuCount?: number
  region?: string
  /** In order of preference; goes before the three above. */
  hardware?: HardwareWish[]
  /** What an hour of the whole deployment may cost, a decimal number of USD; absent = no ceiling. */
  maxHourlyUsd?: string
  replicas?: number
  scaling?: Partial<ScalingPolicy>
  /** For what is not named otherwise. */
  preset?: PresetName
  limits?: LimitsChange
  /** LoRA adapters that it has from the start. */
  adapters?: readonly AdapterWish[]
  /** Created although the fit check says that it will not run. */
  force?: boolean
  /** Refused, and not queued, unless all replicas wanted at first can start now. */
  failFast?: boolean
  /** Also without a policy: quiet time before it is stopped; 0 = never. */
  inactiveTimeoutMinutes?: number
  engine?: {
    type?: 'auto' | EngineType
    version?: string
    maxModelLen?: number
    maxNumSeqs?: number
    additionalArgs?: string[]
    /** Not asked for by anybody: it follows from the adapters (see EngineAdapters.room). */
    adapterRoom?: AdapterRoom
    /** Of a preset. */
    tuning?: Tuning
  }
}

export interface HardwareWish {
  gpuType: string
  /** Default 1. */
  gpuCount?: number
  /** Absent, null = any. */
  region?: string | null
}

export interface DeploymentSpec {
  modelId: string
  /** Of a model of the Hub: its commit and files, for as long as this revision is used. */
  source?: HubSource
  /** Of a model that was uploaded: its name may be another file's one day. */
  uploadId?: string
  /** In order of preference. */
  hardware: Wanted[]
  /** Absent = no ceiling. */
  maxHourlyUsd?: string
  engine: EngineSpec
  /** Why this engine, in a sentence. */
  engineWhy: string
  /** How the weights are stored where that is in fewer than 16 bits: it decides what a preset can set. */
  quantization?: string
  /** Nobody named `engine.maxModelLen`: it is what there was room for, and is found anew on other hardware. */
  contextChosen?: true
  /** Nobody named `engine.type`: it follows from the model, and is found anew with another. */
  engineChosen?: true
  replicas: number
}

export interface SpecContext {
  hardware: HardwareCatalogue
  models: ModelCatalogue
  /** Engines that can run here. */
  engines: ReadonlyMap<EngineType, EngineDriver>
  /** An engine that cannot run here is told of in `missing` instead of thrown. */
  anyEngine?: boolean
  /** A model of the Hub need not be pinned: nothing is created. */
  unpinned?: boolean
  replicasMaximum: number
}

export interface MadeSpec {
  spec: DeploymentSpec
  model: ResolvedModel
  /** Why its engine cannot run here; null = it can. */
  missing: Fault | null
  /** What its preset sets of the engine, on the first choice of hardware. */
  settings: EngineSettings
  /** What the fit check was asked, and its verdict on each choice of hardware; see `refuseMisfit`. */
  fitWish: FitWish
  fits: ChoiceFit[]
}

/** `own`: the organisation's own model, where it is one. */
export function makeSpec(wish: DeploymentWish, context: SpecContext, own: ResolvedModel | null = null): MadeSpec {
  const hardware = chooseHardware(wish, context.hardware)
  const replicas = wish.replicas ?? 1
  if (replicas < 1 || replicas > context.replicasMaximum)
    throw new Fault('invalid_request', `replicas must be 1 to ${context.replicasMaximum}; ${replicas} was asked.`)
  const { maxHourlyUsd } = wish
  const priced = { hardware, ...(maxHourlyUsd === undefined ? {} : { maxHourlyUsd }) }
  checkCeiling(priced, replicas, context.hardware)
  const { modelId, source } = wish
  const model = own ?? context.models.resolve(modelId, source, { unpinned: context.unpinned ?? false })
  const first = context.hardware.get(hardware[0]!.gpuType)
  const { engine, why, missing } = chooseEngine(wish, model, context.engines, (first?.gpusPerUnit ?? 0) > 0)
  if (missing !== null && !context.anyEngine) throw missing
  const quantization = model.files.format === 'gguf' ? null : quantizationOf(model)
  const driver = context.engines.get(engine.type)
  const settings = engineSettings(engine, driver, quantization, first)
  const fitWish = fitWishOf(engine, model.named, driver)
  const fits = fitsOf(hardware, model.named, fitWish, context.hardware)
  const told = contextToTell(engine, model.named, fits)
  const spec = {
    modelId,
    ...(source === undefined ? {} : { source }),
    ...(model.uploadId === undefined ? {} : { uploadId: model.uploadId }),
    ...priced,
    engine: told === null ? engine : { ...engine, maxModelLen: told },
    engineWhy: [why, ...filesWhy(source), ...contextWhy(told, model.named)].join(' '),
    ...(told === null ? {} : { contextChosen: true as const }),
    ...((wish.engine?.type ?? 'auto') === 'auto' ? { engineChosen: true as const } : {}),
    ...(quantization === null ? {} : { quantization }),
    replicas,
  }
  return { spec, model, missing, settings, fitWish, fits }
}

function filesWhy(source: HubSource | undefined): string[] {
  return source?.why ? [`Of several files it has ${source.why}.`] : []
}

function contextWhy(told: number | null, { contextAllowed }: NamedModel): string[] {
  if (told === null) return []
  const why = told === contextAllowed ? 'as the catalogue has it' : 'for which there is room'
  return [`Its context is ${told} tokens, ${why}.`]
}

function quantizationOf({ files, named }: ResolvedModel): string | null {
  return files.quantization === undefined ? (named.shape?.quantization ?? null) : files.quantization
}

/** The choices in order of preference, each checked. A fault of a list names the entry. */
export function chooseHardware(
  wish: Pick<DeploymentWish, 'gpuType' | 'gpuCount' | 'region' | 'hardware'>,
  catalogue: HardwareCatalogue,
): Wanted[] {
  const { gpuType, gpuCount = 1, region = null, hardware } = wish
  if (hardware === undefined) {
    if (gpuType === undefined) throw new Fault('invalid_request', 'gpu_type: is required, or a list `hardware`.')
    return [checkChoice({ gpuType, gpuCount, region }, catalogue, '')]
  }
  const wanted = hardware.map(({ gpuType, gpuCount = 1, region = null }, at) =>
    checkChoice({ gpuType, gpuCount, region }, catalogue, `hardware[${at}]`),
  )
  const texts = wanted.map((choice) => JSON.stringify(choice))
  const twice = texts.findIndex((text, at) => texts.indexOf(text) < at)
  if (twice >= 0) {
    const problem = `hardware[${twice}]: is the same as hardware[${texts.indexOf(texts[twice]!)}].`
    throw new Fault('invalid_request', problem, { detail: { fields: [{ field: `hardware[${twice}]`, problem }] } })
  }
  return wanted
}

/** `at`: the entry of the list, '' for the one choice. */
function checkChoice(wanted: Wanted, catalogue: HardwareCatalogue, at: string): Wanted {
  const { gpuType, gpuCount, region } = wanted
  const named = (field: string, message: string) => (at === '' ? message : `${at}.${field}: ${message}`)
  const where = (field: string) => (at === '' ? {} : { field: `${at}.${field}` })
  const type = catalogue.get(gpuType)
  if (!type)
    throw new Fault('gpu_type_unknown', named('gpu_type', `There is no hardware type "${gpuType}".`), {
      detail: { gpu_types: catalogue.all().map((t) => t.slug), ...where('gpu_type') },
    })
  if (type.price === null)
    throw new Fault(
      'price_not_set',
      named('gpu_type', `${type.name} has no price on this server, so it is not offered.`),
      { detail: { gpu_type: gpuType, ...where('gpu_type') } },
    )
  if (!type.counts.includes(gpuCount))
    throw new Fault(
      'gpu_count_unsupported',
      named('gpu_count', `${type.slug} is offered ${type.counts.join(', ')} at a time, not ${gpuCount}.`),
      { detail: { gpu_counts: type.counts, ...where('gpu_count') } },
    )
  if (region !== null && !type.regions.includes(region))
    throw new Fault('region_unknown', named('region', `${type.slug} is not offered in region "${region}".`), {
      detail: { regions: type.regions, ...where('region') },
    })
  return wanted
}
