/** A model on this disk as adapters see it: its names, and the shapes of its matrices. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelFiles } from '../../engines/contract.ts'
import { BrokenGguf, readGgufContents } from '../../kernel/gguf.ts'
import { type ModelShape, shapeOfConfig } from '../fit/shape.ts'
import { withFile } from './file.ts'
import { basesOf } from './gguf.ts'
import type { BaseModel } from './match.ts'

const headBytesMaximum = 256 * 1024 * 1024

/** `names`: those known from elsewhere. What cannot be read leaves its shapes unknown. */
export function baseModel({ format, path }: Pick<ModelFiles, 'format' | 'path'>, names: readonly string[]): BaseModel {
  if (path === '') return { names: [...names], architecture: null, shapeOf: () => undefined }
  return format === 'gguf' ? ofGguf(path, names) : ofFolder(path, names)
}

function ofGguf(path: string, names: readonly string[]): BaseModel {
  try {
    const { pairs, tensors } = withFile(path, (read, size) =>
      readGgufContents(read, Math.min(size, headBytesMaximum), (key) => key.startsWith('general.')),
    )
    const architecture = pairs.get('general.architecture')
    const shapeOf: BaseModel['shapeOf'] = (module) => {
      const shape = tensors.get(`${module}.weight`) ?? tensors.get(module)
      return shape === undefined ? null : [shape[0] ?? 0, shape[1] ?? 0]
    }
    return {
      names: [...names, ...basesOf(pairs)],
      architecture: typeof architecture === 'string' ? architecture : null,
      shapeOf,
    }
  } catch (error) {
    if (error instanceof BrokenGguf) return { names: [...names], architecture: null, shapeOf: () => undefined }
    throw error
  }
}

function ofFolder(path: string, names: readonly string[]): BaseModel {
  const unknown: BaseModel = { names: [...names], architecture: null, shapeOf: () => undefined }
  let config: Record<string, unknown>
  try {
    config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>
  } catch {
    return unknown
  }
  const read = shapeOfConfig(config, 0)
  return read.ok ? baseOfShape(read.shape, names) : unknown
}

/** Of a model that is not here yet, as far as the shape that was read of it elsewhere says. */
export function baseOfShape(shape: ModelShape | null, names: readonly string[]): BaseModel {
  if (shape === null || shape.latentDim !== null)
    return { names: [...names], architecture: shape?.architecture ?? null, shapeOf: () => undefined }
  const { architecture, layers, hiddenSize: hidden, intermediateSize: inner, heads, kvHeads, keyDim, experts } = shape
  const shapes: Record<string, readonly [number, number]> = {
    attn_q: [hidden, heads * keyDim],
    attn_k: [hidden, kvHeads * keyDim],
    attn_v: [hidden, kvHeads * keyDim],
    attn_output: [heads * keyDim, hidden],
    // Of a mixture of experts each has its own.
    ...(experts > 0 ? {} : { ffn_gate: [hidden, inner], ffn_up: [hidden, inner], ffn_down: [inner, hidden] }),
  }
  const shapeOf: BaseModel['shapeOf'] = (module) => {
    const [, layer, part] = /^blk\.(\d+)\.(.+)$/.exec(module) ?? []
    if (layer === undefined) return undefined
    return Number(layer) >= layers ? null : shapes[part!]
  }
  return { names: [...names], architecture, shapeOf }
}
