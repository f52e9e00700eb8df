/** Streams of named events, split anywhere: the same bytes and the same counts as a reader that waits for the end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { AnswerStream } from './answer-stream.ts'
import { EventTooLarge } from './event-cutter.ts'
import { type NamedRoute, NamedStream } from './named-stream.ts'
import { type Count, speeches } from './speech.fixture.ts'
import { readUsage } from './usage.ts'

const view = {
  model: '"mine"',
  maxEventBytes: 1 << 20,
  errorEvent: (message: string) => `event: error\ndata: ${JSON.stringify({ type: 'error', message })}\n\n`,
}

function run(stream: AnswerStream, ...pieces: Buffer[]): string {
  const out = pieces.map((piece) => stream.push(piece.toString('latin1')))
  return Buffer.from(out.join('') + stream.end(), 'latin1').toString()
}

const count: Count = { prompt: 21, cached: 4, completion: 3, reasoning: 0 }

test('the last event is held back until the request is settled', () => {
  for (const route of ['responses', 'messages'] as const) {
    const { begin, piece, end } = speeches[route].stream!
    const stream = new NamedStream(route, view)
    const text = begin('served', count) + piece('served', 'a') + end('served', count)
    const before = stream.push(text)
    assert.ok(!/message_stop|response.completed/.test(before))
    assert.deepEqual([stream.done, stream.complete], [true, true])
    assert.equal(before + stream.end(), begin('mine', count) + piece('mine', 'a') + end('mine', count))
  }
})

test('a piece of the answer goes out as the very bytes that came in', () => {
  const stream = new NamedStream('messages', view)
  const bytes = Buffer.from(speeches.messages.stream!.piece('served', 'Grüße')).toString('latin1')
  assert.equal(stream.push(bytes), bytes)
  assert.ok(stream.contentSeen && stream.usageText === null && stream.uncounted === 1)
})

test('what was used: the first event tells the question, a later one the answer, the latest counts', () => {
  const stream = new NamedStream('messages', view)
  const { begin, end } = speeches.messages.stream!
  stream.push(begin('served', count))
  assert.deepEqual(readUsage(stream.usageText), { promptTokens: 21, cachedTokens: 4, completionTokens: 0 })
  stream.push(end('served', count))
  assert.deepEqual(readUsage(stream.usageText), { promptTokens: 21, cachedTokens: 4, completionTokens: 3 })
  assert.equal(stream.uncounted, 0)
})

test('response.failed and response.incomplete end a stream; the one failed, the other did not', () => {
  for (const [type, failed] of [
    ['response.failed', true],
    ['response.incomplete', false],
  ] as const) {
    const stream = new NamedStream('responses', view)
    const response = { model: 'served', usage: speeches.responses.usage(count), error: { message: 'no' } }
    const text = `event: ${type}\ndata: ${JSON.stringify({ type, response })}\n\n`
    assert.equal(run(stream, Buffer.from(text)), text.replace('served', 'mine'))
    assert.deepEqual([stream.complete, stream.errorText !== null], [true, failed])
    assert.equal(readUsage(stream.usageText)?.completionTokens, 3)
  }
})

test('an event without end is refused at the limit', () => {
  const stream = new NamedStream('messages', { ...view, maxEventBytes: 1000 })
  assert.throws(() => {
    for (let i = 0; i < 20; i++) stream.push('x'.repeat(100))
  }, EventTooLarge)
})

// Random streams: what the route has, in any order, with any text, and what it has not.
const word = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom('"usage":{"input_tokens":1}', '\n\n', 'data: [DONE]', '\\"', '🎉'.repeat(2000)),
)
const tokens = fc.nat({ max: 1000 })
const usages = fc.oneof(
  fc.constant(undefined),
  fc.record(
    { input_tokens: tokens, output_tokens: tokens, cache_read_input_tokens: tokens, x: word },
    { requiredKeys: ['input_tokens', 'output_tokens'] },
  ),
)
const typed = (type: string, more: object) => ({ type, ...more })
const eventOf: Record<NamedRoute, fc.Arbitrary<{ type: string }>> = {
  messages: fc.oneof(
    fc.record({ model: word, usage: usages, a: word }).map((message) => typed('message_start', { message })),
    word.map((text) => typed('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    usages.map((usage) => typed('message_delta', { delta: { stop_reason: 'end_turn' }, usage })),
    fc.constantFrom(typed('ping', {}), typed('message_stop', {}), typed('error', { error: { message: 'm' } })),
  ),
  responses: fc.oneof(
    fc
      .tuple(
        fc.constantFrom('response.created', 'response.in_progress', 'response.completed', 'response.failed'),
        fc.record({ model: word, usage: usages, a: word }),
      )
      .map(([type, response]) => typed(type, { response })),
    word.map((delta) => typed('response.output_text.delta', { delta })),
    fc.constantFrom(
      typed('response.output_item.added', { item: { model: 'served' } }),
      typed('error', { message: 'm' }),
    ),
  ),
}
const layouts = fc.constantFrom('named', 'unnamed', 'type last', 'spaced')
const blank = fc.constantFrom('\n\n', '\r\n\r\n')
const noise = fc.constantFrom(': ping\n\n', '\n\n', 'data: [DONE]\n\n', 'id: 7\n\n')

function textOf(value: { type: string }, layout: string, end: string): string {
  const newline = end === '\n\n' ? '\n' : '\r\n'
  const { type, ...rest } = value
  const json = layout === 'type last' ? JSON.stringify({ ...rest, type }) : JSON.stringify(value)
  const data = layout === 'spaced' ? json.replace('"type":', '"type": ') : json
  return `${layout === 'unnamed' ? '' : `event: ${type}${newline}`}data: ${data}${end}`
}

interface Whole {
  bytes: Buffer
  events: { type: string }[]
}
const streamOf = (route: NamedRoute): fc.Arbitrary<Whole> =>
  fc.array(fc.tuple(eventOf[route], layouts, blank, fc.option(noise)), { maxLength: 8 }).map((all) => ({
    bytes: Buffer.from(all.map(([value, layout, end, more]) => `${more ?? ''}${textOf(value, layout, end)}`).join('')),
    events: all.map(([value]) => JSON.parse(JSON.stringify(value)) as { type: string }),
  }))

const ending = new Set(['message_stop', 'response.completed', 'response.failed', 'error'])

/** As somebody would read it who has all of it, and time. */
function naive({ events }: Whole): { usage: object | null; shown: object[] } {
  const last = events.findIndex(({ type }) => ending.has(type))
  const read = last === -1 ? events : events.slice(0, last + 1)
  const holderOf = (event: object) =>
    (event as { message?: Usage; response?: Usage }).message ?? (event as { response?: Usage }).response
  type Usage = { model?: string; usage?: object }
  const first = read.findLast(({ type }) => type === 'message_start')
  const later = read.findLast(({ type, ...rest }) =>
    type === 'message_delta' ? (rest as Usage).usage : type.startsWith('response.') && holderOf(rest)?.usage,
  )
  const usageOf = (event: object | undefined) => event && ((event as Usage).usage ?? holderOf(event)?.usage)
  const merged = { ...usageOf(first), ...usageOf(later) }
  for (const event of read) {
    const holder = event.type === 'error' ? undefined : holderOf(event)
    if (holder !== undefined) holder.model = 'mine'
  }
  return { usage: Object.keys(merged).length === 0 ? null : merged, shown: read }
}

