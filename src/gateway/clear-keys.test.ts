import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { requireClearKeys } from './clear-keys.ts'
import { parseAsk } from './parse.ts'

/** JSON as it is written: members may repeat, keys may be escaped, space may stand anywhere. */
type Written = { text: string; unclear: boolean }

const space = fc.constantFrom('', '', ' ', '\n', '\t ')
/** Without a quote: Node 26 may read an escaped one as a backslash. */
const key = fc.constantFrom('a', 'b', 'c', 'ä', '__proto__', ':', '\\', '\\u0061')
const scalar = fc.constantFrom('1', 'null', 'true', '""', '"a:"', '"\\":"', '"{\\"a\\":1}"', '"ä"', '-1e5')
const spelled = fc.tuple(key, fc.boolean()).map(([name, wanted]) => {
  const escapes = wanted && name !== 'ä'
  const code = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
  return { name, escapes, text: escapes ? `"${[...name].map(code).join('')}"` : JSON.stringify(name) }
})

const { value } = fc.letrec<{ value: Written; object: Written; array: Written }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    scalar.map((text) => ({ text, unclear: false })),
    tie('object'),
    tie('array'),
  ),
  array: fc.tuple(fc.array(tie('value'), { maxLength: 3 }), space).map(([items, gap]) => ({
    text: `[${gap}${items.map(({ text }) => text).join(`${gap},`)}]`,
    unclear: items.some(({ unclear }) => unclear),
  })),
  object: fc.tuple(fc.array(fc.tuple(spelled, tie('value')), { maxLength: 4 }), space).map(([members, gap]) => ({
    text: `{${gap}${members.map(([one, { text }]) => `${one.text}${gap}:${gap}${text}${gap}`).join(`,${gap}`)}}`,
    unclear:
      new Set(members.map(([{ name }]) => name)).size < members.length ||
      members.some(([{ escapes }, { unclear }]) => escapes || unclear),
  })),
}))

test('a field is refused when a key anywhere in it stands twice or has needless escapes, and only then', () => {
  fc.assert(
    fc.property(value, fc.constantFrom('tools', 'response_format', 'x'), ({ text, unclear }, field) => {
      const ask = parseAsk(Buffer.from(`{"model":"m" , "${field}" : ${text},"n":1}`))
      if (unclear) assert.throws(() => requireClearKeys(ask), { code: 'invalid_request' })
      else requireClearKeys(ask)
    }),
    { numRuns: 3_000 },
  )
})

test('of a field that itself stands twice only the last is looked at, which is what is sent', () => {
  const bad = '{"a":1,"a":2}'
  requireClearKeys(parseAsk(Buffer.from(`{"tools":${bad},"tools":[]}`)))
  assert.throws(() => requireClearKeys(parseAsk(Buffer.from(`{"tools":[],"tools":${bad}}`))))
  assert.throws(() => requireClearKeys(parseAsk(Buffer.from(`{"tools":[],"\\u0074ools":${bad}}`))))
})

test('a key that the parser itself misreads after another request is refused', () => {
  // What Node 26 has seen of others before makes it take the first nine characters as they stand for the key.
  const primed = JSON.stringify({ messages: [{ content: [{ type: 'x', '\\u0069mag': 1 }] }] })
  const smuggled = '{"messages":[{"content":[{"type":"x","\\u0069mage_url":"http://10.0.0.1/"}]}]}'
  for (let n = 0; n < 3; n++) {
    requireClearKeys(parseAsk(Buffer.from(primed)))
    assert.throws(() => requireClearKeys(parseAsk(Buffer.from(smuggled))), { code: 'invalid_request' })
  }
})
