/** The real worker, the real llama.cpp, the starter model. */
import { strict as assert } from 'node:assert'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock, until } from '../../../runtime/clock.ts'
import { packageRoot } from '../../../runtime/self.ts'
import { runtimePackages } from '../closure.ts'
import { readStream, starterPath, startWorker } from './testing.ts'

const worker = await startWorker(['--sequences', '3', '--context', '2048'])
after(() => worker.stop())

const chat = '/v1/chat/completions'
const hello = [{ role: 'user', content: 'hello there' }]
const ask = (over: object = {}) => ({ messages: hello, temperature: 0, max_tokens: 16, ...over })

interface Answer {
  id: string
  object: string
  model: string
  choices: { message: { content: string }; text: string; finish_reason: string }[]
  usage: {
    prompt_tokens: number
    completion_tokens: number
    total_tokens: number
    prompt_tokens_details: { cached_tokens: number }
  }
  error: { message: string; type: string; param: string | null; code: string }
}
const answer = async (body: unknown, path = chat) => (await (await worker.post(path, body)).json()) as Answer
const textOf = async (over: object) => (await answer(ask(over))).choices[0]!.message.content

test('a plain answer, with exact usage', async () => {
  const first = await answer(ask({ ignore_eos: true }))
  assert.equal(first.object, 'chat.completion')
  assert.equal(first.model, 'starter')
  assert.equal(first.usage.completion_tokens, 16)
  assert.equal(first.usage.total_tokens, first.usage.prompt_tokens + 16)
  assert.equal(first.choices[0]!.finish_reason, 'length')
  const again = await answer(ask({ ignore_eos: true }))
  assert.equal(again.choices[0]!.message.content, first.choices[0]!.message.content)
  assert.equal(again.usage.prompt_tokens, first.usage.prompt_tokens)
  assert.ok(again.usage.prompt_tokens_details.cached_tokens > 0)
})

test('ignore_eos gives exactly max_tokens', async () => {
  const { usage } = await answer(ask({ max_tokens: 64, ignore_eos: true, temperature: 1 }))
  assert.equal(usage.completion_tokens, 64)
})

test('a stream says the same as the plain answer, and usage where it was asked for', async () => {
  const plain = await textOf({})
  const bare = await readStream(await worker.post(chat, ask({ stream: true })))
  assert.equal(bare.done, true)
  assert.equal(bare.events.map((e) => e.choices[0]?.delta.content ?? '').join(''), plain)
  assert.ok(bare.events.every((e) => e.usage === undefined))
  const last = await readStream(await worker.post(chat, ask({ stream: true, stream_options: { include_usage: true } })))
  assert.equal(last.events.at(-1)!.choices.length, 0)
  assert.ok(last.events.at(-1)!.usage!.completion_tokens > 0)
  assert.ok(last.events.slice(0, -1).every((e) => e.usage === null))
  const every = await readStream(
    await worker.post(
      chat,
      ask({ stream: true, ignore_eos: true, stream_options: { include_usage: true, continuous_usage_stats: true } }),
    ),
  )
  const counts = every.events.flatMap((e) => (e.usage ? [e.usage.completion_tokens] : []))
  assert.deepEqual(
    [...counts].sort((a, b) => a - b),
    counts,
  )
  assert.ok(counts.includes(1) && counts.at(-1) === 16)
})

test('usage is on every chunk that was asked to have it, and grows by one per token', async () => {
  const stream = {
    stream: true,
    ignore_eos: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
  }
  const { events } = await readStream(await worker.post(chat, ask({ ...stream, max_tokens: 9 })))
  assert.ok(events.every((event) => event.usage))
  const counts = events.map((event) => event.usage!.completion_tokens)
  assert.deepEqual(counts, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9])
  for (const { usage } of events) assert.equal(usage!.total_tokens, usage!.prompt_tokens + usage!.completion_tokens)
})

test('tokens that are parts of characters: every chunk is whole text, and all together the plain answer', async () => {
  // The two bytes of "é" in the starter's vocabulary, so loud that nothing else is said, in any order.
  const logit_bias = { 130: 100, 105: 100 }
  const options = { logit_bias, temperature: 2, seed: 5, max_tokens: 60, ignore_eos: true }
  const plain = await textOf(options)
  assert.match(plain, /é/)
  const { events } = await readStream(await worker.post(chat, ask({ ...options, stream: true })))
  const pieces = events.map((event) => event.choices[0]?.delta.content ?? '')
  assert.ok(pieces.every((piece) => piece.isWellFormed()))
  assert.equal(pieces.join(''), plain)
})

test('without max_tokens an answer ends by itself or with the context', async () => {
  const content = ' paddock'.repeat(1_900)
  const { usage, choices } = await answer({ messages: [{ role: 'user', content }], ignore_eos: true })
  assert.equal(choices[0]!.finish_reason, 'length')
  assert.equal(usage.total_tokens, 2048)
})

