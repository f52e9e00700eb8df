/**
 * A model of the catalogue as it is written down: in `catalogue/models.json`, in the operator's own file, or sent to
 * `POST /models` and kept in the database. Its form is checked where it comes in (wire/native/catalogue.ts); what it says
 * is checked here. Pure.
 */
import { isAbsolute } from 'node:path'
import type { Forms, ThoughtForm, ToolCallForm } from '../engines/contract.forms.ts'
import { Fault } from '../kernel/fault.ts'
import { type ModelShape, shapeOfConfig } from './fit/shape.ts'
import { parseHubName } from './hub/name.ts'
import { judgeArchitecture, unsupported } from './supported/judge.ts'

export interface ModelEntry {
  id: string
  title?: string
  about?: string
  /** Of a Hub. */
  source_repo?: string | null
  revision?: string | null
  /** A GGUF on this machine's disk; the operator's word is enough. */
  path?: string | null
  quantization?: string
  capabilities?: string[]
  /** Tokens. */
  context_size: number
  tensor_type: string
  /** How it writes calls of tools, and what it thinks first: vLLM and SGLang have to be told. */
  tool_calls?: ToolCallForm | null
  thoughts?: ThoughtForm | null
  gated?: boolean
  /** false: listed, and nobody can deploy it. */
  deployable?: boolean
  reason?: string | null
  /** Of the weights once they are loaded. */
  weight_bytes?: number | null
  /** As much of its config.json as says how much memory it takes. */
  config?: Record<string, unknown> | null
}

/** As it ships, with a file of ours. */
export type ShippedEntry = ModelEntry & { file?: string }

export type ModelSource =
  | { kind: 'shipped'; path: string }
  | { kind: 'file'; path: string }
  | { kind: 'hub'; repo: string; revision: string | null }
  /** Nobody knows where its weights are. */
  | { kind: 'none' }

/** Who put it there. */
export type AddedBy = 'paddock' | 'file' | 'api'

export interface CatalogueModel {
  id: string
  title: string
  about: string
  source: ModelSource
  sourceRepo: string | null
  quantization: string
  capabilities: string[]
  /** Tokens. */
  contextSize: number
  tensorType: string
  forms: Forms
  gated: boolean
  /** Why nobody can deploy it, on whatever server; null = nothing stands against it. */
  withheld: string | null
  /** Of its repository: as its entry lets one think. */
  isGguf: boolean
  /** null = its entry does not say; that of a file is in the file. */
  shape: ModelShape | null
  addedBy: AddedBy
}

/** A `quantization`: the engine makes its 16 bit weights 8 bit as it loads them. */
export const quantisedAtLoad = 'fp8-at-load'

/** Throws Fault `invalid_request` or `model_not_supported` for what cannot be. */
export function modelOf(entry: ShippedEntry, addedBy: AddedBy): CatalogueModel {
  const { source_repo: repo = null, deployable = true, reason = null } = entry
  return {
    id: entry.id,
    title: entry.title ?? entry.id,
    about: entry.about ?? '',
    source: sourceOf(entry),
    sourceRepo: repo,
    quantization: entry.quantization ?? 'none',
    capabilities: entry.capabilities ?? ['chat', 'completion'],
    contextSize: entry.context_size,
    tensorType: entry.tensor_type,
    forms: formsOf(entry),
    gated: entry.gated ?? false,
    withheld: deployable ? null : (reason ?? 'The operator does not offer it.'),
    isGguf: isGguf(entry),
    shape: shapeOf(entry),
    addedBy,
  }
}

function formsOf({ tool_calls: toolCalls, thoughts }: ShippedEntry): Forms {
  return { ...(toolCalls ? { toolCalls } : {}), ...(thoughts ? { thoughts } : {}) }
}

function sourceOf({ file, path, source_repo, revision = null, deployable, id }: ShippedEntry): ModelSource {
  if (file !== undefined) return { kind: 'shipped', path: file }
  if (path && source_repo) throw wrong('path', `${id} has a path and a source_repo; give one of them.`)
  if (path && !isAbsolute(path))
    throw wrong('path', `The path of ${id} must be absolute; seen: ${JSON.stringify(path)}.`)
  if (path) return { kind: 'file', path }
  if (source_repo) {
    const { repo } = parseHubName(`hf:${source_repo}${revision === null ? '' : `@${revision}`}`, 'source_repo')
    return { kind: 'hub', repo, revision }
  }
  if (deployable === false) return { kind: 'none' }
  throw wrong('source_repo', `${id} needs a source_repo, or the path of a GGUF file.`)
}

function shapeOf(entry: ShippedEntry): ModelShape | null {
  const { id, config = null, weight_bytes = null, context_size, path } = entry
  if (config === null && weight_bytes === null) return null
  if (path) throw wrong('config', `${id} is a file, whose header says it: leave config and weight_bytes out.`)
  if (config === null) throw wrong('config', `${id} has weight_bytes; give its config too, or neither.`)
  if (weight_bytes === null) throw wrong('weight_bytes', `${id} has a config; give its weight_bytes too, or neither.`)
  const read = shapeOfConfig(config, weight_bytes)
  if (!read.ok) throw wrong('config', `The config of ${id} does not say enough: ${read.why}.`)
  const judged = judgeArchitecture('safetensors', read.shape.architecture)
  if (!judged.ok) throw unsupported(id, judged.why, judged.supported)
  const quantization = isGguf(entry) ? 'gguf' : read.shape.quantization
  return { ...read.shape, quantization, contextSize: context_size }
}

/** "gguf" as its quantisation, or a tensor type that only GGUF has. */
function isGguf({ quantization = '', tensor_type }: ShippedEntry): boolean {
  return /^gguf/i.test(quantization) || /^(gguf|i?q\d)/i.test(tensor_type)
}

function wrong(field: string, message: string): Fault {
  return new Fault('invalid_request', message, { detail: { fields: [{ field, problem: message }] } })
}
