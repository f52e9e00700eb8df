/** Is this an adapter for that deployment? Found wherever it comes from, and checked before anything is written. */
import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { allLimits, type Limits, type LimitsChange } from '../../access/limits.ts'
import type { AdapterFormat, EngineAdapters } from '../../engines/contract.adapters.ts'
import type { EngineType } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import { baseModel, baseOfShape } from '../../models/adapters/base.ts'
import type { AdapterFile } from '../../models/adapters/file.ts'
import { type BaseModel, mismatchOf } from '../../models/adapters/match.ts'
import { readAdapter } from '../../models/adapters/read.ts'
import type { AdapterOrigin } from '../../models/adapters/sources.ts'
import { isHubName, parseHubName } from '../../models/hub/name.ts'
import { realPathInside } from '../../models/local-file.ts'
import type { Querier } from '../../store/database.ts'
import type { DeploymentSpec, SpecContext } from '../spec.ts'

export interface AdapterWish {
  /** Absent: made of the source's. */
  name?: string
  source: string
  /** Whatever it says that it was trained on. */
  force?: boolean
  /** How much may be asked of it, besides what may be asked of its deployment. */
  limits?: LimitsChange
}

/** Words of ours, for messages. */
const formatWords: Record<AdapterFormat, string> = { gguf: 'GGUF', peft: 'PEFT (safetensors)' }
export const adapterName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/

/** An adapter that was found, and is not written down yet. */
export interface FoundAdapter {
  name: string
  source: string
  file: AdapterFile
  /** null = a path on this disk. */
  origin: AdapterOrigin | null
  forced: boolean
  limits: Limits
}

/**
 * What a wish names, in the format that this engine loads. Asks wherever it comes from: never within a transaction. Throws
 * Faults: invalid_request, engine_unsupported, model_path_not_allowed, adapter_unreadable, adapter_not_supported,
 * adapter_unsuitable, and the Hub's.
 */
export async function findAdapter(
  { db, engines, models, modelPaths }: AdapterGround & { db: Querier },
  orgId: string,
  { source, name = nameFrom(source), force = false, limits = {} }: AdapterWish,
  type: EngineType,
): Promise<FoundAdapter> {
  checkName(name)
  const from = models.adapters.of(source)
  if (from === null && isHubName(source))
    throw new Fault('hub_off', `${source} would come from a Hub, and this server uses none.`)
  const path = from === null ? adapterPath(source, modelPaths) : null
  const { format } = engineAdapters(engines, type)
  const { file, origin } =
    path === null ? await from!.pin(db, orgId, source, format) : { file: readAdapter(path), origin: null }
  if (file.format !== format) throw unsuitable(type, format, file.format)
  return { name, source, file, origin, forced: force, limits: allLimits(limits) }
}

/** What is found is looked at beside what it is put to. */
export type AdapterGround = Pick<SpecContext, 'engines' | 'models'> & {
  /** Folders from which adapters may be loaded. */
  modelPaths: readonly string[]
}

/** Where the files of a path are. Throws Faults. */
export function adapterPath(source: string, allowed: readonly string[]): string {
  const named = source.replace(/^file:(\/\/)?/, '')
  if (!isAbsolute(named))
    throw invalid('source', `source: neither hf:<repository>, nor byom:<upload>, nor a path on the server from "/" on.`)
  const path = realPathInside(named, allowed)
  // llama-server separates adapters by it.
  if (path.includes(',')) throw invalid('source', 'source: the path must not contain a comma.')
  return path
}

/** Throws Fault `engine_unsupported`. */
export function engineAdapters(engines: SpecContext['engines'], type: EngineType): EngineAdapters {
  const engine = engines.get(type)?.adapters
  if (engine) return engine
  throw new Fault('engine_unsupported', `The engine ${type} takes no LoRA adapters.`)
}

/** Does it fit what the deployment runs? Throws Faults: engine_unsupported, adapter_unsuitable, adapter_mismatch. */
export async function checkAdapter(
  db: Querier,
  { name, file, forced }: Pick<FoundAdapter, 'name' | 'file' | 'forced'>,
  { spec, orgId }: { spec: DeploymentSpec; orgId: string },
  { engines, models }: Pick<SpecContext, 'engines' | 'models'>,
): Promise<void> {
  const { type } = spec.engine
  const { format } = engineAdapters(engines, type)
  if (file.format !== format) throw unsuitable(type, format, file.format)
  const reason = mismatchOf(file, await baseOf(db, spec, orgId, models), forced)
  if (reason === null) return
  const standIn = models.standIn(spec.modelId)
  const why = standIn === null ? reason : `${reason} Here ${standIn} stands in for ${spec.modelId}.`
  const detail = { adapter: name, reason: why }
  throw new Fault('adapter_mismatch', 'LoRA adapter does not match base model', { detail })
}

/** By its own files where they are here; of a model that is still to come, by what was read of it. */
async function baseOf(
  db: Querier,
  { modelId, source }: DeploymentSpec,
  orgId: string,
  models: SpecContext['models'],
): Promise<BaseModel> {
  const names = namesOf(modelId, models, source)
  const files = await models.bring(db, orgId, modelId, source)
  if (existsSync(files.path)) return baseModel(files, names)
  const shape = source?.shape ?? (await models.findOwn(db, orgId, modelId))?.named.shape ?? null
  return baseOfShape(shape, names)
}

/** Of the last part of a path or repository, as far as its characters will do. */
export function nameFrom(source: string): string {
  // Of a revision with slashes nothing is a part of the name.
  const whole = isHubName(source) ? source.replace(/@.*$/, '') : source
  const last = whole
    .replace(/^\w+:/, '')
    .replace(/\/+$/, '')
    .split('/')
    .at(-1)!
    .replace(/@.*$/, '')
    .replace(/\.gguf$/i, '')
  return last
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^[-_]+/, '')
    .slice(0, 63)
}

export function checkName(name: string): void {
  if (adapterName.test(name)) return
  throw invalid('name', 'name: 1 to 63 letters, digits, "-" and "_", and the first is no "-" or "_".')
}

function namesOf(modelId: string, models: SpecContext['models'], source: DeploymentSpec['source']): string[] {
  const bases = source?.bases ?? []
  if (isHubName(modelId)) {
    const asked = parseHubName(modelId).repo
    return [...(source === undefined || source.repo === asked ? [] : [source.repo]), asked, ...bases]
  }
  // A path on this disk, or a name that somebody gave an upload, says nothing.
  if (modelId.startsWith('/') || modelId.includes(':')) return []
  const repo = models.all().find(({ id }) => id === modelId)?.sourceRepo
  return [modelId, ...(repo ? [repo] : []), ...bases]
}

function unsuitable(type: string, wanted: AdapterFormat, given: AdapterFormat): Fault {
  const convert =
    wanted === 'gguf'
      ? 'python convert_lora_to_gguf.py --base FOLDER-OF-THE-MODEL FOLDER-OF-THE-ADAPTER --outfile adapter.gguf'
      : null
  const action =
    convert === null
      ? 'Bring the adapter as the folder that PEFT wrote: adapter_config.json and adapter_model.safetensors.'
      : `Convert it with llama.cpp's script: ${convert}`
  return new Fault(
    'adapter_unsuitable',
    `${type} loads LoRA adapters as ${formatWords[wanted]}; this one is ${formatWords[given]}.`,
    { action, detail: { format: given, wanted, ...(convert === null ? {} : { convert }) } },
  )
}

function invalid(field: string, message: string): Fault {
  return new Fault('invalid_request', message, { detail: { fields: [{ field, problem: message }] } })
}
