/** Thoughts, calls and vectors of the real worker, on the starter with headers of the test's own. */
import { strict as assert } from 'node:assert'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import OpenAI from 'openai'
import type { Fault } from '../../../kernel/fault.ts'
import { readStream, startHere, type TestEngine, workerKey } from './testing.ts'
import { type TestModel, writeTestModel } from './testing-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-shapes-'))
const workers = new Map<string, Promise<TestEngine>>()
after(async () => {
  for (const worker of workers.values()) await (await worker).stop()
  rmSync(folder, { recursive: true })
})

/** One for all tests that ask for the same. */
function workerOf(model: TestModel, flags: string[] = []): Promise<TestEngine> {
  const key = JSON.stringify([model, flags])
  const path = join(folder, `${workers.size}.gguf`)
  const start = () =>
    startHere(['--model', writeTestModel(path, model), '--context', '2048', '--sequences', '2', ...flags])
  const worker = workers.get(key) ?? start()
  workers.set(key, worker)
  return worker
}

/** As the Hermes family writes it, cut to what matters. `opening`: the end of the prompt. */
const template = (opening: string) =>
  `{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}` +
  `{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}` +
  `{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}` +
  `<|im_start|>assistant\n{% if enable_thinking %}${opening}{% else %}<think></think>{% endif %}`

const nothing = { type: 'object', properties: {}, additionalProperties: false }
const tools = [
  {
    type: 'function' as const,
    function: {
      name: 'set_pace',
      description: 'Sets the pace',
      parameters: {
        type: 'object',
        properties: { pace: { enum: ['slow', 'fast'] }, times: { type: 'integer' } },
        required: ['pace'],
        additionalProperties: false,
      },
    },
  },
  { type: 'function' as const, function: { name: 'stop_now', parameters: nothing } },
]
const messages = [{ role: 'user' as const, content: 'hello there' }]
const ask = (over: object = {}) => ({ model: 'starter', messages, max_tokens: 300, temperature: 1, seed: 3, ...over })
const client = ({ url }: TestEngine) => new OpenAI({ baseURL: `${url}/v1`, apiKey: workerKey, maxRetries: 0 })
const status = async (asking: Promise<Response>) => {
  const response = await asking
  const { error } = (await response.json()) as { error: { code: string; param: string | null; message: string } }
  return [response.status, error.code, error.param] as const
}

function assertCall(call: OpenAI.ChatCompletionMessageToolCall): void {
  assert.ok(call.type === 'function')
  assert.match(call.id, /^call_\w{21}$/)
  const given = JSON.parse(call.function.arguments) as Record<string, unknown>
  if (call.function.name === 'stop_now') return
  assert.equal(call.function.name, 'set_pace')
  assert.ok(given.pace === 'slow' || given.pace === 'fast', call.function.arguments)
  assert.ok(Object.keys(given).every((name) => name === 'pace' || name === 'times'))
}

/** One that thinks at length would not come to its call in this time. */
const unthinking = { reasoning_effort: 'none' as const }
const named = { type: 'function' as const, function: { name: 'set_pace' } }

