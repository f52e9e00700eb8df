/** LoRA adapters made for tests: random ones of any strength that fit the model given, as GGUF. */
import { closeSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs'
import { type GgufTensor, ggufFile } from '../../../../scripts/starter/gguf-file.ts'
import { readGgufContents } from '../../../kernel/gguf.ts'
import { starterPath } from './testing.ts'

export interface TestAdapter {
  /** Another seed, another adapter. */
  seed: number
  rank?: number
  alpha?: number
  architecture?: string
  /** `general.base_model.0.repo_url`; absent = the file does not say. */
  base?: string
  /** Ends of the names of the tensors that it changes. */
  targets?: readonly string[]
  /** Other inputs than the model's tensors have. */
  inputs?: number
}

/** Writes it to `path`, which it returns. */
export function writeTestAdapter(path: string, adapter: TestAdapter, model = starterPath): string {
  const { rank = 4, alpha = 16, architecture = 'llama', base, targets = ['attn_q.weight', 'ffn_down.weight'] } = adapter
  const draw = draws(adapter.seed)
  const tensors = [...shapesOf(model)]
    .filter(([name]) => targets.some((target) => name.endsWith(target)))
    .flatMap(([name, [inputs = 0, outputs = 0]]) => [
      matrix(`${name}.lora_a`, adapter.inputs ?? inputs, rank, draw),
      matrix(`${name}.lora_b`, rank, outputs, draw),
    ])
  const pairs = {
    'general.type': { type: 'text', value: 'adapter' },
    'general.architecture': { type: 'text', value: architecture },
    'adapter.type': { type: 'text', value: 'lora' },
    'adapter.lora.alpha': { type: 'f32', value: alpha },
    ...(base === undefined ? {} : { 'general.base_model.0.repo_url': { type: 'text', value: base } as const }),
  } as const
  writeFileSync(path, ggufFile(pairs, tensors))
  return path
}

function shapesOf(path: string): ReadonlyMap<string, readonly number[]> {
  const fd = openSync(path, 'r')
  try {
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length)
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
    }
    return readGgufContents(read, fstatSync(fd).size, () => false).tensors
  } finally {
    closeSync(fd)
  }
}

function matrix(name: string, inputs: number, outputs: number, draw: () => number): GgufTensor {
  return { name, shape: [inputs, outputs], data: Float32Array.from({ length: inputs * outputs }, draw) }
}

/** From −0.5 to 0.5, by a 32-bit xorshift. */
function draws(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32 - 0.5
  }
}
