/**
 * Which engine runs a model: the one that was asked for, or with `auto` the seed's advice (text: vLLM, pictures too:
 * SGLang) with our addition that GGUF is llama.cpp's own format, and only its. Pure.
 */
import type { EngineDriver, EngineSpec, EngineType, ModelFiles } from '../engines/contract.ts'
import type { Tuning } from '../engines/contract.tuning.ts'
import { Fault } from '../kernel/fault.ts'
import type { NamedModel, ResolvedModel } from '../models/catalogue.ts'
import { judgeArchitecture } from '../models/supported/judge.ts'
import type { DeploymentWish } from './spec.ts'

/** What `auto` chooses for a model where every engine can run, and why. */
export function adviseEngine(model: NamedModel): { type: EngineType; because: string } {
  const { format, seesPictures } = model
  if (format === 'gguf') return { type: 'llamacpp', because: 'the weights are gguf' }
  const [usual, other] = seesPictures ? (['sglang', 'vllm'] as const) : (['vllm', 'sglang'] as const)
  const able = enginesOf(model)
  if (able !== null && !able.includes(usual) && able.includes(other))
    return { type: other, because: `${usual} does not run the architecture ${model.shape!.architecture}` }
  if (seesPictures) return { type: usual, because: 'the model reads pictures beside text' }
  return { type: usual, because: 'the weights are safetensors of a text model' }
}

/** Those that run its architecture; null = nobody knows. */
function enginesOf({ format, shape }: Pick<NamedModel, 'format' | 'shape'>): readonly EngineType[] | null {
  const judged = shape === null ? null : judgeArchitecture(format, shape.architecture)
  return judged?.ok ? judged.engines : null
}

/** An engine that somebody named has to run the architecture. Throws Fault `model_not_supported`. */
function refuseForeign(type: EngineType, { files, named }: ResolvedModel): void {
  const able = enginesOf(named)
  // Of another format it is the engine that says so; what stands in is run by whatever runs that.
  if (able === null || able.includes(type) || files.format !== named.format) return
  if (!['vllm', 'sglang'].includes(type) || named.format !== 'safetensors') return
  const { architecture } = named.shape!
  throw new Fault('model_not_supported', `${type} does not run the architecture ${JSON.stringify(architecture)}.`, {
    action: `Leave engine.type out, or choose ${able.join(' or ')}.`,
    detail: { model_id: files.modelId, architecture, engines: able },
  })
}

/** `missing`: why that engine cannot run on this server; null = it can. Throws Fault `invalid_request` for its settings. */
export function chooseEngine(
  wish: Pick<DeploymentWish, 'engine'>,
  model: ResolvedModel,
  engines: ReadonlyMap<EngineType, EngineDriver>,
  onGpus: boolean,
): { engine: EngineSpec; why: string; missing: Fault | null } {
  const asked = wish.engine?.type ?? 'auto'
  const chosen = engineHere(model, engines, onGpus)
  const type = asked === 'auto' ? chosen.type : asked
  const why = asked === 'auto' ? `${type}, because ${chosen.because}.` : `${type}, as asked.`
  if (asked !== 'auto') refuseForeign(type, model)
  const driver = engines.get(type)
  const plain: EngineSpec = {
    type,
    ...(wish.engine?.version === undefined ? {} : { version: wish.engine.version }),
    ...(wish.engine?.maxModelLen === undefined ? {} : { maxModelLen: wish.engine.maxModelLen }),
    ...(wish.engine?.maxNumSeqs === undefined ? {} : { maxNumSeqs: wish.engine.maxNumSeqs }),
    additionalArgs: wish.engine?.additionalArgs ?? [],
    ...(wish.engine?.adapterRoom === undefined ? {} : { adapterRoom: wish.engine.adapterRoom }),
  }
  if (!driver) return { engine: plain, why, missing: notHere(type, asked === 'auto' ? chosen.because : null, engines) }
  const obstacle = driver.obstacle?.() ?? null
  if (obstacle !== null) return { engine: plain, why, missing: unusable(type, obstacle) }
  const engine: EngineSpec = { ...plain, ...tuningFor(driver, tuningOf(wish, model)) }
  const problems = driver.validate(engine, asNamed(model))
  if (problems.length > 0) throw new Fault('invalid_request', problems.join(' '), { detail: { problems } })
  return { engine, why, missing: null }
}

/** What stands in has less context than the model that is named, and takes what it can of what was asked for that one. */
function asNamed({ files, named, emulated }: ResolvedModel): Pick<ModelFiles, 'format' | 'contextSize'> {
  const { format, contextSize } = files
  return { format, contextSize: emulated ? Math.max(contextSize, named.shape?.contextSize ?? 0) : contextSize }
}

/** What a preset wishes, and what the model is meant to be loaded as. */
function tuningOf({ engine }: Pick<DeploymentWish, 'engine'>, { named }: ResolvedModel): Tuning | undefined {
  return named.eightBitAtLoad ? { ...engine?.tuning, eightBit: true } : engine?.tuning
}

/** Nothing of an engine that has no words for it: it would be another spec, and the same engine. */
function tuningFor({ tune }: EngineDriver, tuning: Tuning | undefined): Pick<EngineSpec, 'tuning'> {
  return tune === undefined || tuning === undefined || Object.keys(tuning).length === 0 ? {} : { tuning }
}

/** As advised, but for what answers in the place of the model that is named. */
function engineHere(
  { files, named }: ResolvedModel,
  engines: ReadonlyMap<EngineType, EngineDriver>,
  onGpus: boolean,
): { type: EngineType; because: string } {
  if (engines.has('simulated')) return { type: 'simulated', because: 'the hardware is simulated' }
  const own = adviseEngine(named)
  // The one that ships with us would leave them idle.
  if (files.format === named.format && own.type === 'llamacpp' && onGpus && engines.has('llama-server'))
    return { type: 'llama-server', because: 'the weights are gguf and the hardware has GPUs' }
  if (files.format === named.format) return own
  const here = adviseEngine({ format: files.format, seesPictures: false, shape: null })
  return { type: here.type, because: `the starter answers in its place here; its own weights would run on ${own.type}` }
}

function unusable(type: EngineType, obstacle: string): Fault {
  return new Fault('engine_not_available', obstacle, {
    action: `Install a newer ${type} on the server, or choose another engine.`,
  })
}

function notHere(type: EngineType, because: string | null, engines: ReadonlyMap<EngineType, EngineDriver>): Fault {
  const chosen = because === null ? '' : `, which is for this model because ${because},`
  return new Fault('engine_not_available', `The engine ${type}${chosen} cannot run on this server.`, {
    detail: { engines: [...engines.keys()] },
  })
}
