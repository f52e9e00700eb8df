/** Is this an adapter for that deployment? Read from the disk and checked before anything is written. */
import { ComputeError } from '../../compute/contract.ts'
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import type { ModelFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import { baseModel } from '../../models/adapters/base.ts'
import type { AdapterFile } from '../../models/adapters/file.ts'
import { mismatchOf } from '../../models/adapters/match.ts'
import { readAdapter } from '../../models/adapters/read.ts'
import { realPathInside } from '../../models/local-file.ts'
import type { Querier } from '../../store/database.ts'
import type { DeploymentSpec, SpecContext } from '../spec.ts'

export interface AdapterWish {
  /** Absent: made of the source's. */
  name?: string
  source: string
  /** Whatever it says that it was trained on. */
  force?: boolean
}

/** Words of ours, for messages. */
const formatWords: Record<AdapterFormat, string> = { gguf: 'GGUF', peft: 'PEFT (safetensors)' }
export const adapterName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/

/** Where the files of a source are. Throws Faults. */
export function adapterPath(source: string, allowed: readonly string[]): string {
  const path = realPathInside(source.replace(/^file:(\/\/)?/, ''), allowed)
  // llama-server separates adapters by it.
  if (path.includes(',')) throw invalid('source', 'source: the path must not contain a comma.')
  return path
}

/** Throws Faults: adapter_unreadable, adapter_not_supported, adapter_unsuitable, adapter_mismatch, engine_unsupported. */
export async function acceptAdapter(
  db: Querier,
  path: string,
  { spec, orgId, force }: { spec: DeploymentSpec; orgId: string; force: boolean },
  { engines, models }: SpecContext,
): Promise<AdapterFile> {
  const { type } = spec.engine
  const engine = engines.get(type)?.adapters
  if (!engine) throw new Fault('engine_unsupported', `The engine ${type} takes no LoRA adapters.`)
  const adapter = readAdapter(path)
  if (adapter.format !== engine.format) throw unsuitable(type, engine.format, adapter.format)
  const files = await models.bring(db, orgId, spec.modelId).catch(notYetHere)
  const reason = mismatchOf(adapter, baseModel(files, namesOf(spec.modelId, models)), force)
  if (reason === null) return adapter
  const standIn = models.standIn(spec.modelId)
  const why = standIn === null ? reason : `${reason} Here ${standIn} stands in for ${spec.modelId}.`
  throw new Fault('adapter_mismatch', 'LoRA adapter does not match base model', { detail: { reason: why } })
}

/** Of the last part of a path or repository, as far as its characters will do. */
export function nameFrom(source: string): string {
  const last = source
    .replace(/\/+$/, '')
    .split('/')
    .at(-1)!
    .replace(/\.gguf$/i, '')
    .replace(/@.*$/, '')
  return last
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^[-_]+/, '')
    .slice(0, 63)
}

export function checkName(name: string): void {
  if (adapterName.test(name)) return
  throw invalid('name', 'name: 1 to 63 letters, digits, "-" and "_", and the first is no "-" or "_".')
}

/** Its shapes are not known before it is here; the engine will refuse what does not fit. */
function notYetHere(error: unknown): Pick<ModelFiles, 'format' | 'path'> {
  if (error instanceof ComputeError && error.meaning === 'not_ready') return { format: 'gguf', path: '' }
  throw error
}

function namesOf(modelId: string, models: SpecContext['models']): string[] {
  const repo = models.all().find(({ id }) => id === modelId)?.sourceRepo
  if (modelId.startsWith('hf:')) return [modelId.slice(3).replace(/@.*$/, '')]
  // A path on this disk, or a name that somebody gave an upload, says nothing.
  if (modelId.startsWith('/') || modelId.includes(':')) return []
  return repo ? [modelId, repo] : [modelId]
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