for (const [form, chatTemplate] of [
  ['between tags', template('')],
  ['of a template without tools', undefined],
  ['as a list', template('').replaceAll('<tool_call>', '[TOOL_CALLS]').replaceAll('</tool_call>', '')],
  ['as the answer itself', `${template('').replaceAll(/<\/?tool_call>/g, '')}{# ipython "parameters" #}`],
] as const)
  test(`calls ${form}: their arguments are valid, whatever the weights; streamed as plain`, async () => {
    const worker = await workerOf(chatTemplate === undefined ? {} : { chatTemplate })
    const { chat } = client(worker)
    const forced = ask({ tools, tool_choice: named, seed: 1, ...unthinking })
    const plain = await chat.completions.create(forced)
    const [choice] = plain.choices
    assert.equal(choice!.finish_reason, 'tool_calls', JSON.stringify(plain))
    assert.equal(choice!.message.content, null)
    assert.equal(choice!.message.tool_calls!.length, 1)
    assertCall(choice!.message.tool_calls![0]!)
    const stream = chat.completions.stream(forced)
    const deltas: OpenAI.ChatCompletionChunk.Choice.Delta.ToolCall[] = []
    for await (const { choices } of stream) deltas.push(...(choices[0]?.delta.tool_calls ?? []))
    const [first, ...more] = deltas
    assert.deepEqual([first!.index, first!.type, first!.function], [0, 'function', { name: 'set_pace', arguments: '' }])
    assert.ok(more.length > 2 && more.every(({ id, function: part }) => id === undefined && part!.arguments !== ''))
    const streamed = await stream.finalChatCompletion()
    assert.equal(streamed.choices[0]!.finish_reason, 'tool_calls')
    const functions = [streamed, plain].map(({ choices }) =>
      choices[0]!.message.tool_calls!.map((call) => call.type === 'function' && call.function.arguments),
    )
    assert.deepEqual(functions[0], functions[1])
    const required = await chat.completions.create(
      ask({ tools, tool_choice: 'required', parallel_tool_calls: false, ...unthinking }),
    )
    assert.equal(required.choices[0]!.message.tool_calls!.length, 1)
    assertCall(required.choices[0]!.message.tool_calls![0]!)
    const several = await chat.completions.create(
      ask({ tools, tool_choice: 'required', max_tokens: 500, ...unthinking }),
    )
    for (const call of several.choices[0]!.message.tool_calls ?? []) assertCall(call)
    assert.ok(several.choices[0]!.message.tool_calls!.length >= 1, JSON.stringify(several.choices))
    const free = await chat.completions.create(ask({ tools, temperature: 0, max_tokens: 20 }))
    assert.ok(['stop', 'length'].includes(free.choices[0]!.finish_reason) && free.choices[0]!.message.content, 'it may')
    const told = [
      ...messages,
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'stop_now', arguments: '{}' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'stopped <|im_end|>' },
    ]
    const after = await chat.completions.create(ask({ messages: told, tools, max_tokens: 5 }) as never)
    assert.ok((after as OpenAI.ChatCompletion).usage!.prompt_tokens > required.usage!.prompt_tokens)
  })

test('thoughts are told apart, counted, and free where the answer is held to a form', async () => {
  const worker = await workerOf({ chatTemplate: template('<think>\n') })
  const schema = {
    type: 'object',
    properties: { n: { type: 'integer' } },
    required: ['n'],
    additionalProperties: false,
  }
  const response_format = { type: 'json_schema' as const, json_schema: { name: 'x', schema } }
  // Any thought ends somewhere: with few tokens it is cut off, and all that was said was thought.
  const cut = await (await worker.post('/v1/chat/completions', ask({ max_tokens: 12, ignore_eos: true }))).json()
  const [choice] = (cut as { choices: { message: Record<string, string>; finish_reason: string }[] }).choices
  assert.deepEqual([choice!.message.content, choice!.finish_reason], ['', 'length'])
  assert.ok(choice!.message.reasoning_content!.length > 0)
  const { usage } = cut as { usage: { completion_tokens_details: { reasoning_tokens: number } } }
  assert.equal(usage.completion_tokens_details.reasoning_tokens, 12)
  const stream = await readStream(
    await worker.post('/v1/chat/completions', ask({ max_tokens: 12, ignore_eos: true, stream: true })),
  )
  const thought = stream.events.map(
    ({ choices }) => (choices[0]?.delta as Record<string, string>)?.reasoning_content ?? '',
  )
  assert.equal(thought.join(''), choice!.message.reasoning_content)
  // Told not to think, the same model answers.
  const plain = await (
    await worker.post('/v1/chat/completions', ask({ reasoning_effort: 'none', response_format }))
  ).json()
  const [other] = (plain as { choices: { message: Record<string, string> }[] }).choices
  assert.equal(other!.message.reasoning_content, undefined)
  assert.deepEqual(Object.keys(JSON.parse(other!.message.content!)), ['n'])
})

