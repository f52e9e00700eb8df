import assert from 'node:assert/strict'
import { isAscii } from 'node:buffer'
import { test } from 'node:test'
import fc from 'fast-check'
import { byteText, members, withMembers } from './json-members.ts'

const view = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')
const parsed = (text: string): unknown => JSON.parse(Buffer.from(text, 'latin1').toString('utf8'))

test('finds what JSON.parse finds, for any object in any spelling', () => {
  const spaces = fc.constantFrom(undefined, 1, '\t')
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), spaces, (object, indent) => {
      const text = view(JSON.stringify(object, null, indent))
      const found = members(text, 1000)!
      const values = found.map((m) => parsed(text.slice(m.valueStart, m.valueEnd)))
      assert.deepEqual(values, Object.values(JSON.parse(JSON.stringify(object)) as object))
    }),
  )
})

test('changing members gives what changing the object gives', () => {
  const known = fc.constantFrom('model', 'stream_options', 'messages', '__proto__x', 'a"b')
  const any = fc.oneof(known, fc.constantFrom('ü', '"'))
  fc.assert(
    fc.property(fc.dictionary(any, fc.jsonValue()), fc.dictionary(known, fc.jsonValue()), (object, changes) => {
      const text = view(JSON.stringify(object))
      const map = new Map(Object.entries(changes).map(([key, value]) => [key, byteText(value)]))
      const spelled = withMembers(text, members(text, 1000)!, map)
      const expected = JSON.parse(JSON.stringify({ ...object, ...changes })) as object
      assert.deepEqual(
        new Map(Object.entries(parsed(spelled) as object)),
        new Map(Object.entries(expected)),
        'same members',
      )
    }),
    { examples: [[{}, { model: 'x' }]] },
  )
})

test('keeps digits, order and unknown fields byte for byte', () => {
  const text = '{ "seed": 12345678901234567890, "model" :"a" , "x":[1.0, 1e5],"model2":"a"}'
  const out = withMembers(text, members(text, 10)!, new Map([['model', '"served"']]))
  assert.equal(out, '{ "seed": 12345678901234567890, "model" :"served" , "x":[1.0, 1e5],"model2":"a"}')
})

test('a nested member of the same name is not touched', () => {
  const text = '{"tools":[{"model":"inner"}],"model":"outer","x":{"model":"inner"}}'
  const out = withMembers(text, members(text, 10)!, new Map([['model', '"new"']]))
  assert.equal(out, '{"tools":[{"model":"inner"}],"model":"new","x":{"model":"inner"}}')
})

test('duplicates collapse to the last value, also when one of them hides behind an escape', () => {
  const text = '{"model":"a","lora":"bad","\\u006dodel":"b","lora":"good"}'
  const kept = parsed(withMembers(text, members(text, 10)!, new Map()))
  assert.deepEqual(kept, { model: 'b', lora: 'good' })
  const out = withMembers(text, members(text, 10)!, new Map([['model', '"served"']]))
  assert.equal(out.match(/served/g)?.length, 1)
  assert.ok(!out.includes('"a"') && !out.includes('"b"') && !out.includes('bad'))
})

test('braces, quotes and backslashes inside strings do not confuse it', () => {
  const object = { a: '}{"model":"x"}', 'b\\': 'y\\', c: ['\\"', { d: '}]' }], model: 'm' }
  const text = JSON.stringify(object)
  assert.deepEqual(
    members(text, 10)!.map((m) => m.key),
    ['a', 'b\\', 'c', 'model'],
  )
})

test('what is no object, not closed, or too deep gives null', () => {
  for (const text of [
    '',
    '[]',
    '1',
    '{',
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":"x',
    '{a:1}',
    '{"a":1,}',
    '{"a":1;"b":2}',
    '{"a":}',
  ])
    assert.equal(members(text, 10), null, text)
  const deep = (n: number) => `{"a":${'['.repeat(n)}${']'.repeat(n)}}`
  assert.notEqual(members(deep(9), 10), null)
  assert.equal(members(deep(10), 10), null)
  assert.equal(members(deep(2_000_000), 128), null)
})

test('any text at all: never wrong about the ASCII keys of what JSON.parse reads as an object', () => {
  const object = fc.dictionary(fc.string({ unit: 'binary-ascii', maxLength: 6 }), fc.jsonValue({ maxDepth: 2 }))
  const put = fc.constantFrom('', '"', '\\', '\\u0061', '{', '}', ',', ':', '[', ' ', '\u2028', 'é')
  fc.assert(
    fc.property(object, fc.nat(), fc.nat({ max: 2 }), put, (value, at, length, more) => {
      const whole = JSON.stringify(value)
      const from = at % (whole.length + 1)
      const text = Buffer.from(whole.slice(0, from) + more + whole.slice(from + length)).toString()
      const found = members(view(text), 1000)
      const read = objectOr(text)
      if (read === null) return
      const last = new Map(found!.map((one) => [one.key, parsed(view(text).slice(one.valueStart, one.valueEnd))]))
      for (const [key, expected] of Object.entries(read))
        if (isAscii(Buffer.from(key))) assert.deepEqual(last.get(key), expected)
      assert.equal(last.size, Object.keys(read).length)
    }),
    { numRuns: 1000 },
  )
})

function objectOr(text: string): object | null {
  try {
    const read: unknown = JSON.parse(text)
    return typeof read === 'object' && !Array.isArray(read) ? read : null
  } catch {
    return null
  }
}
