/**
 * A model as Hugging Face lays it out, in a folder of this machine: `config.json` and `*.safetensors`. Other kinds of
 * weights in it are passed over: they may hold code.
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelFiles } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { type ModelShape, shapeOfConfig } from './fit/shape.ts'
import { judgeArchitecture, unsupported } from './supported/judge.ts'

const configBytesMaximum = 4 * 1024 * 1024
const filesMaximum = 10_000

export interface LocalFolder {
  files: ModelFiles
  shape: ModelShape
  seesPictures: boolean
}

/** `path`: as it was named; `real`: where it is. Throws Fault `model_file_unreadable` or `model_not_supported`. */
export function localFolder(path: string, real: string): LocalFolder {
  const refuse = (why: string) => new Fault('model_file_unreadable', `${path} is not a usable model: ${why}.`)
  const weights = readdirSync(real).filter((name) => name.endsWith('.safetensors'))
  if (weights.length === 0) throw refuse('the folder has no safetensors files')
  if (weights.length > filesMaximum) throw refuse(`it has more than ${filesMaximum} files`)
  const sizeBytes = weights.reduce((sum, name) => sum + statSync(join(real, name)).size, 0)
  const config = readConfig(join(real, 'config.json'))
  if (config === null) throw refuse('its config.json is missing, or no JSON object')
  const read = shapeOfConfig(config, sizeBytes)
  if (!read.ok) throw refuse(`its config.json cannot be used: ${read.why}`)
  const { shape } = read
  const judged = judgeArchitecture('safetensors', shape.architecture)
  if (!judged.ok) throw unsupported(path, judged.why, judged.supported)
  const { contextSize, quantization } = shape
  return {
    files: { modelId: path, format: 'safetensors', path: real, sizeBytes, contextSize, quantization },
    shape,
    seesPictures: judged.seesPictures,
  }
}

function readConfig(path: string): Record<string, unknown> | null {
  try {
    const fd = openSync(path, 'r')
    try {
      const stat = fstatSync(fd)
      if (!stat.isFile() || stat.size > configBytesMaximum) return null
      const parsed: unknown = JSON.parse(readFileSync(fd, 'utf8'))
      const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
      return isObject ? (parsed as Record<string, unknown>) : null
    } finally {
      closeSync(fd)
    }
  } catch {
    return null
  }
}
