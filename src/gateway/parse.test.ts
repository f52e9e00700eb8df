import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { type Ask, parseAsk } from './parse.ts'
import { upstreamBody } from './upstream-body.ts'

const dialect = {
  streamOptions: { include_usage: true, continuous_usage_stats: true },
  extraBody: { timings_per_token: true },
}
const none = { streamOptions: {}, extraBody: {} }
const ask = (body: unknown): Ask => parseAsk(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
const code = (body: string | Buffer): string => {
  try {
    parseAsk(Buffer.from(body as string))
  } catch (error) {
    assert.ok(error instanceof Fault)
    return error.code
  }
  return 'fine'
}

test('reads what the gateway needs and leaves the rest', () => {
  const plain = ask({ model: 'chat', messages: [], temperature: 0.5 })
  assert.deepEqual([plain.model, plain.stream, plain.usage], ['chat', false, 'none'])
  assert.equal(ask({ stream: true, stream_options: { include_usage: true } }).usage, 'final')
  assert.equal(ask({ stream_options: { include_usage: true, continuous_usage_stats: true } }).usage, 'every')
  assert.equal(ask({ stream_options: { continuous_usage_stats: true } }).usage, 'none')
  assert.deepEqual([ask({}).model, ask({ model: '' }).model, ask({ model: null }).model], [null, null, null])
})

test('bad bodies have codes', () => {
  for (const body of ['', 'x', '[]', '1', 'null', '{"a":1', '{"a":tru}', '\ufeff{}', '{"a":1}x'])
    assert.equal(code(body), 'invalid_json', JSON.stringify(body))
  assert.equal(code(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), 'invalid_json')
  assert.equal(code(`{"a":${'['.repeat(500)}${']'.repeat(500)}}`), 'invalid_json')
  assert.equal(code(`{"a":${'['.repeat(4_000_000)}${']'.repeat(4_000_000)}}`), 'invalid_json')
  for (const body of [
    '{"model":1}',
    '{"stream":"yes"}',
    '{"stream":1}',
    '{"stream_options":[]}',
    '{"stream_options":1}',
  ])
    assert.equal(code(body), 'invalid_request', body)
})

test('the message of a bad body quotes nothing of it', () => {
  assert.throws(
    () => ask('{"messages":"my secret prompt" oops}'),
    (error: Fault) => !/secret|oops/.test(error.message),
  )
})

test('a plain request that already names the served model is passed on as the very same text', () => {
  const same = ask({ model: 'served', messages: ['ü'] })
  assert.equal(upstreamBody(same, 'served', dialect), same.text)
})

const utf8 = (text: string | Buffer) => Buffer.from(text as string, 'latin1').toString()

test('model is replaced or added, everything else stays', () => {
  const body =
    '{"messages":[{"content":"grüße \\ud83d\\ude00 🎉","model":"x"}],"model":"mine","seed":12345678901234567890}'
  assert.equal(utf8(upstreamBody(ask(body), 'paddock/starter', none)), body.replace('"mine"', '"paddock/starter"'))
  assert.equal(utf8(upstreamBody(ask('{"a":1}'), 'sérved', none)), '{"model":"sérved","a":1}')
  assert.equal(utf8(upstreamBody(ask('  { } '), 's', none)).trim(), '{"model":"s" }')
})

test('streams get the usage dialect merged over what the client chose', () => {
  const body = ask({ model: 'm', stream: true, stream_options: { include_usage: false, x: 'ü' } })
  assert.deepEqual(JSON.parse(utf8(upstreamBody(body, 'served', dialect))), {
    model: 'served',
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true, x: 'ü' },
    timings_per_token: true,
  })
  const bare = ask('{"stream":true}')
  assert.equal(
    utf8(upstreamBody(bare, 's', dialect)),
    '{"model":"s","stream_options":{"include_usage":true,"continuous_usage_stats":true},"timings_per_token":true,"stream":true}',
  )
})
