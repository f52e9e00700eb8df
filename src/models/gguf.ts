/** The little of a GGUF header that a deployment needs: architecture and context length. */
import { BrokenGguf, readGgufPairs } from '../kernel/gguf.ts'

export type GgufHeader = { ok: true; architecture: string; contextSize: number } | { ok: false; why: string }

export function readGgufHeader(read: (offset: number, length: number) => Buffer, limit: number): GgufHeader {
  try {
    const wanted = (key: string) => key === 'general.architecture' || key.endsWith('.context_length')
    const pairs = readGgufPairs(read, limit, wanted)
    const architecture = pairs.get('general.architecture')
    if (typeof architecture !== 'string' || architecture === '') return missing('general.architecture')
    const contextSize = pairs.get(`${architecture}.context_length`)
    if (typeof contextSize !== 'number' || contextSize < 1) return missing(`${architecture}.context_length`)
    return { ok: true, architecture, contextSize }
  } catch (error) {
    if (error instanceof BrokenGguf) return { ok: false, why: error.message }
    throw error
  }
}

function missing(key: string): GgufHeader {
  return { ok: false, why: `${key} is missing` }
}
