/** The trained starter as a GGUF file: matrices in Q8_0, norms whole. The output matrix is the embedding again. */
import { type GgufTensor, type GgufValue, ggufFile } from './gguf-file.ts'
import { ggmlName, headWidth, isTurned, turnedRows } from './names.ts'
import type { Weights } from './safetensors-file.ts'

/** What `train.py` writes of its tokenizer. */
export interface Vocabulary {
  tokens: string[]
  /** In order: "a b". */
  merges: string[]
  controls: string[]
}

export const contextTokens = 8192
const layers = 4
const innerWidth = 640
const allQ8 = 7
const typeNormal = 1
const typeControl = 3

/** White space around a message is dropped: it was never seen in training. */
const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

const text = (value: string): GgufValue => ({ type: 'text', value })
const whole = (value: number): GgufValue => ({ type: 'u32', value })
const number = (value: number): GgufValue => ({ type: 'f32', value })

export function modelFile(weights: ReadonlyMap<string, Weights>, vocabulary: Vocabulary): Buffer {
  const width = weights.get('model.norm.weight')!.shape[0]!
  return ggufFile({ ...about(width, vocabulary), ...tokenizer(vocabulary) }, [...weights].map(tensor))
}

function about(width: number, vocabulary: Vocabulary): Record<string, GgufValue> {
  return {
    'general.architecture': text('llama'),
    'general.type': text('model'),
    'general.name': text('Paddock starter'),
    'general.organization': text('Paddock'),
    'general.description': text('A tiny model that answers simple questions about Paddock.'),
    'general.license': text('apache-2.0'),
    'general.file_type': whole(allQ8),
    'general.quantization_version': whole(2),
    'llama.context_length': whole(contextTokens),
    'llama.embedding_length': whole(width),
    'llama.block_count': whole(layers),
    'llama.feed_forward_length': whole(innerWidth),
    'llama.attention.head_count': whole(width / headWidth),
    'llama.attention.head_count_kv': whole(1),
    'llama.attention.layer_norm_rms_epsilon': number(1e-5),
    'llama.rope.dimension_count': whole(headWidth),
    'llama.rope.freq_base': number(10000),
    'llama.vocab_size': whole(vocabulary.tokens.length),
  }
}

function tokenizer({ tokens, merges, controls }: Vocabulary): Record<string, GgufValue> {
  const id = (token: string) => whole(tokens.indexOf(token))
  const types = tokens.map((token) => (controls.includes(token) ? typeControl : typeNormal))
  return {
    'tokenizer.ggml.model': text('gpt2'),
    'tokenizer.ggml.pre': text('llama-bpe'),
    'tokenizer.ggml.tokens': { type: 'texts', value: tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: types },
    'tokenizer.ggml.merges': { type: 'texts', value: merges },
    'tokenizer.ggml.bos_token_id': id('<|endoftext|>'),
    'tokenizer.ggml.eos_token_id': id('<|im_end|>'),
    'tokenizer.ggml.padding_token_id': id('<|endoftext|>'),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.ggml.add_eos_token': { type: 'bool', value: false },
    'tokenizer.chat_template': text(chatTemplate),
  }
}

function tensor([name, weights]: [string, Weights]): GgufTensor {
  const part = name.replace(/\.weight$/, '')
  const { shape, data } = isTurned(part) ? turnedRows(weights) : weights
  return {
    name: `${ggmlName(part)}.weight`,
    shape: [...shape].reverse(),
    data,
    type: shape.length === 1 ? 'F32' : 'Q8_0',
  }
}
