import { strict as assert } from 'node:assert'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { localModel } from './local-file.ts'

const root = mkdtempSync(join(tmpdir(), 'paddock-models-'))
const allowed = join(root, 'allowed')
mkdirSync(join(allowed, 'sub'), { recursive: true })
mkdirSync(join(root, 'allowed-not'))
after(() => rmSync(root, { recursive: true }))

const text = (value: string) => Buffer.concat([u64(value.length), Buffer.from(value)])
const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)

/** A header with tokens to skip and the two keys that are read. */
function header(pairs: Buffer[], count = pairs.length): Buffer {
  return Buffer.concat([Buffer.from('GGUF'), u32(3), u64(0), u64(count), ...pairs])
}
const architecture = Buffer.concat([text('general.architecture'), u32(8), text('llama')])
const context = Buffer.concat([text('llama.context_length'), u32(4), u32(4096)])
const tokens = Buffer.concat([text('tokenizer.ggml.tokens'), u32(9), u32(8), u64(2), text('a'), text('bc')])
const scores = Buffer.concat([text('tokenizer.ggml.scores'), u32(9), u32(6), u64(2), Buffer.alloc(8)])

function put(name: string, bytes: Buffer): string {
  const path = join(allowed, name)
  writeFileSync(path, bytes)
  return path
}

function faultOf(path: string, folders = [allowed]): string {
  try {
    localModel(path, folders)
  } catch (error) {
    if (error instanceof Fault) return error.code
    throw error
  }
  return 'no fault'
}

test('a file inside an allowed folder gives its context length', () => {
  const path = put('sub/good.gguf', header([tokens, scores, context, architecture]))
  assert.equal(localModel(path, [allowed]).files.contextSize, 4096)
  assert.equal(localModel(`file://${path}`, [allowed]).files.format, 'gguf')
})

test('outside, relative, missing, traversing and linked-out paths are refused alike', () => {
  writeFileSync(join(root, 'allowed-not', 'secret.gguf'), header([architecture, context]))
  symlinkSync(join(root, 'allowed-not', 'secret.gguf'), join(allowed, 'link.gguf'))
  const paths = [
    join(root, 'allowed-not', 'secret.gguf'),
    join(allowed, '..', 'allowed-not', 'secret.gguf'),
    `${allowed}/../allowed-not/secret.gguf`,
    join(allowed, 'link.gguf'),
    join(allowed, 'missing.gguf'),
    'sub/good.gguf',
    '../../etc/passwd',
    '/etc/passwd',
    `${allowed}/a\0b.gguf`,
    `/${'x'.repeat(5000)}`,
  ]
  for (const path of paths) assert.equal(faultOf(path), 'model_path_not_allowed', path)
  assert.equal(faultOf(join(allowed, 'sub', 'good.gguf'), []), 'model_path_not_allowed')
})

test('an architecture that llama.cpp does not run is refused with those that it does', () => {
  const named = (name: string) => [
    Buffer.concat([text('general.architecture'), u32(8), text(name)]),
    Buffer.concat([text(`${name}.context_length`), u32(4), u32(4096)]),
  ]
  assert.equal(faultOf(put('clip.gguf', header(named('clip')))), 'model_not_supported')
  assert.equal(faultOf(put('bert.gguf', header(named('bert')))), 'no fault')
})

test('one that names a base of another family is refused; an unknown base is none', () => {
  const base = Buffer.concat([text('general.base_model.0.repo_url'), u32(8), text('https://hub.example/Qwen/Qwen3-8B')])
  const path = put('tuned.gguf', header([architecture, context, base]))
  const qwen = { id: 'qwen3-8b', repo: 'Qwen/Qwen3-8B', architecture: 'Qwen3ForCausalLM' }
  assert.throws(() => localModel(path, [allowed], [qwen]), /rests on qwen3-8b, which is "Qwen3ForCausalLM"/)
  assert.equal(localModel(path, [allowed], [{ ...qwen, architecture: 'MistralForCausalLM' }]).files.format, 'gguf')
  assert.equal(localModel(path, [allowed], []).files.format, 'gguf')
})

test('its shape, when the header says enough', () => {
  const number = (key: string, value: number) => Buffer.concat([text(`llama.${key}`), u32(4), u32(value)])
  const whole = [
    ...[number('block_count', 2), number('embedding_length', 64), number('attention.head_count', 4)],
    ...[architecture, context],
  ]
  const { shape, files } = localModel(put('whole.gguf', header(whole)), [allowed])
  assert.deepEqual([shape?.layers, shape?.keyDim, shape?.weightBytes], [2, 16, files.sizeBytes])
  assert.equal(localModel(put('sparse.gguf', header([architecture, context])), [allowed]).shape, null)
})

test('what is not a usable GGUF file says so', () => {
  const cases: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    text: Buffer.from('hello world, this is no model'),
    'version 1': Buffer.concat([Buffer.from('GGUF'), u32(1), u64(0), u64(0)]),
    truncated: header([architecture, context]).subarray(0, 60),
    'claims more keys than there are': header([architecture, context], 3),
    'huge string': header([Buffer.concat([text('general.architecture'), u32(8), u64(2 ** 40)])]),
    'no context length': header([architecture]),
    'no architecture': header([context]),
    'unknown value type': header([Buffer.concat([text('x'), u32(77)])]),
  }
  for (const [name, bytes] of Object.entries(cases))
    assert.equal(faultOf(put(`${name}.gguf`, bytes)), 'model_file_unreadable', name)
  assert.equal(faultOf(join(allowed, 'sub')), 'model_file_unreadable')
})