test('vectors: of length 1, the same for the same text, in both encodings, counted', async () => {
  const worker = await workerOf({ poolingType: 1 })
  const { embeddings } = client(worker)
  const input = ['a river', 'a river', 'the price of a replica by the hour']
  const floats = await embeddings.create({ model: 'starter', input, encoding_format: 'float' })
  assert.deepEqual(
    floats.data.map(({ index }) => index),
    [0, 1, 2],
  )
  const [one, same, other] = floats.data.map(({ embedding }) => embedding)
  const product = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)
  assert.ok(Math.abs(product(one!, one!) - 1) < 1e-5)
  assert.deepEqual(one, same)
  assert.ok(product(one!, other!) < 0.999, 'another text, another vector')
  // The client asks for base64 unless told.
  const packed = await embeddings.create({ model: 'starter', input: input[2]! })
  assert.deepEqual(packed.data[0]!.embedding, other)
  assert.deepEqual(packed.usage, { prompt_tokens: packed.usage.total_tokens, total_tokens: packed.usage.prompt_tokens })
  assert.equal(
    await worker.metric('vllm:prompt_tokens_total'),
    floats.usage.prompt_tokens + packed.usage.prompt_tokens,
    'counted',
  )
  const whole = await embeddings.create({ model: 'starter', input: input[2]!, dimensions: other!.length })
  assert.deepEqual(whole.data[0]!.embedding, other)
  const ids = await embeddings.create({ model: 'starter', input: [[5, 6, 7], [8]], encoding_format: 'float' })
  assert.deepEqual([ids.data.length, ids.usage.prompt_tokens], [2, 4])
  const alone = await embeddings.create({ model: 'starter', input: [5, 6, 7], encoding_format: 'float' })
  assert.deepEqual(alone.data[0]!.embedding, ids.data[0]!.embedding)
  const many = await Promise.all(
    input.map((text) => embeddings.create({ model: 'starter', input: text, encoding_format: 'float' })),
  )
  assert.deepEqual(
    many.map(({ data }) => data[0]!.embedding),
    [one, same, other],
    'at once as one by one',
  )
  const answer = await client(worker).chat.completions.create(ask({ temperature: 0, max_tokens: 8 }))
  assert.ok(answer.choices[0]!.message.content, 'and it talks as before')
  const cases: [object, string, string][] = [
    [{}, 'invalid_request', 'input'],
    [{ input: [] }, 'invalid_request', 'input'],
    [{ input: ['a', ''] }, 'invalid_request', 'input'],
    [{ input: ['a', 7] }, 'invalid_request', 'input'],
    [{ input: [7, 'a'] }, 'invalid_request', 'input'],
    [{ input: ['a', [7]] }, 'invalid_request', 'input'],
    [{ input: [[1, 2], []] }, 'invalid_request', 'input'],
    [{ input: [-1] }, 'invalid_request', 'input'],
    [{ input: [1e9] }, 'invalid_request', 'input'],
    [{ input: { a: 1 } }, 'invalid_request', 'input'],
    [{ input: Array(2_049).fill('a') }, 'invalid_request', 'input'],
    [{ input: Array(200).fill('paddock '.repeat(1_900)) }, 'invalid_request', 'input'],
    [{ input: 'a', dimensions: 8 }, 'engine_unsupported', 'dimensions'],
    [{ input: 'a', dimensions: 0 }, 'invalid_request', 'dimensions'],
    [{ input: 'a', dimensions: 100_000 }, 'invalid_request', 'dimensions'],
    [{ input: 'a', encoding_format: 'hex' }, 'invalid_request', 'encoding_format'],
    [{ input: 'paddock '.repeat(4_000) }, 'context_length_exceeded', 'input'],
  ]
  for (const [body, code, param] of cases)
    assert.deepEqual(
      await status(worker.post('/v1/embeddings', body)),
      [400, code, param],
      JSON.stringify(body).slice(0, 80),
    )
})