test('penalties, top_k 1 and min_p 1 do what they say', async () => {
  const greedy = await textOf({})
  assert.equal(await textOf({ temperature: 1.5, top_k: 1 }), greedy)
  assert.equal(await textOf({ temperature: 1.5, min_p: 1 }), greedy)
  const words = (await textOf({ max_tokens: 60, ignore_eos: true, presence_penalty: 2, frequency_penalty: 2 })).split(
    ' ',
  )
  const plain = (await textOf({ max_tokens: 60, ignore_eos: true })).split(' ')
  assert.ok(new Set(words).size > new Set(plain).size)
})

test('seed: the same one gives the same text, another one another', async () => {
  // The starter is sure of what it says: less heat would give the same text for all seeds.
  const options = { temperature: 2, max_tokens: 24, ignore_eos: true }
  const [one, same, other] = [
    await textOf({ ...options, seed: 7 }),
    await textOf({ ...options, seed: 7 }),
    await textOf({ ...options, seed: 8 }),
  ]
  assert.equal(one, same)
  assert.notEqual(one, other)
})

test('stop: ends before the string, never shows a part of it', async () => {
  const full = await textOf({ max_tokens: 40, ignore_eos: true })
  const stop = full.slice(20, 26)
  const { choices } = await answer(ask({ max_tokens: 40, ignore_eos: true, stop: [stop, 'never there'] }))
  assert.equal(choices[0]!.message.content, full.slice(0, full.indexOf(stop)))
  assert.equal(choices[0]!.finish_reason, 'stop')
  const streamed = await readStream(
    await worker.post(chat, ask({ max_tokens: 40, ignore_eos: true, stop, stream: true })),
  )
  assert.equal(
    streamed.events.map((e) => e.choices[0]?.delta.content ?? '').join(''),
    full.slice(0, full.indexOf(stop)),
  )
})

test('JSON that fits the schema, whatever the weights', async () => {
  const schema = {
    type: 'object',
    properties: {
      n: { type: 'integer' },
      kind: { enum: ['a', 'b'] },
      tags: { type: 'array', items: { type: 'string', maxLength: 6 }, maxItems: 3 },
      note: { type: 'string', maxLength: 8 },
    },
    required: ['n', 'kind', 'tags'],
    additionalProperties: false,
  }
  for (const seed of [1, 2, 3]) {
    const text = await textOf({
      max_tokens: 400,
      temperature: 1,
      seed,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    })
    const value = JSON.parse(text) as Record<string, unknown>
    assert.ok(Number.isInteger(value.n) && ['a', 'b'].includes(value.kind as string) && Array.isArray(value.tags), text)
  }
})

test('several at once, more than there are sequences: all answered, each as if alone', async () => {
  const alone = await textOf({ max_tokens: 30, ignore_eos: true })
  const texts = await Promise.all(Array.from({ length: 10 }, () => textOf({ max_tokens: 30, ignore_eos: true })))
  assert.deepEqual(new Set(texts), new Set([alone]))
  assert.equal(await worker.metric('vllm:num_requests_running'), 0)
})

test('context: refused before any work, with the numbers', async () => {
  const before = await worker.metric('vllm:prompt_tokens_total')
  const response = await worker.post(chat, ask({ messages: [{ role: 'user', content: 'paddock '.repeat(2_500) }] }))
  const { error } = (await response.json()) as Answer
  assert.equal(response.status, 400)
  assert.equal(error.code, 'context_length_exceeded')
  assert.equal(error.param, 'messages')
  assert.equal((await answer(ask({ max_tokens: 5_000 }))).error.code, 'context_length_exceeded')
  assert.equal(await worker.metric('vllm:prompt_tokens_total'), before)
})

test('an abort ends the computing, gives the sequence back, and its tokens are counted', async () => {
  const before = await worker.metric('vllm:generation_tokens_total')
  const stop = new AbortController()
  const response = await worker.post(chat, ask({ max_tokens: 2_000, ignore_eos: true, stream: true }), {
    signal: stop.signal,
  })
  const reader = response.body!.getReader()
  await reader.read()
  assert.equal(await worker.metric('vllm:num_requests_running'), 1)
  stop.abort()
  await until(systemClock, 'sequence back', 2_000, async () => (await worker.metric('vllm:num_requests_running')) === 0)
  const counted = (await worker.metric('vllm:generation_tokens_total')) - before
  assert.ok(counted > 0 && counted < 2_000, `${counted} tokens`)
})

test('/v1/completions and /v1/models', async () => {
  const { choices, usage, object } = await answer(
    { prompt: 'once upon', max_tokens: 5, ignore_eos: true },
    '/v1/completions',
  )
  assert.equal(object, 'text_completion')
  assert.ok(choices[0]!.text.length > 0)
  assert.equal(usage.completion_tokens, 5)
})

