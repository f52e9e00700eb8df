/** What a GGUF header says that a deployment and a fit check need. The vocabulary passes unread. */
import { BrokenGguf, type GgufValue, readGgufPairs } from '../kernel/gguf.ts'

export type GgufHeader =
  | { ok: true; architecture: string; contextSize: number; pairs: ReadonlyMap<string, GgufValue> }
  | { ok: false; why: string }

export function readGgufHeader(read: (offset: number, length: number) => Buffer, limit: number): GgufHeader {
  try {
    const pairs = readGgufPairs(read, limit, (key) => !key.startsWith('tokenizer.'))
    const architecture = pairs.get('general.architecture')
    if (typeof architecture !== 'string' || architecture === '') return missing('general.architecture')
    const contextSize = pairs.get(`${architecture}.context_length`)
    if (typeof contextSize !== 'number' || contextSize < 1) return missing(`${architecture}.context_length`)
    return { ok: true, architecture, contextSize, pairs }
  } catch (error) {
    if (error instanceof BrokenGguf) return { ok: false, why: error.message }
    throw error
  }
}

function missing(key: string): GgufHeader {
  return { ok: false, why: `${key} is missing` }
}
