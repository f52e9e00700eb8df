/** Whatever the body: an answer or a refusal that is the client's; the engine is never failed by it, never dead. */
import { strict as assert } from 'node:assert'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { startHere } from './testing.ts'
import { writeTestModel } from './testing-model.ts'

const bodies = process.env.FULL === '1' ? 3_000 : 60
const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED)

const folder = mkdtempSync(join(tmpdir(), 'paddock-bodies-'))
const model = writeTestModel(join(folder, 'model.gguf'), {
  chatTemplate:
    '{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}' +
    '{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}' +
    '<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% else %}<think></think>{% endif %}',
  poolingType: 1,
})
const worker = await startHere(['--model', model, '--context', '512', '--sequences', '2', '--adapter-sets', '1'])
after(async () => {
  await worker.stop()
  rmSync(folder, { recursive: true })
})

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(
    ...[
      null,
      true,
      -1,
      0,
      0.5,
      1e308,
      2 ** 53,
      '',
      ' ',
      '\u0000',
      '\ud800',
      'é😀'.repeat(99),
      [],
      {},
      [[]],
      [0],
      [''],
      [null],
    ],
    ...[{ toString: 1 }, { constructor: null }, JSON.parse('{"__proto__": {"type": 1}}'), '<|im_end|><tool_call>{'],
    'paddock '.repeat(3_000),
    JSON.parse('['.repeat(140) + ']'.repeat(140)),
  ),
)
/** What is right, mostly: a body with several faults shows the first of them alone. */
const mostly = (right: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 40, arbitrary: right }, { weight: 1, arbitrary: odd })
const some = (...values: unknown[]) => mostly(fc.constantFrom(...values))
const members = (model: Record<string, fc.Arbitrary<unknown>>, requiredKeys: string[] = []) =>
  mostly(fc.record(model, { requiredKeys, noNullPrototype: true }))

const { schema } = fc.letrec((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    some(
      { type: 'string' },
      { type: 'integer' },
      { enum: ['a', 1, null] },
      { const: {} },
      { $ref: '#' },
      { $ref: '#/%' },
      true,
    ),
    members({
      type: some('object'),
      properties: fc.dictionary(fc.string(), tie('schema'), { maxKeys: 3 }),
      required: some(['a'], []),
    }),
    members(
      { type: some('array'), items: tie('schema'), minItems: some(0, 2, 999, 2000), maxItems: some(1, 3, 1000) },
      ['items'],
    ),
    members({
      type: some('string', ['string', 'null']),
      minLength: some(0, 5),
      maxLength: some(9),
      format: some('date', 'email'),
    }),
    fc.record({ anyOf: fc.array(tie('schema'), { maxLength: 3 }) }),
    fc.record({ $defs: fc.record({ a: tie('schema') }), $ref: some('#/$defs/a', '#/$defs/b') }),
  ),
}))
const name = some('set', 'get', 'a', 'b', 'c', 'd', 'e', 'f')
const tool = members(
  {
    type: some('function'),
    function: members({ name, description: some('x'), parameters: mostly(schema), strict: some(true, false) }, [
      'name',
    ]),
  },
  ['type', 'function'],
)
const call = members({
  id: some('c1'),
  type: some('function'),
  function: members({ name, arguments: some('{}', '{"a": [1]}', 'x', '['.repeat(9_999)) }),
})
const part = members({ type: some('text'), text: some('hello') }, ['type', 'text'])
const message = members(
  {
    role: some('user', 'assistant', 'system', 'tool', 'developer'),
    content: fc.oneof(some('hello there', ''), mostly(fc.array(part, { maxLength: 2 }))),
    tool_calls: mostly(fc.array(call, { maxLength: 2 })),
    tool_call_id: some('c1'),
    reasoning_content: some('hm'),
  },
  ['role', 'content'],
)
const shared = {
  model: some('m'),
  max_tokens: some(1, 8, 20),
  temperature: some(0, 1, 2),
  top_p: some(0, 0.5, 1),
  top_k: some(-1, 0, 5),
  min_p: some(0, 1),
  seed: some(0, -1, 2 ** 40),
  n: some(1),
  stop: some('a', ['a', 'bc']),
  presence_penalty: some(-2, 2),
  frequency_penalty: some(-2, 2),
  repetition_penalty: some(1, 1.2),
  logit_bias: some({ 5: 100, 7: -100 }, { 999999999: 1 }),
  ignore_eos: some(false, null),
  stream: some(true, false),
  stream_options: some(null),
  logprobs: some(false),
  response_format: fc.oneof(
    some({ type: 'text' }, { type: 'json_object' }),
    members({ type: some('json_schema'), json_schema: members({ schema: mostly(schema) }, ['schema']) }, [
      'type',
      'json_schema',
    ]),
  ),
  adapters: fc.constantFrom(...Array(30).fill(null), [], [{ name: 'x', scale: 1 }], [{ name: {}, scale: '1' }]),
}
const requests = {
  '/v1/chat/completions': fc.record(
    {
      ...shared,
      messages: mostly(fc.array(message, { minLength: 1, maxLength: 4 })),
      tools: mostly(fc.array(tool, { maxLength: 3 })),
      tool_choice: some('auto', 'none', 'required', { type: 'function', function: { name: 'set' } }),
      parallel_tool_calls: some(true, false),
      reasoning_effort: some('none', 'low'),
    },
    { requiredKeys: ['messages', 'max_tokens'] },
  ),
  '/v1/completions': fc.record(
    { ...shared, prompt: some('once', [5, 6], ['once'], [[5]], [1e9]) },
    { requiredKeys: ['prompt', 'max_tokens'] },
  ),
  '/v1/embeddings': fc.record(
    {
      input: some('a', ['a', 'b'], [5, 6], [[5], [6, 7]], [1e9]),
      encoding_format: some('float', 'base64'),
      dimensions: some(64, 7),
    },
    { requiredKeys: ['input'] },
  ),
}

async function answered(path: string, body: string): Promise<void> {
  const response = await worker.post(path, body)
  const text = await response.text()
  const { status } = response
  const isFine = status === 200 ? !text.includes('data: {"error"') : status >= 400 && status < 500
  assert.ok(
    isFine || (status === 503 && text.includes('adapter x is not loaded')),
    `${status} ${text.slice(0, 500)} ${worker.lines.at(-1)}`,
  )
  if (status >= 400) {
    const { error } = JSON.parse(text) as { error: { message: string; code: string } }
    assert.ok(error.message.length > 9 && error.message.length < 1_000 && error.code !== '', text)
  }
  assert.deepEqual(worker.lines.splice(0), [])
}

for (const [path, request] of Object.entries(requests))
  test(`POST ${path}: any body is answered or refused`, async () => {
    const anyBody = fc.asyncProperty(mostly(request), (body) => answered(path, JSON.stringify(body)))
    await fc.assert(anyBody, { numRuns: bodies, ...(seed === undefined ? {} : { seed }) })
  })

test('what is no JSON is refused', async () => {
  for (const body of ['', '{', 'null', '[]', '"', '{"messages": [}', '['.repeat(100_000), '{"a":'.repeat(100_000)])
    await answered('/v1/chat/completions', body)
})
