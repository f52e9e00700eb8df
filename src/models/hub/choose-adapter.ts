/**
 * Which of a repository's files are a LoRA adapter: one GGUF file, or what PEFT wrote in one folder. Pickled weights are
 * never taken. Pure.
 */
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import { Fault } from '../../kernel/fault.ts'
import { chooseFiles } from './choose.ts'
import type { RemoteFile } from './file.ts'
import { isPlainPath } from './name.ts'

export interface AdapterChoice {
  format: AdapterFormat
  /** Below the repository: a file for gguf, a folder for peft ('' = the repository itself). */
  entry: string
  files: RemoteFile[]
}

export const configFile = 'adapter_config.json'
export const weightsFile = 'adapter_model.safetensors'

/**
 * `wanted`: a GGUF file, a quantisation, or a folder with what PEFT wrote. `format`: what the engine loads; where there is
 * only the other, that. Throws Faults `hub_no_weights`, `hub_file_not_found`, `hub_files_missing`.
 */
export function chooseAdapter(
  repo: string,
  all: readonly RemoteFile[],
  wanted: string | null,
  format: AdapterFormat,
): AdapterChoice {
  // llama-server separates adapters by commas.
  const files = all.filter(({ path }) => isPlainPath(path) && !path.includes(','))
  const peft = peftIn(files, wanted ?? '')
  const ggufs = files.filter(({ path }) => path.endsWith('.gguf'))
  if (peft !== null && (format === 'peft' || ggufs.length === 0 || wanted !== null)) return peft
  if (ggufs.length === 0) throw wanted === null ? noAdapter(repo, files) : noFolder(repo, wanted)
  const { entry, files: parts } = chooseFiles(repo, ggufs, wanted, ['gguf'])
  if (parts.length === 1) return { format: 'gguf', entry, files: parts }
  throw new Fault('hub_no_weights', `${entry} of ${repo} is one part of several; an adapter is one file.`, {
    action: 'Choose a repository with a LoRA adapter.',
  })
}

function peftIn(files: readonly RemoteFile[], folder: string): AdapterChoice | null {
  const prefix = folder === '' ? '' : `${folder.replace(/\/$/, '')}/`
  const named = (name: string) => files.find(({ path }) => path === prefix + name)
  const config = named(configFile)
  const weights = named(weightsFile)
  if (config === undefined || weights === undefined) return null
  return { format: 'peft', entry: prefix.slice(0, -1), files: [config, weights] }
}

function noFolder(repo: string, wanted: string): Fault {
  const message = `${repo} has no GGUF file ${JSON.stringify(wanted)}, and no folder of that name with an adapter.`
  return new Fault('hub_file_not_found', message, {
    action: 'Name a file or a folder that it has, or leave the choice out.',
  })
}

function noAdapter(repo: string, files: readonly RemoteFile[]): Fault {
  const has = (pattern: RegExp) => files.some(({ path }) => pattern.test(path))
  const why = has(/^adapter_model\.(bin|pt)$/)
    ? 'its weights are pickled; they could run code here, and are not loaded'
    : has(/^adapter_config\.json$/) || has(/^adapter_model\.safetensors$/)
      ? `it has only one of ${configFile} and ${weightsFile}`
      : `it has neither a GGUF file nor ${configFile} with ${weightsFile}`
  return new Fault('hub_no_weights', `${repo} is no LoRA adapter: ${why}.`, {
    action: 'Choose a repository with a LoRA adapter as safetensors or GGUF.',
  })
}
