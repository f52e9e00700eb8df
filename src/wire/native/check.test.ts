import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { z } from 'zod'
import { createKey } from './account.ts'
import { addModel } from './catalogue.ts'
import { check, problemsFault } from './check.ts'
import { createDeployment } from './deployment.ts'

const good = { name: 'prod', model_id: 'paddock/starter', gpu_type: 'cpu' }

/** The message for a body, after "<code>: "; '' when it is fine. */
function said(value: unknown, schema: z.ZodType = createDeployment): string {
  const { problems } = check(schema, value, 'body')
  if (problems.length === 0) return ''
  const fault = problemsFault(problems)
  return `${fault.code}: ${fault.message}`
}

const cases: [string, unknown, string][] = [
  ['the least', good, ''],
  [
    'everything',
    {
      ...good,
      gpu_count: 2,
      region: 'nyc2',
      replicas: 3,
      engine: { type: 'vllm', version: '0.24', max_model_len: 4096, max_num_seqs: 8, additional_args: ['--a'] },
    },
    '',
  ],
  ['an unknown field', { ...good, foo: 1 }, 'unknown_field: Unknown field "foo".'],
  ['an unknown nested field', { ...good, engine: { foo: 1 } }, 'unknown_field: Unknown field "engine.foo".'],
  ['a field of a later version', { ...good, budget: {} }, 'unknown_field: Unknown field "budget".'],
  [
    'a field that would reach the prototype',
    JSON.parse('{"name":"prod","model_id":"m","gpu_type":"cpu","__proto__":{"a":1}}'),
    'unknown_field: Unknown field "__proto__".',
  ],
  ['nothing', {}, 'invalid_request: name: is required. model_id: is required. gpu_type: is required.'],
  [
    'an unknown and a wrong field',
    { ...good, name: 5, foo: 1 },
    'unknown_field: name: must be a text; seen: 5. Unknown field "foo".',
  ],
  [
    'a unicode name',
    { ...good, name: 'größe-日本' },
    'invalid_request: name: must be 1 to 63 of a-z, 0-9 and "-"; seen: "größe-日本".',
  ],
  [
    'a name with a newline',
    { ...good, name: 'a\n' },
    'invalid_request: name: must be 1 to 63 of a-z, 0-9 and "-"; seen: "a\\n".',
  ],
  ['an empty name', { ...good, name: '' }, 'invalid_request: name: must be 1 to 63 of a-z, 0-9 and "-"; seen: "".'],
  ['a name that is null', { ...good, name: null }, 'invalid_request: name: must be a text; seen: null.'],
  ['a count as text', { ...good, gpu_count: '2' }, 'invalid_request: gpu_count: must be a number; seen: "2".'],
  ['a broken count', { ...good, replicas: 1.5 }, 'invalid_request: replicas: must be a whole number; seen: 1.5.'],
  ['a count of zero', { ...good, replicas: 0 }, 'invalid_request: replicas: must be at least 1; seen: 0.'],
  [
    'a wrong item of a list',
    { ...good, engine: { additional_args: ['--a', 7] } },
    'invalid_request: engine.additional_args[1]: must be a text; seen: 7.',
  ],
  [
    'an engine that nobody knows',
    { ...good, engine: { type: 'tgi' } },
    'invalid_request: engine.type: must be one of auto, llamacpp, llama-server, vllm, sglang, simulated; seen: "tgi".',
  ],
  [
    'an engine that is a text',
    { ...good, engine: 'vllm' },
    'invalid_request: engine: must be an object; seen: "vllm".',
  ],
  [
    'NUL in a model',
    { ...good, model_id: 'a\0b' },
    'invalid_request: model_id: must be well-formed text without NUL; seen: "a\\u0000b".',
  ],
  ['a list as the body', [good], 'invalid_request: The body must be an object; seen: a list.'],
  ['a text as the body', 'x', 'invalid_request: The body must be an object; seen: "x".'],
  ['null as the body', null, 'invalid_request: The body must be an object; seen: null.'],
]

for (const [what, body, expected] of cases)
  test(`create deployment with ${what}`, () => {
    assert.equal(said(body), expected)
  })

test('long values and long lists of problems are cut', () => {
  assert.ok(said({ ...good, name: 'x'.repeat(100_000) }).length < 300)
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`field${i}`, 1]))
  assert.match(said({ ...good, ...many }), /And 490 more\.$/)
})

test('a secret is never repeated, whatever field it landed in', () => {
  assert.doesNotMatch(said({ ...good, name: 'sk_live_Hello' }), /Hello/)
  assert.doesNotMatch(said({ ...good, name: 'Bearer Hello' }), /Hello/)
  assert.doesNotMatch(said({ name: 'k', expires_at: 'sk_Hello' }, createKey), /Hello/)
})

test('a key wish: names for people may be unicode, but nothing invisible; times are times', () => {
  assert.equal(said({ name: 'Größe 日本 🚀' }, createKey), '')
  assert.match(said({ name: 'a\u0007b' }, createKey), /must be text without control characters/)
  assert.match(said({ name: '   ' }, createKey), /must not be blank/)
  assert.match(said({ name: '\ud800' }, createKey), /control characters/)
  assert.match(said({ name: 'k', expires_at: 'tomorrow' }, createKey), /must be a time such as/)
  assert.match(said({ name: 'k', role: 'god' }, createKey), /must be one of owner, admin/)
})

test('what may be null as well is told as what it is otherwise', () => {
  const of = (entry: object) =>
    said({ id: 'a/b', source_repo: 'a/b', context_size: 1, tensor_type: 'X', ...entry }, addModel)
  assert.match(of({ tool_calls: 'morse' }), /tool_calls: must be one of llama3, .*; seen: "morse"\./)
  assert.match(of({ weight_bytes: 'many' }), /weight_bytes: must be a number; seen: "many"\./)
  assert.match(of({ config: 7 }), /config: must be an object; seen: 7\./)
  assert.equal(of({ tool_calls: null, config: null, weight_bytes: null }), '')
})
