/** A model on this machine's disk, a GGUF file or a folder of safetensors: only inside folders that the operator allowed, judged by its real path. */
import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { dirname, isAbsolute, sep } from 'node:path'
import type { ModelFiles } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { type ModelShape, shapeOfGguf } from './fit/shape.ts'
import { readGgufHeader } from './gguf.ts'
import { localFolder } from './local-folder.ts'
import { embeddingArchitectures } from './supported/architectures.ts'
import { basesOfGguf, judgeArchitecture, judgeLineage, type KnownBase, unsupported } from './supported/judge.ts'

/** Largest header that is read; larger ones are refused. */
const headerBytesMaximum = 64 * 1024 * 1024

export interface LocalModel {
  files: ModelFiles
  /** null = its header does not say enough. */
  shape: ModelShape | null
  /** Absent = it reads text only. */
  seesPictures?: boolean
}

/**
 * Throws Fault `model_path_not_allowed` (outside, relative, missing: masked alike), `model_file_unreadable`, or
 * `model_not_supported` for an architecture that no engine for its kind of files runs, or that is not that of the base
 * which it names. `known`: models that others rest on.
 */
export function localModel(path: string, allowed: readonly string[], known: readonly KnownBase[] = []): LocalModel {
  const real = realPathInside(path.replace(/^file:(\/\/)?/, ''), allowed)
  if (statSync(real).isDirectory()) return localFolder(path, real)
  const fd = openSync(real, 'r')
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new Fault('model_file_unreadable', `${path} is not a file.`)
    const header = readGgufHeader(
      (offset, length) => readAt(fd, offset, length),
      Math.min(stat.size, headerBytesMaximum),
    )
    if (!header.ok) throw new Fault('model_file_unreadable', `${path} is not a usable GGUF file: ${header.why}.`)
    checkArchitecture(path, header.architecture)
    const lineage = judgeLineage(header.architecture, basesOfGguf(header.pairs), known)
    if (!lineage.ok) throw unsupported(path, lineage.why, [])
    const shape = shapeOfGguf(header.pairs, stat.size)
    return {
      files: { modelId: path, format: 'gguf', path: real, sizeBytes: stat.size, contextSize: header.contextSize },
      shape: shape.ok ? shape.shape : null,
    }
  } finally {
    closeSync(fd)
  }
}

/** A file or folder that the operator named: wherever it is, also behind a link. Throws as `localModel`, and tells what is missing. */
export function operatorsModel(path: string): LocalModel {
  let real: string
  try {
    real = realpathSync(path)
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException
    throw new Fault('model_file_unreadable', `There is no file at ${path} that this server can read (${code}).`)
  }
  return localModel(real, [dirname(real)])
}

/** What only embeds is let through: llama-server serves it on its own route. */
function checkArchitecture(path: string, architecture: string): void {
  const judged = judgeArchitecture('gguf', architecture)
  if (!judged.ok && !embeddingArchitectures.has(architecture)) throw unsupported(path, judged.why, judged.supported)
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const buffer = Buffer.alloc(length)
  return buffer.subarray(0, readSync(fd, buffer, 0, length, offset))
}

/** Throws Fault `model_path_not_allowed` for what is not inside one of the folders; what is missing is not told apart. */
export function realPathInside(path: string, allowed: readonly string[]): string {
  const refused = new Fault(
    'model_path_not_allowed',
    `"${path}" is not inside a folder from which models may be deployed.`,
  )
  if (!isAbsolute(path) || path.includes('\0') || path.length > 4096) throw refused
  let real: string
  try {
    real = realpathSync(path)
  } catch {
    throw refused
  }
  for (const folder of allowed) {
    try {
      if (real.startsWith(realpathSync(folder).replace(/[/\\]?$/, sep))) return real
    } catch {
      // An allowed folder that does not exist allows nothing.
    }
  }
  throw refused
}