test('bad input: a clear 400 that names the field; a wrong key 401', async () => {
  const cases: [unknown, string, string | null][] = [
    ['{"messages": [', 'invalid_json', null],
    [{}, 'invalid_request', 'messages'],
    [ask({ messages: [] }), 'invalid_request', 'messages'],
    [ask({ messages: [{ role: 'king', content: 'x' }] }), 'invalid_request', 'messages'],
    [ask({ temperature: -1 }), 'invalid_request', 'temperature'],
    [ask({ max_tokens: 0 }), 'invalid_request', 'max_tokens'],
    [ask({ max_tokens: 'many' }), 'invalid_request', 'max_tokens'],
    [ask({ stop: ['a', 'b', 'c', 'd', 'e'] }), 'invalid_request', 'stop'],
    [ask({ n: 2 }), 'engine_unsupported', 'n'],
    [ask({ logprobs: true }), 'engine_unsupported', 'logprobs'],
    [ask({ tools: [{ type: 'function' }] }), 'invalid_request', 'tools'],
    [
      ask({ response_format: { type: 'json_schema', json_schema: { schema: { type: 'string', pattern: 'x' } } } }),
      'engine_unsupported',
      'response_format',
    ],
    [ask({ response_format: { type: 'xml' } }), 'invalid_request', 'response_format'],
  ]
  for (const [body, code, param] of cases) {
    const response = await worker.post(chat, body)
    const { error } = (await response.json()) as Answer
    assert.deepEqual([response.status, error.code, error.param], [400, code, param], JSON.stringify(body).slice(0, 100))
  }
  assert.equal((await worker.post(chat, ask(), { headers: { authorization: 'Bearer wrong' } })).status, 401)
  assert.equal((await fetch(`${worker.url}/metrics`)).status, 401)
  assert.equal((await worker.post('/v1/slots', {})).status, 404)
})

test('text that looks like a control token is read as text', async () => {
  const plain = (await answer(ask({ messages: [{ role: 'user', content: 'abc' }] }))).usage.prompt_tokens
  const marked = (await answer(ask({ messages: [{ role: 'user', content: 'a<|im_end|>c' }] }))).usage.prompt_tokens
  assert.ok(marked > plain + 3, `${marked} tokens`)
})

test('SIGTERM: what runs is finished to its last byte, nothing new is taken, then it ends with 0', async () => {
  const other = await startWorker()
  const plain = other.post(chat, ask({ max_tokens: 1_000, ignore_eos: true }))
  const stream = other.post(chat, ask({ max_tokens: 1_000, ignore_eos: true, stream: true }))
  await until(systemClock, 'both run', 5_000, async () => (await other.metric('vllm:num_requests_running')) === 2)
  other.child.kill('SIGTERM')
  await until(
    systemClock,
    'draining',
    2_000,
    async () => ((await (await fetch(`${other.url}/health`)).json()) as { status: string }).status === 'draining',
  )
  assert.equal((await other.post(chat, ask())).status, 503)
  assert.equal(((await (await plain).json()) as Answer).usage.completion_tokens, 1_000)
  assert.equal((await readStream(await stream)).done, true)
  assert.deepEqual(await other.exit, { code: 0, signal: null })
})

test('a second SIGTERM ends it at once', async () => {
  const other = await startWorker()
  const cut = assert.rejects(
    other.post(chat, ask({ max_tokens: 8_000, ignore_eos: true, stream: true })).then((response) => response.text()),
  )
  await until(systemClock, 'running', 5_000, async () => (await other.metric('vllm:num_requests_running')) === 1)
  other.child.kill('SIGTERM')
  await until(systemClock, 'draining', 2_000, () => other.lines.includes('draining'))
  other.child.kill('SIGTERM')
  assert.deepEqual(await other.exit, { code: 143, signal: null })
  await cut
})

test('a model that cannot be loaded is one clear line without its path, and status 1', async () => {
  const cases: [string, RegExp][] = [
    [
      import.meta.filename,
      /^error: cannot load worker\.test\.ts: not a usable GGUF file: it does not begin with GGUF$/,
    ],
    ['/no/such.gguf', /^error: cannot load such\.gguf: the file cannot be read: ENOENT$/],
  ]
  for (const [path, line] of cases) {
    const broken = await startWorker(['--model', path], { ready: false })
    assert.equal((await broken.exit).code, 1)
    assert.match(broken.lines.at(-1)!, line)
  }
})

test('a cut-off model file: llama.cpp’s own reason is told', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-cut-'))
  try {
    const path = join(folder, 'cut.gguf')
    writeFileSync(path, readFileSync(starterPath).subarray(0, 400_000))
    const broken = await startWorker(['--model', path], { ready: false })
    assert.equal((await broken.exit).code, 1)
    assert.match(broken.lines.at(-1)!, /^error: cannot load cut\.gguf: llama\.cpp refuses it \(.+\)$/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what closure.ts lists is all that a worker needs; it ends when its stdin closes', async () => {
  const root = mkdtempSync(join(tmpdir(), 'paddock-closure-'))
  try {
    const wanted = ['package.json', 'src/kernel', 'src/runtime', 'src/engines', ...runtimePackages()]
    for (const path of wanted) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      cpSync(join(packageRoot, path), join(root, path), { recursive: true, dereference: true })
    }
    writeFileSync(join(root, 'README.md'), '')
    const other = await startWorker([], { root })
    assert.equal((await other.post(chat, ask())).status, 200)
    // It ends when its stdin closes.
    other.child.stdin!.end()
    assert.equal((await other.exit).code, 0)
  } finally {
    rmSync(root, { recursive: true })
  }
})
