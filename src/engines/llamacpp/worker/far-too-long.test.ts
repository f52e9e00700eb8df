import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { textsOf, tokensBeyond } from './far-too-long.ts'

/** One token per word; says how much it read. */
function reader() {
  const read = { characters: 0 }
  const countTokens = (text: string) => {
    read.characters += text.length
    return text.split(' ').length
  }
  return { read, model: { countTokens } }
}

test('megabytes are refused after some of them; what may fit is left to be counted', () => {
  const { read, model } = reader()
  const tokens = tokensBeyond(model, ['a few words', 'word '.repeat(2_000_000)], 4_096)!
  assert.ok(tokens > 4_096 && tokens < 10_000, `${tokens}`)
  assert.ok(read.characters < 100_000, `${read.characters} characters`)
  assert.equal(tokensBeyond(model, ['word '.repeat(6_000)], 4_096), null, 'not many characters for so many tokens')
  assert.equal(tokensBeyond(model, ['w'.repeat(100_000)], 4_096), null, 'few tokens in spite of that')
})

test('what templates leave out is not counted', () => {
  const thought = 'hm '.repeat(9)
  const texts = textsOf(
    [
      { role: 'assistant', content: `<think>${thought}</think>yes` },
      { role: 'user', content: 'no' },
    ],
    [],
  )
  assert.deepEqual(texts, ['yes', 'no'])
})
