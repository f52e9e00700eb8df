/** Additional arguments of engines: exact names, once, each with its value; every trick gets a sentence. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { argumentProblems } from './contract.arguments.ts'
import { formArgs, thoughtForms, toolCallForms } from './contract.forms.ts'
import { serverArguments } from './llamacpp/arguments.ts'
import { sglangArguments, sglangForms } from './sglang/arguments.ts'
import { known as sglangKnown } from './sglang/versions.ts'
import { vllmArguments, vllmForms } from './vllm/arguments.ts'
import { known as vllmKnown } from './vllm/versions.ts'

const vllm = (...given: string[]) => argumentProblems(vllmArguments, given, vllmKnown.newest)
const sglang = (...given: string[]) => argumentProblems(sglangArguments, given, sglangKnown.newest)

test('what is on the list passes, each with a value of its kind', () => {
  const ngram = '{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":4}'
  assert.deepEqual(vllm('--gpu-memory-utilization', '0.85', '--enforce-eager', '--speculative-config', ngram), [])
  assert.deepEqual(vllm('--enable-auto-tool-choice', '--tool-call-parser', 'hermes', '--reasoning-parser', 'qwen3'), [])
  assert.deepEqual(sglang('--mem-fraction-static', '0.8', '--chunked-prefill-size', '-1', '--disable-radix-cache'), [])
})

const tricks: [given: string[], says: RegExp][] = [
  [['--gpu-memory-util', '0.5'], /"--gpu-memory-util" is not written so; write --gpu-memory-utilization\./],
  [['--enforce_eager'], /write --enforce-eager/],
  [['--enforce-eager=true'], /"--enforce-eager=true" holds its value; write "--enforce-eager" and the value after it/],
  [
    ['--speculative-config.method', 'ngram'],
    /reaches into an object; give --speculative-config the whole of it as JSON/,
  ],
  [['--speculative_config.model', '/etc'], /reaches into an object/],
  [['--speculative-config.methods+', 'a'], /reaches into an object/],
  [['--config', 'x.yaml'], /would read arguments from a file; write them here one by one/],
  [['--conf', 'x.yaml'], /would read arguments from a file/],
  [['--config=x.yaml'], /would read arguments from a file/],
  [['--seed', '1', '--seed', '2'], /--seed is given twice/],
  [['--enforce-eager', '--enforce-eager'], /--enforce-eager is given twice/],
  [['-tp', '4'], /names begin with two hyphens/],
  [['-O3'], /names begin with two hyphens/],
  [['--'], /is not allowed/],
  [[''], /is no argument/],
  [['--port', '1'], /"--port" is set by the deployment itself; leave it out here/],
  [['--host=0.0.0.0'], /is set by the deployment itself/],
  [['--max-model-len', '99'], /is set by engine\.max_model_len/],
  [['--max_num_seqs', '99'], /is set by engine\.max_num_seqs/],
  [['--tensor-parallel-size', '2'], /is set by gpu_count/],
  [['--enable-lora'], /is set by the deployment’s adapters/],
  [['--lora-modules', 'a=/etc'], /is set by the deployment’s adapters/],
  [['--middlew', 'a.b'], /"--middlew" is not for deployments to set/],
  [['--trust-remote-code'], /is not for deployments to set/],
  [['--TRUST-REMOTE-CODE'], /is not allowed with vLLM/],
  [['--ѕeed', '1'], /is not allowed with vLLM/],
  [['--__proto__', '1'], /is not allowed with vLLM/],
  [['--toString'], /is not allowed with vLLM/],
  [['--seed'], /--seed needs a value after it/],
  [['--seed', '--enforce-eager'], /--seed needs a value after it/],
  [['--seed', '1e9'], /--seed needs a whole number from 0 to \d+; seen: "1e9"/],
  [['--seed', '1\n2'], /needs a whole number/],
  [['--seed', '-1'], /from 0 to/],
  [['--gpu-memory-utilization', '7'], /--gpu-memory-utilization needs a number from 0\.05 to 1; seen: "7"/],
  [['--gpu-memory-utilization', '0'], /needs a number from 0\.05 to 1/],
  [['--gpu-memory-utilization', '-0.5'], /needs a number from 0\.05 to 1/],
  [['--max-num-batched-tokens', '2.5'], /needs a whole number/],
  [['--dtype', 'int8'], /--dtype must be one of auto, half/],
  [['--speculative-config', 'ngram'], /needs a JSON object/],
  [['--speculative-config', '[]'], /needs a JSON object/],
  [['--speculative-config', '{}'], /needs a method/],
  [['--speculative-config', '{"method":"eagle3"}'], /takes the methods ngram/],
  [['--speculative-config', '{"method":"ngram","model":"/etc/passwd"}'], /takes no "model"/],
  [['--speculative-config', '{"method":"ngram","num_speculative_tokens":1000}'], /from 1 to 32/],
  [['x'.repeat(1000)], /"x{80}" is no argument/],
]
for (const [given, says] of tricks)
  test(`vLLM with ${JSON.stringify(given).slice(0, 80)}`, () => {
    const problems = vllm(...given)
    assert.equal(problems.length, 1, problems.join(' '))
    assert.match(problems[0]!, says)
    assert.match(problems[0]!, /^engine\.additional_args: /)
  })

test('no other spelling of a name that is not for deployments passes, with any engine', () => {
  for (const list of [vllmArguments, sglangArguments, serverArguments])
    for (const name of Object.keys(list.own))
      for (const spelling of [
        name,
        name.replaceAll('-', '_').replace('__', '--'),
        name.slice(0, -1),
        `${name}=1`,
        `${name}.a`,
      ])
        assert.notDeepEqual(argumentProblems(list, [spelling, '1'], '99.0.0'), [], `${list.engine} ${spelling}`)
})

test('short names of SGLang', () => {
  assert.match(sglang('--tp', '2')[0]!, /is set by gpu_count/)
  assert.match(sglang('--lora-path', 'a')[0]!, /adapters/)
  assert.match(sglang('--admin-api-key', 'a')[0]!, /the deployment itself/)
  assert.match(sglang('--log-requests')[0]!, /is not for deployments to set/)
})

const server = (...given: string[]) => argumentProblems(serverArguments, given, '')

test('llama-server: once, and with values that it starts with', () => {
  const fine = ['--batch-size', '512', '--n-gpu-layers', 'all', '--tensor-split', '3,1.5', '--flash-attn', 'auto']
  assert.deepEqual(server(...fine, '--n-gpu-layers', '33').length, 1)
  assert.deepEqual(server(...fine, '--pooling', 'mean', '--embeddings', '--rope-scale', '2.5'), [])
  for (const [given, says] of [
    [['--batch-size', 'many'], /--batch-size needs a whole number from 1 to 65536; seen: "many"/],
    [['--batch-size', '1', '--batch-size', '2'], /is given twice/],
    [['--n-gpu-layers', '-1'], /needs auto, all or a whole number from 0 to 1000/],
    [['--tensor-split', '3,,1'], /needs a number for each of at most 16 GPUs/],
    [['--cache-type-k', 'q3'], /must be one of f32, f16/],
    [['--ctx-size', '1'], /is set by engine\.max_model_len/],
    [['--parallel', '1'], /is set by engine\.max_num_seqs/],
    [['--lora', '/etc/passwd'], /is set by the deployment’s adapters/],
    [['--rpc', '10.0.0.1:1'], /is not for deployments to set/],
    [['-c', '5'], /names begin with two hyphens/],
  ] as [string[], RegExp][]) {
    const problems = server(...given)
    assert.equal(problems.length, 1, problems.join(' '))
    assert.match(problems[0]!, says)
  }
})

for (const [list, names] of [
  [vllmArguments, vllmForms],
  [sglangArguments, sglangForms],
] as const)
  test(`${list.engine} knows each form of calls and thoughts, and what somebody names goes before it`, () => {
    for (const toolCalls of toolCallForms)
      for (const thoughts of thoughtForms) {
        const args = formArgs({ toolCalls, thoughts }, names, [])
        assert.deepEqual(argumentProblems(list, args, '99.0.0'), [], args.join(' '))
        assert.deepEqual(args, [
          ...names.withToolCalls,
          ...['--tool-call-parser', names.toolCalls[toolCalls], '--reasoning-parser', names.thoughts[thoughts]],
        ])
      }
    const forms = { toolCalls: 'llama3', thoughts: 'qwen3' } as const
    const own = ['--tool-call-parser', 'x', '--reasoning-parser', 'y']
    assert.deepEqual(formArgs(forms, names, own), names.withToolCalls)
    assert.deepEqual(formArgs({}, names, []), [])
  })

test('every problem is told, each in its sentence', () => {
  assert.equal(vllm('--port', '1', '--seed', 'x', '--nope', 'v', '--enforce-eager').length, 3)
})