for (const route of ['messages', 'responses'] as const)
  test(`${route}: any split of any stream gives what no split gives, and what a patient reader reads`, () => {
    fc.assert(
      fc.property(streamOf(route), fc.array(fc.nat(), { maxLength: 12 }), (whole, cuts) => {
        const { bytes } = whole
        const one = new NamedStream(route, view)
        const expected = run(one, bytes)
        const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
        const split = new NamedStream(route, view)
        assert.equal(run(split, ...at.slice(1).map((end, i) => bytes.subarray(at[i], end))), expected)
        const state = (of: NamedStream) => [of.usageText, of.done, of.complete, of.errorText, of.events, of.uncounted]
        assert.deepEqual(state(split), state(one))
        const { usage, shown } = naive(whole)
        assert.deepEqual(one.usageText === null ? null : JSON.parse(bytesToText(one.usageText)), usage)
        const lines = expected.split(/\r?\n/).filter((line) => line.startsWith('data: '))
        const payloads = lines.map((line) => JSON.parse(line.slice(6)) as object)
        assert.deepEqual(payloads, shown)
      }),
      { numRuns: 600 },
    )
  })

function bytesToText(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString()
}

test('what only proves a thought is no piece of the answer, whatever a text says of it', () => {
  const stream = new NamedStream('messages', { model: null, maxEventBytes: 1_000_000, errorEvent: () => '' })
  const delta = (piece: object) =>
    `event: content_block_delta\ndata: ${JSON.stringify(typed('content_block_delta', { index: 0, delta: piece }))}\n\n`
  stream.push(delta({ type: 'signature_delta', signature: 'abc' }))
  assert.deepEqual([stream.events, stream.contentSeen], [0, false])
  for (const piece of [
    { type: 'thinking_delta', thinking: 'so' },
    { type: 'text_delta', text: 'a "signature_delta" is' },
  ])
    stream.push(delta(piece))
  assert.deepEqual([stream.events, stream.contentSeen], [2, true])
})
