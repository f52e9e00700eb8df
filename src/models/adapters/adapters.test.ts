/** Which files are LoRA adapters, and of which model: real GGUF files, PEFT folders written here, and damaged ones. */
import { strict as assert } from 'node:assert'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { starterPath } from '../../engines/llamacpp/worker/testing.ts'
import { writeTestAdapter } from '../../engines/llamacpp/worker/testing-adapter.ts'
import { Fault } from '../../kernel/fault.ts'
import { baseModel } from './base.ts'
import type { AdapterFile } from './file.ts'
import { mismatchOf } from './match.ts'
import { readAdapter } from './read.ts'
import { firstQueries, loraPair, type Peft, writePeft } from './testing.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-adapter-files-'))
after(() => rmSync(folder, { recursive: true }))
let number = 0
const fresh = () => join(folder, String(++number))
const starter = baseModel({ format: 'gguf', path: starterPath }, ['paddock/starter'])
const gguf = (over: object = {}) => readAdapter(writeTestAdapter(`${fresh()}.gguf`, { seed: 5, ...over }))
const why = (adapter: AdapterFile, base = starter, force = false) => mismatchOf(adapter, base, force)
const refused = (path: string): string => {
  try {
    readAdapter(path)
  } catch (error) {
    if (error instanceof Fault) return `${error.code} ${error.message}`
    throw error
  }
  return ''
}

/** llama-like: 64 wide, 4 heads of 16, 2 of keys and values, 128 inside, 2 layers. */
const q = firstQueries
const pair = loraPair
const peft = (over: Peft = {}) => writePeft(fresh(), over)
function model(config: object, names = ['acme/tiny-chat-awq']) {
  const path = fresh()
  mkdirSync(path)
  const shape = { hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 128 }
  const llama = { architectures: ['LlamaForCausalLM'], num_hidden_layers: 2, max_position_embeddings: 512, ...shape }
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...llama, ...config }))
  return baseModel({ format: 'safetensors', path }, names)
}

test('a GGUF adapter: what it says, and that it fits the model it was made for', () => {
  const adapter = gguf({ base: 'https://huggingface.co/paddock/starter' })
  assert.deepEqual([adapter.format, adapter.rank, adapter.architecture], ['gguf', 4, 'llama'])
  assert.deepEqual(adapter.bases, ['https://huggingface.co/paddock/starter'])
  assert.ok(adapter.changes.some(({ module }) => module === 'blk.0.attn_q'))
  assert.equal(why(adapter), null)
  assert.equal(why(gguf()), null, 'one that says nothing is judged by its shapes')
})

test('another model: by what it says, by its architecture, by its shapes', () => {
  const other = gguf({ base: 'acme/other' })
  assert.match(why(other)!, /^It was trained on "acme\/other"; this deployment serves "paddock\/starter"\.$/)
  assert.equal(why(other, starter, true), null, 'whoever insists is believed')
  assert.equal(why(gguf({ base: './out' })), null, 'a path says nothing')
  assert.match(why(gguf({ architecture: 'qwen2' }))!, /architecture "qwen2"; the model is "llama"/)
  const narrow = gguf({ inputs: 32 })
  assert.match(why(narrow, starter, true)!, /^It changes "blk\.0\.\w+" from 32 to \d+ channels; the model's has \d+ to/)
})

test('a PEFT adapter against a config: every matrix, and what nobody can judge', () => {
  const base = model({})
  const fits = (name: string, inputs: number, outputs: number) =>
    why(readAdapter(peft({ tensors: pair(name, inputs, outputs) })), base)
  const layer = (n: number, part: string) => `base_model.model.model.layers.${n}.${part}`
  for (const [part, inputs, outputs] of [
    ['self_attn.q_proj', 64, 64],
    ['self_attn.k_proj', 64, 32],
    ['self_attn.v_proj', 64, 32],
    ['self_attn.o_proj', 64, 64],
    ['mlp.gate_proj', 64, 128],
    ['mlp.up_proj', 64, 128],
    ['mlp.down_proj', 128, 64],
  ] as const) {
    assert.equal(fits(layer(1, part), inputs, outputs), null, part)
    assert.match(fits(layer(1, part), inputs, outputs + 1) ?? '', /channels/, part)
    assert.match(fits(layer(2, part), inputs, outputs) ?? '', /does not have/, part)
  }
  assert.equal(fits('base_model.model.lm_head', 1, 1), null)
  assert.equal(fits(layer(0, 'mixer.in_proj'), 1, 1), null)
  assert.match(why(readAdapter(peft()), model({}, ['acme/huge']))!, /"acme\/Tiny-Chat"/)
})

test('what is no adapter, or none that engines take, is refused with what is wrong', () => {
  const whole = readFileSync(writeTestAdapter(`${fresh()}.gguf`, { seed: 5 }))
  const written = (bytes: Buffer | string) => {
    const path = fresh()
    writeFileSync(path, bytes)
    return path
  }
  assert.match(refused(starterPath), /adapter_unreadable .*no LoRA adapter/)
  assert.match(refused(written(whole.subarray(0, whole.length - 40))), /adapter_unreadable .*cut off/)
  for (const bytes of [whole.subarray(0, 100), 'GGUF', '', 'hello'])
    assert.match(refused(written(bytes)), /^adapter_unreadable/)
  assert.match(refused(join(folder, 'nowhere')), /adapter_unreadable .*ENOENT/)
  for (const config of [null, 'x{', '[]', 'null']) assert.match(refused(peft({ config })), /adapter_config\.json/)
  const lora = { peft_type: 'LORA' }
  for (const [config, words] of [
    [{}, /peft_type is null/],
    [{ peft_type: 'IA3' }, /IA3/],
    [{ ...lora, use_dora: true }, /DoRA/],
    [{ ...lora, bias: 'all' }, /biases/],
    [{ ...lora, modules_to_save: ['lm_head'] }, /modules_to_save/],
  ] as const)
    assert.match(refused(peft({ config })), new RegExp(`adapter_not_supported.*${words.source}`))
  const half = { [`${q}.lora_A.weight`]: [8, 64] }
  const crooked = { [`${q}.lora_A.weight`]: [8, 64], [`${q}.lora_B.weight`]: [64, 4] }
  const none: Record<string, number[]>[] = [half, crooked, {}, { 'lora_unet.alpha': [1] }]
  for (const tensors of none) assert.match(refused(peft({ tensors })), /^adapter_unreadable/)
  assert.match(refused(peft({ cut: true })), /cut off/)
})
