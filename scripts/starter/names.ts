/** Hugging Face's names of a Llama's parts in ggml's words, and the one difference in their arithmetic. */
import { ggmlModules } from '../../src/models/adapters/peft.ts'
import type { Weights } from './safetensors-file.ts'

const parts: Record<string, string> = {
  ...ggmlModules,
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
}
const outer: Record<string, string> = { 'model.embed_tokens': 'token_embd', 'model.norm': 'output_norm' }

/** "model.layers.2.mlp.up_proj" → "blk.2.ffn_up". Throws Error for a part that a Llama does not have. */
export function ggmlName(name: string): string {
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)$/.exec(name) ?? []
  const known = part === undefined ? outer[name] : parts[part]
  if (known === undefined) throw new Error(`a Llama has no part ${name}`)
  return part === undefined ? known : `blk.${layer}.${known}`
}

/** Width of one attention head of the starter. */
export const headWidth = 64

/** Queries and keys are turned by their position. */
export function isTurned(name: string): boolean {
  return name.endsWith('.q_proj') || name.endsWith('.k_proj')
}

/** Hugging Face turns a head's number i with i + half, ggml 2i with 2i + 1: the rows of each head change places. */
export function turnedRows({ shape, data }: Weights): Weights {
  const [rows = 0, columns = 0] = shape
  const half = headWidth / 2
  const moved = new Float32Array(data.length)
  for (let row = 0; row < rows; row += 1) {
    const inHead = row % headWidth
    const from = row - inHead + Math.floor(inHead / 2) + (inHead % 2) * half
    moved.set(data.subarray(from * columns, (from + 1) * columns), row * columns)
  }
  return { shape, data: moved }
}
