/** Writes a GGUF version 3 file: header, pairs, tensor table, then the tensors at 32-byte boundaries. */
import { halvesOf, quantised } from './tensor-bytes.ts'

export type GgufValue =
  | { type: 'u32'; value: number }
  | { type: 'f32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'text'; value: string }
  | { type: 'texts'; value: readonly string[] }
  | { type: 'i32s'; value: readonly number[] }

/** How numbers are stored: whole, as halves, or as blocks of 32 bytes with a scale each. */
export type TensorType = 'F32' | 'F16' | 'Q8_0'

/** `shape` is in ggml's order: the contiguous dimension first. */
export interface GgufTensor {
  name: string
  shape: readonly number[]
  data: Float32Array
  type?: TensorType
}

const alignment = 32
const typeNumber = { u32: 4, i32: 5, f32: 6, bool: 7, text: 8, array: 9 } as const
const tensorTypeNumber = { F32: 0, F16: 1, Q8_0: 8 } as const

export function ggufFile(pairs: Record<string, GgufValue>, tensors: readonly GgufTensor[]): Buffer {
  const names = Object.keys(pairs)
  const head: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(names.length)]
  for (const name of names) head.push(text(name), value(pairs[name]!))
  const bodies = tensors.map(bytesOf)
  let offset = 0
  tensors.forEach((tensor, i) => {
    const { name, shape, type = 'F32' } = tensor
    head.push(text(name), u32(shape.length), ...shape.map(u64), u32(tensorTypeNumber[type]), u64(offset))
    offset += padded(bodies[i]!.length)
  })
  return Buffer.concat([...aligned(Buffer.concat(head)), ...bodies.flatMap(aligned)])
}

function value(given: GgufValue): Buffer {
  switch (given.type) {
    case 'u32':
      return Buffer.concat([u32(typeNumber.u32), u32(given.value)])
    case 'f32':
      return Buffer.concat([u32(typeNumber.f32), f32(given.value)])
    case 'bool':
      return Buffer.concat([u32(typeNumber.bool), Buffer.from([given.value ? 1 : 0])])
    case 'text':
      return Buffer.concat([u32(typeNumber.text), text(given.value)])
    case 'texts':
      return array(typeNumber.text, given.value.map(text))
    case 'i32s':
      return array(typeNumber.i32, given.value.map(u32))
  }
}

function array(element: number, items: Buffer[]): Buffer {
  return Buffer.concat([u32(typeNumber.array), u32(element), u64(items.length), ...items])
}

function bytesOf({ data, type = 'F32' }: GgufTensor): Buffer {
  switch (type) {
    case 'F32':
      return wholes(data)
    case 'F16':
      return halvesOf(data)
    case 'Q8_0':
      return quantised(data)
  }
}

function wholes(data: Float32Array): Buffer {
  const bytes = Buffer.alloc(data.byteLength)
  for (let i = 0; i < data.length; i += 1) bytes.writeFloatLE(data[i]!, i * 4)
  return bytes
}

function aligned(bytes: Buffer): Buffer[] {
  return [bytes, Buffer.alloc(padded(bytes.length) - bytes.length)]
}

function padded(length: number): number {
  return Math.ceil(length / alignment) * alignment
}

function u32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}

function f32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(n)
  return bytes
}

function u64(n: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(n))
  return bytes
}

function text(content: string): Buffer {
  const bytes = Buffer.from(content, 'utf8')
  return Buffer.concat([u64(bytes.length), bytes])
}
