import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RefusedField } from './contract.fields.ts'
import type { InferenceRoute } from './contract.ts'
import { embedded } from './llamacpp/embedded.ts'
import { llamaServer } from './llamacpp/server.ts'
import { sglang } from './sglang/driver.ts'
import { simulated } from './simulated/driver.ts'
import { vllm } from './vllm/driver.ts'

const engines: Record<string, RefusedField> = {
  llamacpp: embedded.refusedField,
  'llama-server': llamaServer.refusedField,
  simulated: simulated.refusedField,
  vllm: vllm.refusedField,
  sglang: sglang.refusedField,
}
/** Each reaches past the gateway in at least one engine; none is passed to any. */
const steering = [
  'id_slot slot_id cache_prompt n_cache_reuse n_keep n_discard lora lora_path lora_request cache_salt extra_key',
  'chat_template n_predict n_cmpl t_max_predict_ms samplers response_fields return_tokens timings_per_token __verbose',
  'speculative.n_max speculative.type grammar_triggers kv_transfer_params vllm_xargs logits_processors priority',
  'mm_processor_kwargs media_io_kwargs request_id rid session_params bootstrap_host bootstrap_port bootstrap_room',
  'custom_logit_processor custom_params return_hidden_states data_parallel_rank mcp_servers guided_json container',
  'Model MODEL __proto__ constructor toString hasOwnProperty models_autoload sse_ping_interval audio',
]
  .join(' ')
  .split(' ')
const routes: InferenceRoute[] = ['chat/completions', 'completions', 'embeddings', 'responses', 'rerank', 'messages']
const parsed = (text: string) => JSON.parse(text) as Record<string, unknown>

test('what steers an engine reaches none, on no route, under no spelling', () => {
  for (const [name, refused] of Object.entries(engines))
    for (const route of routes)
      for (const field of steering) {
        for (const value of ['1', 'null', '{}']) {
          assert.equal(refused(route, parsed(`{"model":"m","${field}":${value}}`)), field, `${name} ${route} ${field}`)
        }
        const escaped = [...field].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
        assert.equal(refused(route, parsed(`{"${escaped}":1,"model":"m"}`)), field)
      }
})

test('what the clients of the public APIs send passes to all', () => {
  const bodies: [InferenceRoute, object][] = [
    [
      'chat/completions',
      {
        model: 'm',
        messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }] }],
        stream: true,
        stream_options: { include_usage: true, include_obfuscation: false },
        max_completion_tokens: 5,
        temperature: 0,
        top_k: 40,
        response_format: { type: 'json_schema', json_schema: { name: 'a', schema: {} } },
        tools: [{ type: 'function', function: { name: 'a', parameters: { type: 'object', properties: { url: {} } } } }],
        tool_choice: { type: 'function', function: { name: 'a' } },
        logit_bias: { 5: 1 },
        metadata: { chat_template: 'a name that somebody gave' },
        user: 'ada',
        prompt_cache_key: 'k',
        reasoning_effort: 'low',
      },
    ],
    ['completions', { model: 'm', prompt: ['a'], max_tokens: 5, echo: false, logprobs: 1, suffix: null, best_of: 1 }],
    ['embeddings', { model: 'm', input: ['a'], encoding_format: 'base64', dimensions: 64 }],
    ['rerank', { model: 'm', query: 'a', documents: ['b', 'c'], top_n: 1, return_documents: true }],
    ['responses', { model: 'm', input: [], instructions: 'a', text: { format: { type: 'text' } }, store: false }],
    ['messages', { model: 'm', max_tokens: 5, system: 'a', messages: [], tools: [{ name: 'a', input_schema: {} }] }],
  ]
  for (const [name, refused] of Object.entries(engines))
    for (const [route, body] of bodies) assert.equal(refused(route, body as never), null, `${name} ${route}`)
})

test('each engine has fields of its own, which the others do not get', () => {
  const own: [string, string, unknown][] = [
    ['vllm', 'structured_outputs', { regex: 'a+' }],
    ['vllm', 'bad_words', ['a']],
    ['sglang', 'separate_reasoning', true],
    ['sglang', 'ebnf', 'root ::= "a"'],
    ['llama-server', 'mirostat', 2],
    ['llama-server', 'dry_multiplier', 0.5],
  ]
  for (const [owner, field, value] of own)
    for (const [name, refused] of Object.entries(engines))
      assert.equal(refused('chat/completions', { [field]: value }), name === owner ? null : field, `${name} ${field}`)
  assert.equal(llamaServer.refusedField('completions', { reasoning_format: 'none' }), 'reasoning_format')
})

test('members of fields are on lists too', () => {
  const cases: [string, object, string][] = [
    ['vllm', { chat_template_kwargs: { enable_thinking: false } }, ''],
    ['vllm', { chat_template_kwargs: { chat_template: '{{ a }}' } }, 'chat_template_kwargs.chat_template'],
    ['vllm', { chat_template_kwargs: { tokenize: true } }, 'chat_template_kwargs.tokenize'],
    ['vllm', { structured_outputs: { json: {}, _backend: 'a' } }, 'structured_outputs._backend'],
    ['sglang', { chat_template_kwargs: { add_vision_id: true } }, 'chat_template_kwargs.add_vision_id'],
    ['sglang', { response_format: { type: 'structural_tag', structures: [], triggers: [] } }, ''],
    ['llama-server', { response_format: { type: 'json_object', schema: {} } }, ''],
    ['llamacpp', { response_format: { type: 'json_object', grammar: 'a' } }, 'response_format.grammar'],
    ['llamacpp', { stream_options: { include_usage: true, slot: 1 } }, 'stream_options.slot'],
  ]
  for (const [name, body, path] of cases)
    assert.equal(engines[name]!('chat/completions', body as never) ?? '', path, `${name} ${JSON.stringify(body)}`)
})

test('tools are run by the client: those that have the engine call out are refused', () => {
  const tools: [unknown, string | null][] = [
    [
      [
        { type: 'function', function: {} },
        { type: 'mcp', server_url: 'http://10.0.0.1/' },
      ],
      'tools[1].type',
    ],
    [[{ type: 'web_search_20250305', name: 'web_search' }], 'tools[0].type'],
    [[{ type: ['function'] }], 'tools[0].type'],
    [[{ type: null }], 'tools[0].type'],
    [{ 0: { type: 'mcp' } }, 'tools'],
    [[null, 7, { type: 'custom' }], null],
  ]
  for (const [value, path] of tools)
    for (const [name, refused] of Object.entries(engines))
      for (const route of ['chat/completions', 'responses', 'messages'] as const)
        assert.equal(refused(route, { tools: value }), path, `${name} ${JSON.stringify(value)}`)
})
