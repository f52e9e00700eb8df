/** What the worker needs from the model file itself: llama.cpp's module does not show templates and token types. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { readGgufPairs } from '../../../kernel/gguf.ts'

export interface ModelHeader {
  chatTemplate: string | null
  /** `tokenizer.ggml.model`, e.g. gpt2, llama. */
  tokenizer: string
  /** By token id; 3 = control. Empty when the file does not say. */
  tokenTypes: Int32Array
  /** llama.cpp's number; 0 = no pooling: the model makes no embeddings. */
  poolingType: number
  /** What it calls itself, and the models that it comes from. */
  names: string[]
}

/** Largest header that is read. */
const headerBytesMaximum = 256 * 1024 * 1024
const wanted = new Set([
  'general.architecture',
  'general.name',
  'general.basename',
  'tokenizer.chat_template',
  'tokenizer.ggml.model',
  'tokenizer.ggml.token_type',
])

/** Throws BrokenGguf, or the file system's error. */
export function readModelHeader(path: string): ModelHeader {
  const fd = openSync(path, 'r')
  try {
    const limit = Math.min(fstatSync(fd).size, headerBytesMaximum)
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length)
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
    }
    const pairs = readGgufPairs(
      read,
      limit,
      (key) => wanted.has(key) || key.endsWith('.pooling_type') || isBaseName(key),
    )
    const template = pairs.get('tokenizer.chat_template')
    const tokenizer = pairs.get('tokenizer.ggml.model')
    const types = pairs.get('tokenizer.ggml.token_type')
    const pooling = pairs.get(`${pairs.get('general.architecture')}.pooling_type`)
    return {
      chatTemplate: typeof template === 'string' ? template : null,
      tokenizer: typeof tokenizer === 'string' ? tokenizer : '',
      tokenTypes: types instanceof Int32Array ? types : new Int32Array(0),
      poolingType: Number(pooling ?? 0),
      names: [...pairs].flatMap(([key, value]) =>
        typeof value === 'string' && (/^general\.(base)?name$/.test(key) || isBaseName(key)) ? [value] : [],
      ),
    }
  } finally {
    closeSync(fd)
  }
}

function isBaseName(key: string): boolean {
  return /^general\.base_model\.\d{1,2}\.(name|repo_url)$/.test(key)
}
