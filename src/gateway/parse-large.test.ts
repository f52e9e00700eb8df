import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { InferenceRoute } from '../engines/contract.ts'
import { requireClearKeys } from './clear-keys.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import { requireAllowedMedia } from './media.ts'
import { type Ask, parseAsk } from './parse.ts'
import { parseLarge, parseShortened } from './parse-large.ts'
import { readPrompt } from './routing/prompt.ts'
import { upstreamBody } from './upstream-body.ts'

const dialect = { streamOptions: { include_usage: true }, extraBody: { timings_per_token: true } }
const routes: InferenceRoute[] = ['chat/completions', 'completions', 'responses', 'messages']

/** Everything that is decided by a body, and what engines get of it. */
function told(parse: (bytes: Buffer) => Ask, bytes: Buffer): unknown {
  const attempt = (work: () => unknown) => {
    try {
      return work()
    } catch (error) {
      const { code, message, detail } = error as Error & { code?: string; detail?: unknown }
      return { code, message, detail }
    }
  }
  return attempt(() => {
    const ask = parse(bytes)
    return {
      read: [ask.model, ask.stream, ask.usage, ask.bytes === bytes, ask.places],
      clear: attempt(() => requireClearKeys(ask)),
      media: attempt(() => requireAllowedMedia(ask, ['a.test'])),
      prompts: routes.map((route) =>
        readPrompt(ask, { route, adapter: null, sessionId: null, contextTokens: 0, usualAnswerTokens: 9 }),
      ),
      bodies: [null, dialect].flatMap((one) =>
        ['m', 'another'].map((name) => upstreamBody(ask, name, one).toString('latin1')),
      ),
    }
  })
}

function same(text: string | Buffer): void {
  const bytes = Buffer.from(text as string)
  // Not compared by assert alone: it would print megabytes.
  const [whole, shortened] = [told(parseAsk, bytes), told(parseShortened, bytes)]
  assert.ok(JSON.stringify(whole) === JSON.stringify(shortened), bytes.toString('latin1').slice(0, 200))
}

const units = [
  'a',
  'word ',
  'ä',
  '😀',
  '\\n',
  '\\"',
  '\\\\',
  '\\/',
  '\\u0041',
  '\\ud83d\\ude00',
  '{"x":[',
  'http://a.test/',
]
/** What is no JSON in a string. */
const wrong = ['\\x', '\\u12g4', '\n', '\u0001', '\\', '"']
const begin = fc.constantFrom(
  '',
  '',
  '',
  'data:image/png;base64,',
  'http://a.test/',
  'HTTPS://a.test/',
  '\\u0068ttp://a.test/',
  'x',
)
/** The inside of a string: sometimes around the lengths at which it is taken out. */
const inside = fc
  .tuple(
    begin,
    fc.constantFrom(...units),
    fc.oneof(fc.constantFrom(10, 4095, 4096, 8191, 8192, 8193), fc.nat(20_000)),
    fc.oneof({ weight: 9, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom(...wrong, ...units) }),
    fc.constantFrom('', '', 'end', '\\n', '😀'),
  )
  .map(([first, unit, size, odd, last]) => first + unit.repeat(Math.ceil(size / unit.length)) + odd + last)
const text = inside.map((one) => `"${one}"`)
const gap = fc.constantFrom('', ' ', '\n\t')
const value = fc.oneof(
  text,
  fc.constantFrom('1', 'null', 'true', '[]', '"short"', '12345678901234567890', '"user"'),
  text.map((one) => `[{"role":"user","content":${one}},{"role":"assistant","content":"yes"}]`),
  text.map((one) => `[{"role":"user","content":[{"type":"text","text":${one}},{"image_url":{"url":${one}}}]}]`),
  fc.tuple(text, gap).map(([one, space]) => `{${one}${space}:1,${one}:2}`),
  text.map((one) => `{"include_usage":false,"x":${one}}`),
)
const key = fc.oneof(
  fc
    .constantFrom('messages', 'prompt', 'input', 'model', 'stream_options', 'user', 'tools', 'x')
    .map((one) => `"${one}"`),
  fc.constantFrom('"stream"'),
  text,
)
const body = fc.array(fc.tuple(key, gap, value), { minLength: 1, maxLength: 5 }).map((members) => {
  const written = members.map(([name, space, one]) => `${name}${space}:${space}${one}${space}`)
  return `{"model":"m",${written.join(',')}}`
})

test('whatever the body is, all that is decided by it and sent of it is as if it had been parsed whole', () => {
  fc.assert(fc.property(body, same), { numRuns: 400 })
})

test('the same of bodies that something has happened to', () => {
  const accident = fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.constantFrom(0x22, 0x5c, 0, 0x7b, 0x7d, 0xff, 0x2c),
  )
  fc.assert(
    fc.property(body, fc.array(accident, { minLength: 1, maxLength: 2 }), (whole, accidents) => {
      const bytes = Buffer.from(whole)
      for (const [at, byte] of accidents) bytes[Math.floor(at * (bytes.length - 1))] = byte
      same(bytes)
    }),
    { numRuns: 400 },
  )
})

test('what no string may hold is refused wherever in a string it stands, with the same words', () => {
  for (const odd of [...wrong, ...units])
    for (const before of [0, 4_090, 4_096, 9_000])
      for (const first of ['', 'http://a.test/', '\\u0068ttp://a.test/'])
        for (const [open, close] of [
          ['"prompt":"', '"'],
          ['"messages":[{"content":[{"image_url":"', '"}]}]'],
        ])
          same(`{"model":"m",${open}${first}${'a'.repeat(before)}${odd}${'a'.repeat(9_000)}${close}}`)
})

test('long strings are taken out, addresses and keys are not', () => {
  const long = 'word '.repeat(10_000)
  const shortened = (object: object) => parseShortened(Buffer.from(JSON.stringify(object)))
  assert.ok(shortened({ prompt: long }).text.length < 5_000)
  assert.ok(shortened({ prompt: `x${'ä'.repeat(10_000)}` }).text.length < 5_000)
  assert.equal(shortened({ prompt: `http://a.test/${long}` }).shortened, null)
  assert.equal(shortened({ [long]: 1 }).shortened, null)
  const { fields } = shortened({ prompt: long })
  assert.equal((fields.prompt as string).slice(0, 4_000), long.slice(0, 4_000))
})

test('others have their turn in between, and whoever leaves meanwhile is not waited for', async () => {
  const bytes = Buffer.from(JSON.stringify({ model: 'm', prompt: 'word '.repeat(400_000) }))
  const exchange = { interrupted: null } as Exchange
  let turns = 0
  const count = (): void => {
    turns += 1
    counting = setImmediate(count)
  }
  let counting = setImmediate(count)
  const ask = await parseLarge(exchange, bytes)
  assert.ok(turns > 5, `${turns} turns`)
  assert.equal(ask.model, 'm')
  assert.equal(exchange.interrupted, null)
  const parsing = parseLarge(exchange, bytes)
  exchange.interrupted!(new ClientGone())
  await assert.rejects(parsing, ClientGone)
  clearImmediate(counting)
})
