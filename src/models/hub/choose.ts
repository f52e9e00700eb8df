/**
 * Which of a repository's files are needed. GGUF: one quantisation, with all its parts. Safetensors: the weights, and the
 * small files beside them that engines read. Pickled weights and code are never taken. Pure.
 */
import type { ModelFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import type { RemoteFile } from './file.ts'
import { isPlainPath } from './name.ts'

export interface Choice {
  format: ModelFiles['format']
  /** GGUF: path of the file to open. Safetensors: ''. */
  entry: string
  files: RemoteFile[]
  quantization: string | null
  /** Half a sentence: why this one of several; null = there was only one. */
  why: string | null
}

/** In this order, where nothing else is said: small, and hardly worse than what it was made of. */
const preferred = [
  'Q4_K_M',
  'Q4_K_S',
  'Q5_K_M',
  'Q5_K_S',
  'Q6_K',
  'Q8_0',
  'Q4_0',
  'IQ4_XS',
  'IQ4_NL',
  'MXFP4',
  'BF16',
  'F16',
]
const smallBytesMaximum = 64 * 1024 * 1024
const listedMaximum = 50

/** `formats`: that engines here can load, the preferred first. Throws Faults `hub_no_weights`, `hub_files_missing`, `hub_file_not_found`. */
export function chooseFiles(
  repo: string,
  all: readonly RemoteFile[],
  wanted: string | null,
  formats: readonly ModelFiles['format'][],
): Choice {
  const files = all.filter(({ path }) => isPlainPath(path))
  const groups = ggufGroups(files)
  if (wanted !== null) return wantedGroup(repo, groups, wanted)
  const weights = files.filter(isWeight)
  const there = { gguf: groups.length > 0, safetensors: weights.length > 0 }
  const format = formats.find((one) => there[one]) ?? (['safetensors', 'gguf'] as const).find((one) => there[one])
  if (format === undefined) throw noWeights(repo, files)
  return format === 'gguf' ? bestGroup(repo, groups) : safetensors(repo, files, weights)
}

interface GgufGroup {
  /** Path without what names its parts. */
  name: string
  files: RemoteFile[]
  /** How many parts there should be. */
  parts: number
  quantization: string | null
}

const partPattern = /-(\d{5})-of-(\d{5})(?=\.gguf$)/
const quantPattern =
  /(?:^|[-._/])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|F16|F32|FP16|MXFP4(?:_MOE)?))(?=[-._/]|$)/gi

