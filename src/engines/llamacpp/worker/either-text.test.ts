/** Many texts side by side, as the real llama.cpp reads them. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { eitherText } from './either-text.ts'
import { loadNative } from './native.ts'

const native = await loadNative(() => {})

function grammarOf(texts: readonly string[]) {
  return new native.AddonGrammar(`root ::= ${eitherText(texts)}\n`, { addonExports: native }) as {
    isTextCompatible(text: string): boolean
  }
}

test('exactly these texts, whatever they share', () => {
  const texts = ['a', 'ab', 'abc', 'b"\\', '', 'é', '😀x', '😁x', '😁', 'ab', 'zzzz']
  const grammar = grammarOf(texts)
  for (const text of texts) assert.ok(grammar.isTextCompatible(text), text)
  for (const text of ['ac', 'abcd', '😀', 'z', 'b', 'é😀']) assert.ok(!grammar.isTextCompatible(text), text)
})

test('each the beginning of the next, as many as a schema holds', () => {
  const texts = Array.from({ length: 720 }, (_, n) => 'a'.repeat(n))
  const grammar = grammarOf(texts)
  for (const n of [0, 1, 300, 719]) assert.ok(grammar.isTextCompatible('a'.repeat(n)), `${n}`)
  assert.ok(!grammar.isTextCompatible('a'.repeat(720)))
})
