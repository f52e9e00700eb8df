/**
 * Generates the starter model: a Llama-architecture GGUF with random weights, the same bytes on every machine (integer
 * random numbers, no transcendental functions). Run it to write the file: `node scripts/make-starter.ts`.
 *
 * One channel of the hidden state is constant: every embedding has the same value there and no layer writes to it. The
 * output row of a token carries the token's loudness in that channel, which keeps bytes and markers from being said.
 */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type GgufTensor, type GgufValue, ggufFile } from './starter/gguf-file.ts'
import { mergeLines, type StarterToken, starterVocabulary } from './starter/vocabulary.ts'

const seed = 0x9add0c
const width = 64
const layers = 2
const heads = 4
const keyValueHeads = 2
const headWidth = width / heads
const innerWidth = 128
const contextTokens = 8192
/** Value of the constant channel, and its size in a final hidden state of unit variance. */
const constant = 4
const constantAfterNorm = 2.4
/** Spread of the logits: larger = the model is surer of its nonsense. */
const outputSpread = 0.22

const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

export const starterPath = join(import.meta.dirname, '..', 'models', 'starter', 'paddock-starter.gguf')

export function makeStarter(): Buffer {
  const vocabulary = starterVocabulary()
  return ggufFile(metadata(vocabulary), tensors(vocabulary))
}

function metadata(vocabulary: StarterToken[]): Record<string, GgufValue> {
  const id = (text: string) => vocabulary.findIndex((token) => token.text === text)
  return {
    'general.architecture': { type: 'text', value: 'llama' },
    'general.type': { type: 'text', value: 'model' },
    'general.name': { type: 'text', value: 'Paddock starter (random weights)' },
    'general.license': { type: 'text', value: 'apache-2.0' },
    'general.file_type': { type: 'u32', value: 0 },
    'llama.context_length': { type: 'u32', value: contextTokens },
    'llama.embedding_length': { type: 'u32', value: width },
    'llama.block_count': { type: 'u32', value: layers },
    'llama.feed_forward_length': { type: 'u32', value: innerWidth },
    'llama.attention.head_count': { type: 'u32', value: heads },
    'llama.attention.head_count_kv': { type: 'u32', value: keyValueHeads },
    'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: 1e-5 },
    'llama.rope.dimension_count': { type: 'u32', value: headWidth },
    'llama.rope.freq_base': { type: 'f32', value: 10000 },
    'llama.vocab_size': { type: 'u32', value: vocabulary.length },
    'tokenizer.ggml.model': { type: 'text', value: 'gpt2' },
    // With this pre-tokenizer a word that is in the vocabulary is taken whole, without a chain of merges.
    'tokenizer.ggml.pre': { type: 'text', value: 'llama-bpe' },
    'tokenizer.ggml.tokens': { type: 'texts', value: vocabulary.map((token) => token.text) },
    'tokenizer.ggml.token_type': { type: 'i32s', value: vocabulary.map((t) => (t.kind === 'control' ? 3 : 1)) },
    'tokenizer.ggml.merges': { type: 'texts', value: mergeLines() },
    'tokenizer.ggml.bos_token_id': { type: 'u32', value: id('<|endoftext|>') },
    'tokenizer.ggml.eos_token_id': { type: 'u32', value: id('<|im_end|>') },
    'tokenizer.ggml.padding_token_id': { type: 'u32', value: id('<|endoftext|>') },
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.ggml.add_eos_token': { type: 'bool', value: false },
    'tokenizer.chat_template': { type: 'text', value: chatTemplate },
  }
}

function tensors(vocabulary: StarterToken[]): GgufTensor[] {
  const draw = bellDraws(seed)
  const size = vocabulary.length
  const embedding = matrix('token_embd.weight', width, size, () => draw())
  for (let row = 0; row < size; row += 1) embedding.data[row * width] = constant
  const blocks = Array.from({ length: layers }, (_, layer) => block(`blk.${layer}`, draw)).flat()
  const output = matrix('output.weight', width, size, () => draw() * outputSpread)
  vocabulary.forEach(({ loudness }, row) => {
    if (loudness <= -60) output.data.fill(0, row * width, (row + 1) * width)
    output.data[row * width] = loudness / constantAfterNorm
  })
  return [embedding, ...blocks, ones('output_norm.weight'), output]
}

function block(name: string, draw: () => number): GgufTensor[] {
  const keyValueWidth = keyValueHeads * headWidth
  const spread =
    (inputs: number, gain = 1) =>
    () =>
      (draw() * gain) / Math.sqrt(inputs)
  return [
    ones(`${name}.attn_norm.weight`),
    matrix(`${name}.attn_q.weight`, width, width, spread(width, 2)),
    matrix(`${name}.attn_k.weight`, width, keyValueWidth, spread(width, 2)),
    matrix(`${name}.attn_v.weight`, width, keyValueWidth, spread(width)),
    silentFirstRow(matrix(`${name}.attn_output.weight`, width, width, spread(width))),
    ones(`${name}.ffn_norm.weight`),
    matrix(`${name}.ffn_gate.weight`, width, innerWidth, spread(width)),
    matrix(`${name}.ffn_up.weight`, width, innerWidth, spread(width)),
    silentFirstRow(matrix(`${name}.ffn_down.weight`, innerWidth, width, spread(innerWidth))),
  ]
}

function matrix(name: string, inputs: number, outputs: number, draw: () => number): GgufTensor {
  return { name, shape: [inputs, outputs], data: Float32Array.from({ length: inputs * outputs }, draw) }
}

function ones(name: string): GgufTensor {
  return { name, shape: [width], data: new Float32Array(width).fill(1) }
}

function silentFirstRow(tensor: GgufTensor): GgufTensor {
  tensor.data.fill(0, 0, tensor.shape[0])
  return tensor
}

/** Numbers with mean 0 and variance 1, near a bell curve: sums of twelve uniform ones from a 32-bit xorshift. */
function bellDraws(start: number): () => number {
  let state = start
  const uniform = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  return () => {
    let sum = -6
    for (let i = 0; i < 12; i += 1) sum += uniform()
    return sum
  }
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

if (import.meta.main) {
  const bytes = makeStarter()
  writeFileSync(starterPath, bytes)
  process.stdout.write(`${bytes.length} bytes, sha256 ${sha256(bytes)}\n`)
}
