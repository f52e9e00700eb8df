import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { edited, findModel, findUsage } from './answer-edit.ts'
import { EventTooLarge } from './event-cutter.ts'
import { EventStream, type StreamView } from './event-stream.ts'

const view = (over: Partial<StreamView> = {}): StreamView => ({
  model: null,
  usage: 'none',
  maxEventBytes: 1 << 20,
  ...over,
})
const usage = (n: number) => ({ prompt_tokens: 7, completion_tokens: n, total_tokens: 7 + n })
const chunk = (text: string, n: number | null, over: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'served',
  choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
  ...(n === null ? {} : { usage: usage(n) }),
  ...over,
})
const wire = (...events: unknown[]): string =>
  events.map((e) => `data: ${typeof e === 'string' ? e : JSON.stringify(e)}\n\n`).join('')

function run(stream: EventStream, ...pieces: Buffer[]): string {
  const out = pieces.map((piece) => stream.push(piece.toString('latin1')))
  return Buffer.from(out.join('') + stream.end(), 'latin1').toString()
}
const events = (text: string): unknown[] =>
  text
    .split('\n\n')
    .filter((e) => e.startsWith('data: '))
    .map((e) => JSON.parse(e.slice(6)))

const example = wire(
  chunk('', 0),
  chunk('Grüße "usage":{"x":1} 🎉', 1),
  chunk('b', 2),
  { ...chunk('', 2), choices: [] },
  '[DONE]',
)

test('a client that did not ask sees no usage, and no chunk that has nothing else', () => {
  const stream = new EventStream(view())
  assert.deepEqual(events(run(stream, Buffer.from(example))), [
    chunk('', null),
    chunk('Grüße "usage":{"x":1} 🎉', null),
    chunk('b', null),
  ])
  assert.deepEqual(JSON.parse(stream.usageText!), usage(2))
  assert.equal(stream.done, true)
})

test('a client that asked for the last chunk gets it, and null before as OpenAI sends it', () => {
  const out = events(run(new EventStream(view({ usage: 'final' })), Buffer.from(example)))
  assert.deepEqual(out.at(-1), { ...chunk('', 2), choices: [] })
  assert.ok(out.slice(0, -1).every((e) => (e as { usage: unknown }).usage === null))
})

test('a client that asked for every chunk gets the very same bytes', () => {
  const whole = wire(chunk('a', 1), chunk('b', 2))
  assert.equal(new EventStream(view({ usage: 'every' })).push(whole), whole)
})

test('an engine that puts usage into its last content chunk: the client still gets the chunk it waits for', () => {
  const text = wire(chunk('a', null), chunk('b', 2), '[DONE]')
  const out = events(run(new EventStream(view({ usage: 'final', model: '"mine"' })), Buffer.from(text)))
  assert.deepEqual(out.at(-1), {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'mine',
    choices: [],
    usage: usage(2),
  })
  assert.equal(out.length, 3)
})

test('the model is renamed in the outermost object only', () => {
  const tricky = { tools: [{ model: 'served', usage: { a: 1 } }], model: 'served', choices: [{ model: 'served' }] }
  const out = run(new EventStream(view({ model: '"mine"' })), Buffer.from(wire(tricky)))
  assert.deepEqual(events(out), [{ ...tricky, model: 'mine' }])
})

test('however the events of a stream begin, alike or not, each has the model renamed in its outermost object', () => {
  const name = fc.constantFrom('served', 'serv', 'served"', 'x', 7, 71, null)
  const members = fc.record({
    id: fc.constantFrom('a', 'b'),
    model: name,
    choices: fc.constant([{ index: 0, delta: { content: '{"model":"served"', model: 'inner' } }]),
    usage: fc.constantFrom(usage(1), null),
  })
  const order = fc.shuffledSubarray(['id', 'model', 'choices', 'usage'] as const)
  const orders = fc.oneof(
    order.map((one) => [one, one, one]),
    fc.array(order, { minLength: 3, maxLength: 3 }),
  )
  const some = fc.tuple(fc.array(members, { minLength: 3, maxLength: 3 }), orders)
  const stream = fc.tuple(some, fc.array(fc.nat(), { minLength: 1, maxLength: 6 }))
  const property = fc.property(stream, fc.constantFrom('none', 'every'), ([[kinds, orders], picks], shown) => {
    const sent = picks.map((pick) => {
      const whole = kinds[pick % 3]!
      return Object.fromEntries(orders[pick % 3]!.map((key) => [key, whole[key]])) as Record<string, unknown>
    })
    const got = events(run(new EventStream(view({ model: '"mine"', usage: shown })), Buffer.from(wire(...sent))))
    const expected = sent.map((event) => {
      const { usage: told, ...rest } = event
      const named = 'model' in event ? { model: 'mine' } : {}
      const kept = shown === 'every' && 'usage' in event ? { usage: told } : {}
      return { ...rest, ...named, ...kept }
    })
    assert.deepEqual(got, expected)
  })
  fc.assert(property, { numRuns: 500 })
})