function ggufGroups(files: readonly RemoteFile[]): GgufGroup[] {
  const groups = new Map<string, GgufGroup>()
  for (const file of files) {
    const base = file.path.slice(file.path.lastIndexOf('/') + 1)
    if (!file.path.endsWith('.gguf') || /mmproj|imatrix/i.test(base)) continue
    const parts = partPattern.exec(file.path)
    const name = file.path.replace(partPattern, '')
    const group = groups.get(name) ?? { name, files: [], parts: Number(parts?.[2] ?? 1), quantization: quantOf(name) }
    group.files.push(file)
    groups.set(name, group)
  }
  for (const { files } of groups.values()) files.sort((a, b) => (a.path < b.path ? -1 : 1))
  return [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function quantOf(name: string): string | null {
  return [...name.replace(/\.gguf$/, '').matchAll(quantPattern)].at(-1)?.[1]?.toUpperCase() ?? null
}

function wantedGroup(repo: string, groups: readonly GgufGroup[], wanted: string): Choice {
  const asPath = groups.filter(({ name, files }) => name === wanted || files.some(({ path }) => path === wanted))
  const asQuant = groups.filter(({ quantization }) => quantization === wanted.toUpperCase())
  const found = asPath.length > 0 ? asPath : asQuant
  if (found.length === 1) return ofGroup(repo, found[0]!, null)
  const message =
    found.length === 0
      ? `${repo} has no GGUF file or quantisation ${JSON.stringify(wanted)}.`
      : `${repo} has ${found.length} GGUF files of the quantisation ${wanted}; name one by its path.`
  throw new Fault('hub_file_not_found', message, { detail: choices(found.length === 0 ? groups : found) })
}

function bestGroup(repo: string, groups: readonly GgufGroup[]): Choice {
  const only = groups.length === 1
  for (const wanted of preferred) {
    const found = groups.find(({ quantization }) => quantization === wanted || quantization === `UD-${wanted}`)
    if (found)
      return ofGroup(repo, found, only ? null : `${found.quantization}, the first in our order of ${groups.length}`)
  }
  return ofGroup(repo, groups[0]!, only ? null : `${groups[0]!.name}, the first of ${groups.length}`)
}

function ofGroup(repo: string, { files, parts, name, quantization }: GgufGroup, why: string | null): Choice {
  if (files.length !== parts)
    throw new Fault('hub_files_missing', `${repo} has ${files.length} of the ${parts} parts of ${name}.`)
  return { format: 'gguf', entry: files[0]!.path, files, quantization, why }
}

function choices(groups: readonly GgufGroup[]): { files: string[]; quantizations: string[] } {
  const quantizations = [...new Set(groups.flatMap(({ quantization }) => quantization ?? []))]
  return { files: groups.slice(0, listedMaximum).map(({ name }) => name), quantizations }
}

/** Weights at the top, in the form that engines load; those of adapters, and Mistral's own, are others. */
function isWeight({ path }: RemoteFile): boolean {
  return /^[^/]+\.safetensors$/.test(path) && !/^(adapter_|consolidated)/.test(path)
}

const smallFile = /^(?!.*\.(?:bin|msgpack|h5|onnx|pt)\.index\.json$)[^/]+\.(?:json|jinja|model|tiktoken)$/
const otherSmall = /^(?:merges\.txt|vocab\.txt|additional_chat_templates\/[^/]+\.jinja)$/
const tokenizers = /^(?:tokenizer\.json|tokenizer\.model|vocab\.json|vocab\.txt|tekken\.json|[^/]+\.tiktoken)$/

function safetensors(repo: string, files: readonly RemoteFile[], weights: RemoteFile[]): Choice {
  const parts = weights.filter(({ path }) => /-\d{5}-of-\d{5}\.safetensors$/.test(path))
  const whole = weights.find(({ path }) => path === 'model.safetensors')
  const needed = whole ? [whole] : parts.length > 0 ? parts : weights
  const count = whole ? 1 : Number(/-of-(\d{5})/.exec(parts[0]?.path ?? '')?.[1] ?? needed.length)
  if (needed.length !== count)
    throw new Fault('hub_files_missing', `${repo} has ${needed.length} of the ${count} parts of its weights.`)
  const small = files.filter(
    ({ path, sizeBytes }) => (smallFile.test(path) || otherSmall.test(path)) && sizeBytes <= smallBytesMaximum,
  )
  if (!small.some(({ path }) => path === 'config.json'))
    throw new Fault('hub_files_missing', `${repo} has no config.json, so no engine knows what its weights are.`)
  if (!small.some(({ path }) => tokenizers.test(path)))
    throw new Fault('hub_files_missing', `${repo} has no tokenizer, so no engine can read or write text with it.`)
  return { format: 'safetensors', entry: '', files: [...small, ...needed], quantization: null, why: null }
}

function noWeights(repo: string, files: readonly RemoteFile[]): Fault {
  const has = (pattern: RegExp) => files.some(({ path }) => pattern.test(path))
  if (has(/^adapter_(config\.json|model\.)/))
    return new Fault('hub_no_weights', `${repo} is an adapter, not a model: it has no weights of its own.`, {
      action: 'Deploy the model that it was made for, and add it there as an adapter.',
    })
  const pickled = has(/\.(bin|pt|pth|ckpt)$/) ? '; its pickled ones could run code here, and are not loaded' : ''
  return new Fault('hub_no_weights', `${repo} has no weights as safetensors or GGUF${pickled}.`)
}
