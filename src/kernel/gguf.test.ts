import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { BrokenGguf, readGgufPairs } from './gguf.ts'

const file = readFileSync(join(import.meta.dirname, '../../models/starter/paddock-starter.gguf'))
const read = (bytes: Buffer) => (offset: number, length: number) => bytes.subarray(offset, offset + length)
const all = (bytes: Buffer) => readGgufPairs(read(bytes), bytes.length, () => true)

test('the wanted pairs, of every kind that is read', () => {
  const pairs = all(file)
  assert.equal(pairs.get('general.architecture'), 'llama')
  assert.equal(pairs.get('llama.context_length'), 8192)
  assert.equal(pairs.get('tokenizer.ggml.add_bos_token'), false)
  assert.ok(Math.abs((pairs.get('llama.attention.layer_norm_rms_epsilon') as number) - 1e-5) < 1e-9)
  assert.ok(pairs.get('tokenizer.ggml.token_type') instanceof Int32Array)
  assert.equal(pairs.has('tokenizer.ggml.tokens'), false)
  assert.deepEqual(
    [...readGgufPairs(read(file), file.length, (key) => key === 'general.type')],
    [['general.type', 'model']],
  )
})

test('cut anywhere in its header it is broken, never wrong', () => {
  const end = file.indexOf('tokenizer.chat_template') + 600
  for (let length = 0; length < end; length += 97)
    assert.throws(() => all(file.subarray(0, Math.min(length, end - 590))), BrokenGguf, `${length} bytes`)
})

test('numbers that promise the impossible are broken', () => {
  const huge = Buffer.from(file.subarray(0, 64))
  huge.writeBigUInt64LE(2n ** 60n, 16)
  assert.throws(() => all(huge), BrokenGguf)
  const strange = Buffer.from(file.subarray(0, 4096))
  strange.writeBigUInt64LE(2n ** 40n, 24)
  assert.throws(() => all(strange), BrokenGguf)
  assert.throws(() => all(Buffer.from('GGML')), /does not begin with GGUF/)
})