test('comments, empty events, other fields and CRLF pass as they are', () => {
  const text = `: ping\n\n\n\nevent: x\nid: 4\ndata: {"a":1}\n\ndata: {"b":2}\r\n\r\n:\n\n`
  assert.equal(run(new EventStream(view()), Buffer.from(text)), text)
  const crlf = `data: ${JSON.stringify(chunk('a', 1))}\r\n\r\ndata: [DONE]\r\n\r\n`
  const stream = new EventStream(view())
  assert.equal(run(stream, Buffer.from(crlf)), `data: ${JSON.stringify(chunk('a', null))}\r\n\r\n`)
  assert.equal(stream.done, true)
})

test('the last event is completed when the engine forgot its blank line', () => {
  assert.deepEqual(events(run(new EventStream(view()), Buffer.from(wire(chunk('a', 1)).trimEnd()))), [chunk('a', null)])
})

test('an error event passes and is remembered', () => {
  const stream = new EventStream(view())
  const text = wire(chunk('a', null), '{"error": {"message":"boom","code":500}}')
  assert.equal(run(stream, Buffer.from(text)), text)
  assert.match(stream.errorText!, /boom/)
})

test('content begins with the first text, not with the role', () => {
  const stream = new EventStream(view())
  stream.push(wire({ choices: [{ delta: { role: 'assistant', content: '' } }] }))
  assert.equal(stream.contentSeen, false)
  stream.push(wire({ choices: [{ delta: { reasoning_content: 'hm' } }] }))
  assert.equal(stream.contentSeen, true)
})

test('an event without end is refused at the limit', () => {
  const stream = new EventStream(view({ maxEventBytes: 1000 }))
  assert.throws(() => {
    for (let i = 0; i < 20; i++) stream.push('x'.repeat(100))
  }, EventTooLarge)
})

// Whatever engines and networks do to the pieces, the client sees the same bytes and we count the same tokens.
const jsonEvent = fc.record(
  {
    model: fc.constantFrom('served', 'x"y', '{', '[', 'ü'),
    choices: fc.constantFrom([], [{ delta: { content: '"usage":{}\\' } }], [{ usage: { nested: 1 } }]),
    usage: fc.oneof(fc.constant(null), fc.record({ prompt_tokens: fc.nat(), completion_tokens: fc.nat() })),
    'a"usage': fc.jsonValue(),
    'b\\': fc.jsonValue(),
    zz: fc.jsonValue(),
  },
  { requiredKeys: [] },
)
const piece = fc.oneof(
  { weight: 6, arbitrary: jsonEvent.map((e) => `data: ${JSON.stringify(e)}`) },
  { weight: 1, arbitrary: jsonEvent.map((e) => `data:${JSON.stringify(e, null, ' ').replaceAll('\n', ' ')}`) },
  fc.constantFrom(
    ': comment',
    'event: a\ndata: {"x":1}',
    'data: [DONE]',
    'data: two\ndata: lines',
    'data: {"error":{}}',
    '',
  ),
  fc.string({ unit: 'binary' }).map((s) => s.replaceAll(/[\r\n]/g, ' ')),
)
const ends = fc.constantFrom('\n\n', '\r\n\r\n')
const streams = fc.array(fc.tuple(piece, ends), { maxLength: 8 }).map((all) => Buffer.from(all.flat().join('')))
const views = fc.record({
  model: fc.constantFrom(null, '"mine"', '"mine","emulated":true'),
  usage: fc.constantFrom('none' as const, 'final' as const, 'every' as const),
  maxEventBytes: fc.constant(1 << 20),
})

