/** Reads a safetensors file: eight bytes of length, a header in JSON, then the numbers. */
import { fromHalf } from './tensor-bytes.ts'

export interface Weights {
  /** Rows first, as PyTorch has it. */
  shape: number[]
  data: Float32Array
}

interface Place {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/** Throws Error for a type that is neither F32 nor F16. */
export function readSafetensors(file: Buffer): Map<string, Weights> {
  const begin = 8 + Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, begin)) as Record<string, Place>
  const tensors = new Map<string, Weights>()
  for (const [name, place] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const [from, to] = place.data_offsets
    tensors.set(name, { shape: place.shape, data: numbers(file.subarray(begin + from, begin + to), place.dtype) })
  }
  return tensors
}

function numbers(bytes: Buffer, type: string): Float32Array {
  if (type === 'F32') return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4))
  if (type === 'F16')
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => fromHalf(bytes.readUInt16LE(i * 2)))
  throw new Error(`numbers of type ${type} cannot be read`)
}
