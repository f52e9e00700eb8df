/** What the header of an uploaded file says it is, and whether that can be served at all. Pure. */

import { Fault } from '../../kernel/fault.ts'
import type { GgufValue } from '../../kernel/gguf-grammar.ts'
import { shapeOfGguf } from '../fit/shape.ts'
import type { GgufFile } from '../gguf-check.ts'
import { embeddingArchitectures } from '../supported/architectures.ts'
import { basesOfGguf, judgeArchitecture, judgeLineage, type KnownBase } from '../supported/judge.ts'
import type { UploadFacts } from './store.ts'

/** `known`: models that others rest on. Throws Fault `model_file_unreadable` or `model_not_supported`. */
export function factsOf(
  { pairs, sizeBytes }: Pick<GgufFile, 'pairs' | 'sizeBytes'>,
  known: readonly KnownBase[],
): UploadFacts {
  const type = pairs.get('general.type') ?? 'model'
  if (type !== 'model' && type !== 'adapter')
    throw unsupported(`It is no model but ${shown(type)}, which is not served by itself.`)
  if (Number(pairs.get('split.count') ?? 1) > 1)
    throw unsupported(
      'It is one part of a model that was split.',
      'Merge the parts (llama-gguf-split --merge) and upload the whole.',
    )
  const architecture = pairs.get('general.architecture')
  if (typeof architecture !== 'string' || architecture === '') throw missing('general.architecture')
  const quantization = quantizationOf(pairs.get('general.file_type'))
  if (type === 'adapter')
    return { kind: 'adapter', architecture: architecture.slice(0, 64), contextSize: 0, quantization, shape: null }
  const judged = judgeArchitecture('gguf', architecture)
  if (!judged.ok && !embeddingArchitectures.has(architecture))
    throw unsupported(judged.why, `Supported are ${judged.supported.join(', ')}.`)
  const lineage = judgeLineage(architecture, basesOfGguf(pairs), known)
  if (!lineage.ok) throw unsupported(lineage.why, 'Have what its header says of its base corrected.')
  const contextSize = pairs.get(`${architecture}.context_length`)
  if (typeof contextSize !== 'number' || contextSize < 1 || !Number.isSafeInteger(contextSize))
    throw missing(`${architecture.slice(0, 64)}.context_length`)
  const shape = shapeOfGguf(pairs, Number(sizeBytes))
  return { kind: 'model', architecture, contextSize, quantization, shape: shape.ok ? shape.shape : null }
}

function unsupported(message: string, action = 'Upload the model itself as one GGUF file.'): Fault {
  return new Fault('model_not_supported', message, { action })
}

function missing(key: string): Fault {
  return new Fault('model_file_unreadable', `The file is not a usable GGUF file: ${key} is missing.`)
}

function shown(value: GgufValue): string {
  return JSON.stringify(String(value).slice(0, 64))
}

/** llama_ftype of llama.h. */
const fileTypes: Record<number, string> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  7: 'Q8_0',
  8: 'Q5_0',
  9: 'Q5_1',
  10: 'Q2_K',
  11: 'Q3_K_S',
  12: 'Q3_K_M',
  13: 'Q3_K_L',
  14: 'Q4_K_S',
  15: 'Q4_K_M',
  16: 'Q5_K_S',
  17: 'Q5_K_M',
  18: 'Q6_K',
  19: 'IQ2_XXS',
  20: 'IQ2_XS',
  21: 'Q2_K_S',
  22: 'IQ3_XS',
  23: 'IQ3_XXS',
  24: 'IQ1_S',
  25: 'IQ4_NL',
  26: 'IQ3_S',
  27: 'IQ3_M',
  28: 'IQ2_S',
  29: 'IQ2_M',
  30: 'IQ4_XS',
  31: 'IQ1_M',
  32: 'BF16',
  36: 'TQ1_0',
  37: 'TQ2_0',
  38: 'MXFP4_MOE',
  39: 'NVFP4',
  40: 'Q1_0',
  41: 'Q2_0',
}

function quantizationOf(type: GgufValue | undefined): string {
  return (typeof type === 'number' && fileTypes[type]) || 'unknown'
}