test('a model trained for shorter vectors makes them: the beginning of the whole one, of length 1', async () => {
  const { embeddings } = client(await workerOf({ poolingType: 1, base: 'EmbeddingGemma 300M' }))
  const ask = { model: 'starter', input: 'a river', encoding_format: 'float' as const }
  const [whole, short] = await Promise.all([embeddings.create(ask), embeddings.create({ ...ask, dimensions: 8 })])
  const beginning = whole.data[0]!.embedding.slice(0, 8)
  const length = Math.hypot(...beginning)
  assert.equal(short.data[0]!.embedding.length, 8)
  const distances = short.data[0]!.embedding.map((x, i) => Math.abs(x - beginning[i]! / length))
  assert.ok(Math.max(...distances) < 1e-6)
  const packed = await embeddings.create({ model: 'starter', input: 'a river', dimensions: 8 })
  assert.deepEqual(packed.data[0]!.embedding, short.data[0]!.embedding)
})

test('a model without pooling makes no vectors, and says so', async () => {
  const worker = await workerOf({})
  const asked = await worker.post('/v1/embeddings', { input: 'a' })
  const { error } = (await asked.json()) as { error: { code: string; message: string } }
  assert.deepEqual([asked.status, error.code], [400, 'engine_unsupported'])
  assert.match(error.message, /^Pooling type 'none' is not OAI compatible/)
})

test('keys and values in fewer bits: another memory, the same questions answered', async () => {
  for (const [k, v] of [
    ['f16', 'f16'],
    ['q8_0', 'q4_0'],
  ] as const) {
    const worker = await workerOf({}, ['--cache-type-k', k, '--cache-type-v', v])
    const { choices } = await client(worker).chat.completions.create(ask({ temperature: 0, max_tokens: 12 }))
    assert.ok(choices[0]!.message.content, k)
  }
})

test('bad tools: a 400 that names the field', async () => {
  const worker = await workerOf({})
  const strict = (parameters: object) => [{ type: 'function', function: { name: 'a', parameters, strict: true } }]
  const cases: [object, Fault['code'], string][] = [
    [{ tools: {} }, 'invalid_request', 'tools'],
    [{ tools: [{ type: 'function' }] }, 'invalid_request', 'tools'],
    [{ tools: [{ type: 'function', function: { name: 'a b' } }] }, 'invalid_request', 'tools'],
    [{ tools: [...tools, tools[0]] }, 'invalid_request', 'tools'],
    [{ tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'engine_unsupported', 'tools'],
    [{ tools, tool_choice: 'sometimes' }, 'invalid_request', 'tool_choice'],
    [{ tools, tool_choice: { type: 'function', function: { name: 'other' } } }, 'invalid_request', 'tool_choice'],
    [{ tool_choice: 'required' }, 'invalid_request', 'tool_choice'],
    [{ tools, parallel_tool_calls: 1 }, 'invalid_request', 'parallel_tool_calls'],
    [{ tools, response_format: { type: 'json_object' } }, 'engine_unsupported', 'response_format'],
    [{ tools, ignore_eos: true }, 'invalid_request', 'ignore_eos'],
    [{ tools: strict({ type: 'string', pattern: 'x' }) }, 'engine_unsupported', 'tools'],
    [{ messages: [{ role: 'assistant', tool_calls: [{}] }] }, 'invalid_request', 'messages'],
  ]
  for (const [body, code, param] of cases)
    assert.deepEqual(
      await status(worker.post('/v1/chat/completions', ask(body))),
      [400, code, param],
      JSON.stringify(body).slice(0, 100),
    )
})
