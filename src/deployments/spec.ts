/** What somebody wishes, checked and made exact: the spec that a revision freezes. Pure but for the model resolver. */
import type { EngineDriver, EngineSpec, EngineType } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import type { MicroUsd } from '../kernel/money.ts'
import type { ModelCatalogue, ResolvedModel } from '../models/catalogue.ts'
import type { HardwareCatalogue, HardwareType } from '../models/hardware.ts'
import type { Wanted } from './place.ts'
import type { ScalingPolicy } from './scaling.ts'

/** A create request in our own words. Absent = default. */
export interface DeploymentWish {
  name: string
  modelId: string
  gpuType: string
  /** Units per replica; default 1. */
  gpuCount?: number
  region?: string
  replicas?: number
  scaling?: Partial<ScalingPolicy>
  /** Also without a policy: quiet time before it is stopped; 0 = never. */
  inactiveTimeoutMinutes?: number
  engine?: {
    type?: 'auto' | EngineType
    version?: string
    maxModelLen?: number
    maxNumSeqs?: number
    additionalArgs?: string[]
  }
}

export interface DeploymentSpec {
  modelId: string
  hardware: Wanted[]
  engine: EngineSpec
  /** Why this engine, in a sentence. */
  engineWhy: string
  replicas: number
}

export interface SpecContext {
  hardware: HardwareCatalogue
  models: ModelCatalogue
  /** Engines that can run here. */
  engines: ReadonlyMap<EngineType, EngineDriver>
  replicasMaximum: number
}

export function makeSpec(wish: DeploymentWish, context: SpecContext): { spec: DeploymentSpec; model: ResolvedModel } {
  const type = checkHardware(wish, context.hardware)
  const replicas = wish.replicas ?? 1
  if (replicas < 1 || replicas > context.replicasMaximum)
    throw new Fault('invalid_request', `replicas must be 1 to ${context.replicasMaximum}; ${replicas} was asked.`)
  const model = context.models.resolve(wish.modelId)
  const { engine, why } = chooseEngine(wish, model, context.engines)
  const wanted: Wanted = { gpuType: type.slug, gpuCount: wish.gpuCount ?? 1, region: wish.region ?? null }
  return { spec: { modelId: wish.modelId, hardware: [wanted], engine, engineWhy: why, replicas }, model }
}

function checkHardware(wish: DeploymentWish, catalogue: HardwareCatalogue): HardwareType {
  const type = catalogue.get(wish.gpuType)
  if (!type) {
    const known = catalogue.all().map((t) => t.slug)
    throw new Fault('gpu_type_unknown', `There is no hardware type "${wish.gpuType}".`, {
      detail: { gpu_types: known },
    })
  }
  if (type.price === null)
    throw new Fault('price_not_set', `${type.name} has no price on this server, so it is not offered.`)
  if (!type.counts.includes(wish.gpuCount ?? 1))
    throw new Fault(
      'gpu_count_unsupported',
      `${type.slug} is offered ${type.counts.join(', ')} at a time, not ${wish.gpuCount}.`,
      {
        detail: { gpu_counts: type.counts },
      },
    )
  if (wish.region !== undefined && !type.regions.includes(wish.region))
    throw new Fault('region_unknown', `${type.slug} is not offered in region "${wish.region}".`, {
      detail: { regions: type.regions },
    })
  return type
}

function chooseEngine(
  wish: DeploymentWish,
  model: ResolvedModel,
  engines: ReadonlyMap<EngineType, EngineDriver>,
): { engine: EngineSpec; why: string } {
  const asked = wish.engine?.type ?? 'auto'
  const simulated = engines.has('simulated')
  // The seed's advice with our addition: GGUF is llama.cpp's own format, and only its.
  const fitting: EngineType = simulated ? 'simulated' : model.files.format === 'gguf' ? 'llamacpp' : 'vllm'
  const type = asked === 'auto' ? fitting : asked
  const because = simulated ? 'the hardware is simulated' : `the weights are ${model.files.format}`
  const why = asked === 'auto' ? `${type}, because ${because}.` : `${type}, as asked.`
  const driver = engines.get(type)
  if (!driver)
    throw new Fault('engine_not_available', `The engine ${type} cannot run on this server.`, {
      detail: { engines: [...engines.keys()] },
    })
  const engine: EngineSpec = {
    type,
    ...(wish.engine?.version === undefined ? {} : { version: wish.engine.version }),
    ...(wish.engine?.maxModelLen === undefined ? {} : { maxModelLen: wish.engine.maxModelLen }),
    ...(wish.engine?.maxNumSeqs === undefined ? {} : { maxNumSeqs: wish.engine.maxNumSeqs }),
    additionalArgs: wish.engine?.additionalArgs ?? [],
  }
  const problems = driver.validate(engine, model.files)
  if (problems.length > 0) throw new Fault('invalid_request', problems.join(' '), { detail: { problems } })
  return { engine, why }
}

/** GPUs that the spec holds at most, for the quota. */
export function gpusOf(spec: Pick<DeploymentSpec, 'hardware' | 'replicas'>, catalogue: HardwareCatalogue): number {
  const per = spec.hardware.map((h) => (catalogue.get(h.gpuType)?.gpusPerUnit ?? 0) * h.gpuCount)
  return Math.max(0, ...per) * spec.replicas
}

/** Price of one replica for an hour: unit price × units, of the first choice. */
export function replicaPrice(spec: Pick<DeploymentSpec, 'hardware'>, catalogue: HardwareCatalogue): MicroUsd {
  const first = spec.hardware[0]
  if (!first) return 0n
  return (catalogue.get(first.gpuType)?.price ?? 0n) * BigInt(first.gpuCount)
}
