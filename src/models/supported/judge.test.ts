import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../../kernel/fault.ts'
import { llamacppArchitectures, sglangArchitectures, vllmArchitectures } from './architectures.ts'
import { familyOf, judgeArchitecture, judgeLineage, unsupported } from './judge.ts'

test('no architecture is listed twice', () => {
  for (const list of [vllmArchitectures, sglangArchitectures, llamacppArchitectures])
    assert.equal(new Set(list).size, list.length)
})

for (const [format, architecture, engines, seesPictures] of [
  ['safetensors', 'LlamaForCausalLM', ['vllm', 'sglang'], false],
  ['safetensors', 'Llama4ForConditionalGeneration', ['vllm', 'sglang'], true],
  ['safetensors', 'JambaForCausalLM', ['vllm'], false],
  ['safetensors', 'MllamaForConditionalGeneration', ['sglang'], true],
  ['gguf', 'llama', ['llamacpp', 'llama-server'], false],
  ['gguf', 'deepseek2', ['llamacpp', 'llama-server'], false],
] as const)
  test(`${architecture} as ${format}`, () =>
    assert.deepEqual(judgeArchitecture(format, architecture), { ok: true, engines: [...engines], seesPictures }))

for (const [format, architecture, why] of [
  ['safetensors', 'BertModel', /Neither vLLM nor SGLang runs the architecture "BertModel"/],
  ['safetensors', 'llama', /Neither/],
  ['safetensors', '', /""/],
  ['gguf', 'LlamaForCausalLM', /llama\.cpp does not run/],
  ['gguf', 'nomic-bert', /makes embeddings and cannot talk/],
  ['gguf', 'clip', /llama\.cpp does not run/],
  ['gguf', `\u001b[31m${'x'.repeat(500)}`, /does not run the architecture "\\u001b\[31mx{59}"/],
] as const)
  test(`refused: ${format} ${architecture.slice(0, 20)}`, () => {
    const judged = judgeArchitecture(format, architecture)
    assert.ok(!judged.ok)
    assert.match(judged.why, why)
    assert.ok(judged.supported.includes(format === 'gguf' ? 'qwen3' : 'Qwen3ForCausalLM'))
  })

const known = [
  {
    id: 'meta-llama/llama-3.1-8b-instruct',
    repo: 'meta-llama/Llama-3.1-8B-Instruct',
    architecture: 'LlamaForCausalLM',
  },
  { id: 'qwen/qwen3-8b-fp8', repo: 'Qwen/Qwen3-8B-FP8', architecture: 'Qwen3ForCausalLM' },
]

test('a fine-tune rests on a base of its own family', () => {
  for (const named of [
    'meta-llama/Llama-3.1-8B-Instruct',
    'META-LLAMA/llama-3.1-8b-instruct',
    'https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/',
    'RedHatAI/Llama-3.1-8B-Instruct-FP8-dynamic',
    'somebody/Meta-Llama-3.1-8B-Instruct-GGUF',
  ])
    for (const own of ['LlamaForCausalLM', 'llama'])
      assert.deepEqual(judgeLineage(own, [named], known), { ok: true, base: known[0]!.id }, `${own} on ${named}`)
  assert.deepEqual(judgeLineage('qwen3', ['x/unknown', 'Qwen/Qwen3-8B'], known), { ok: true, base: known[1]!.id })
})

test('a base that is nobody’s, or none, leaves it to the architecture', () => {
  assert.deepEqual(judgeLineage('llama', [], known), { ok: true, base: null })
  assert.deepEqual(judgeLineage('llama', ['', 'x/y', 'https://'], known), { ok: true, base: null })
})

test('a base of another family is refused, with both names', () => {
  const judged = judgeLineage('Qwen3ForCausalLM', ['meta-llama/Llama-3.1-8B-Instruct'], known)
  assert.ok(!judged.ok)
  assert.match(
    judged.why,
    /rests on meta-llama\/llama-3.1-8b-instruct, which is "LlamaForCausalLM", but is itself "Qwen3/,
  )
})

test('the formats’ names of one family', () => {
  for (const [ours, gguf] of [
    ['LlamaForCausalLM', 'llama'],
    ['MistralForCausalLM', 'llama'],
    ['Qwen3MoeForCausalLM', 'qwen3moe'],
    ['DeepseekV3ForCausalLM', 'deepseek2'],
    ['GptOssForCausalLM', 'gpt-oss'],
    ['CohereForCausalLM', 'command-r'],
    ['Gemma3ForConditionalGeneration', 'gemma3'],
    ['GPT2LMHeadModel', 'gpt2'],
  ] as const)
    assert.equal(familyOf(ours), familyOf(gguf))
  assert.notEqual(familyOf('Qwen2ForCausalLM'), familyOf('qwen3'))
})

test('the fault names the model and what is supported', () => {
  const fault = unsupported('hf:x/y', 'Because.', ['a'])
  assert.ok(fault instanceof Fault)
  assert.deepEqual([fault.code, fault.status], ['model_not_supported', 422])
  assert.deepEqual(fault.detail, { model_id: 'hf:x/y', supported_architectures: ['a'] })
  assert.match(fault.action, /architectures listed/)
  const byBase = unsupported('hf:x/y', 'Because.', [])
  assert.deepEqual(byBase.detail, { model_id: 'hf:x/y' }, 'no list that lists nothing')
  assert.doesNotMatch(byBase.action, /listed/)
})
