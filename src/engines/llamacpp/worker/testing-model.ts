/** The starter with another header, for tests: a chat template of the test's own, a pooling. */
import { readFileSync, writeFileSync } from 'node:fs'
import { starterPath } from './testing.ts'

export interface TestModel {
  chatTemplate?: string
  /** llama.cpp's number: 1 = mean, 3 = last. */
  poolingType?: number
  /** Name of the model that it comes from. */
  base?: string
  /** How an engine that is simulated behaves with it, as JSON. */
  simulated?: string
}

const headBytes = 24
const alignment = 32
const type = { u32: 4, text: 8 } as const

/** Writes it to `path`, which it returns. */
export function writeTestModel(path: string, { chatTemplate, poolingType, base, simulated }: TestModel): string {
  const starter = readFileSync(starterPath)
  const pairs: Buffer[] = []
  if (chatTemplate !== undefined) {
    // The starter's own goes by another name, as long as the right one.
    const own = starter.indexOf('tokenizer.chat_template')
    starter.write('tokenizer.chat_starter0', own)
    pairs.push(pair('tokenizer.chat_template', type.text, text(chatTemplate)))
  }
  if (poolingType !== undefined) pairs.push(pair('llama.pooling_type', type.u32, u32(poolingType)))
  if (base !== undefined) pairs.push(pair('general.base_model.0.name', type.text, text(base)))
  if (simulated !== undefined) pairs.push(pair('simulated.behaviour', type.text, text(simulated)))
  // What comes in is a multiple of the alignment, so that the tensors stay where the table says.
  const empty = pair('test.padding', type.text, text(''))
  const length = pairs.reduce((sum, one) => sum + one.length, empty.length)
  const missing = (alignment - (length % alignment)) % alignment
  pairs.push(pair('test.padding', type.text, text(' '.repeat(missing))))
  const head = Buffer.from(starter.subarray(0, headBytes))
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + BigInt(pairs.length), 16)
  writeFileSync(path, Buffer.concat([head, ...pairs, starter.subarray(headBytes)]))
  return path
}

function pair(key: string, kind: number, value: Buffer): Buffer {
  return Buffer.concat([text(key), u32(kind), value])
}

function text(content: string): Buffer {
  const bytes = Buffer.from(content)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(bytes.length))
  return Buffer.concat([length, bytes])
}

function u32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}