test('any split of any stream gives the same as no split', () => {
  fc.assert(
    fc.property(streams, views, fc.array(fc.nat(), { maxLength: 12 }), (bytes, shown, cuts) => {
      const whole = new EventStream(shown)
      const expected = run(whole, bytes)
      const at = [0, ...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
      const split = new EventStream(shown)
      const pieces = at.slice(1).map((end, i) => bytes.subarray(at[i], end))
      assert.equal(run(split, ...pieces), expected)
      assert.deepEqual(
        [split.usageText, split.done, split.errorText, split.events],
        [whole.usageText, whole.done, whole.errorText, whole.events],
      )
    }),
    { numRuns: 1500 },
  )
})

/** As somebody would read it who has all of it, and time: the last usage before `[DONE]`, and whether it was complete. */
function naive(text: string): { usage: unknown; complete: boolean } {
  let usage: unknown = null
  let finished: boolean[] = []
  for (const event of text.split(/(?<=\n\r?\n)/)) {
    const data = event.split('\n').filter((line) => line.startsWith('data:'))
    if (data.length !== 1) continue
    const payload = data[0]!.slice(5).replace(/^ /, '').replace(/\r$/, '')
    if (payload === '[DONE]') finished.push(true)
    const parsed = parsedOr(payload)
    if (parsed === null) continue
    if (typeof parsed.usage === 'object' && parsed.usage !== null) usage = parsed.usage
    finished = [...finished, /"finish_reason":\s*"/.test(payload)].slice(-2)
  }
  return { usage, complete: finished.includes(true) }
}

function parsedOr(payload: string): Record<string, unknown> | null {
  try {
    return JSON.parse(payload) as Record<string, unknown>
  } catch {
    return null
  }
}

const word = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 10 }),
  fc.constantFrom(
    '"usage":{"prompt_tokens":9}',
    '\n\n',
    '[DONE]',
    '"finish_reason":"stop"',
    '\u2028',
    '🎉'.repeat(3000),
  ),
)
const tokens = fc.nat({ max: 100_000 })
const chatEvent = fc.record(
  {
    id: word,
    model: word,
    choices: fc.array(
      fc.record({
        delta: fc.record({ content: word }),
        finish_reason: fc.constantFrom(null, 'stop', 'length'),
      }),
      { maxLength: 2 },
    ),
    usage: fc.oneof(fc.constant(null), fc.record({ prompt_tokens: tokens, completion_tokens: tokens, x: word })),
  },
  { requiredKeys: ['choices'] },
)
const chats = fc
  .array(fc.tuple(chatEvent, ends, fc.constantFrom('', ': ping\n\n', 'event: chunk\n')), { maxLength: 8 })
  .chain((all) => {
    const text = all.map(([event, end, before]) => `${before}data: ${JSON.stringify(event)}${end}`).join('')
    return fc.constantFrom(text, `${text}data: [DONE]\n\n`)
  })

test('what is counted, and whether it is complete, is what a patient reader finds, at any split', () => {
  fc.assert(
    fc.property(chats, views, fc.array(fc.nat(), { maxLength: 8 }), (text, shown, cuts) => {
      const bytes = Buffer.from(text)
      const at = [0, ...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
      const stream = new EventStream(shown)
      const out = run(stream, ...at.slice(1).map((end, i) => bytes.subarray(at[i], end)))
      const { usage: told, complete } = naive(text)
      const read =
        stream.usageText === null ? null : (JSON.parse(Buffer.from(stream.usageText, 'latin1').toString()) as unknown)
      assert.deepEqual([read, stream.complete], [told, complete])
      for (const line of out.split(/\r?\n/)) if (line.startsWith('data: {')) assert.ok(JSON.parse(line.slice(6)))
    }),
    { numRuns: 600 },
  )
})

test('the quick finders and editing agree with JSON.parse', () => {
  fc.assert(
    fc.property(jsonEvent, fc.constantFrom(undefined, 1), fc.constantFrom('remove', 'null'), (event, indent, fate) => {
      const text = Buffer.from(JSON.stringify(event, null, indent)).toString('latin1')
      const found = findUsage(text)
      const out = JSON.parse(edited(text, '"new"', found, fate as 'remove')) as Record<string, unknown>
      const expected = JSON.parse(text) as Record<string, unknown>
      if ('model' in expected) expected.model = 'new'
      if ('usage' in expected && fate === 'null') expected.usage = null
      if (fate === 'remove') delete expected.usage
      assert.deepEqual(out, expected)
      assert.equal(found !== null, 'usage' in event)
      assert.equal(findModel(text) !== null, 'model' in event)
    }),
    { numRuns: 1500 },
  )
})
