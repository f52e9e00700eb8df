import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { beginsInside, Thoughts, thinkTagsOf } from './thoughts.ts'

const tags = { open: '<think>', close: '</think>' }

/** Said in pieces of every size; whatever they are, the same comes out. */
function split(text: string, inside = false): { text: string; thought: string } {
  const results = Array.from({ length: text.length }, (_, i) => {
    const thoughts = new Thoughts(tags, inside)
    const all = { text: '', thought: '' }
    for (let at = 0; at < text.length; at += i + 1) {
      const part = thoughts.push(text.slice(at, at + i + 1))
      all.text += part.text
      all.thought += part.thought
    }
    const rest = thoughts.end()
    return { text: all.text + rest.text, thought: all.thought + rest.thought }
  })
  for (const result of results) assert.deepEqual(result, results[0])
  return results[0]!
}

test('what begins the answer between the tags is a thought, the space around it nobody’s', () => {
  assert.deepEqual(split('<think>\nA river?  So.\n</think>\n\nYes, a river.'), {
    thought: 'A river?  So.',
    text: 'Yes, a river.',
  })
  assert.deepEqual(split(' \n<think>x</think>y'), { thought: 'x', text: 'y' })
  assert.deepEqual(split('<think></think>y '), { thought: '', text: 'y ' })
})

test('opened by the prompt, it begins inside', () => {
  assert.deepEqual(split('so it is\n</think>\nYes', true), { thought: 'so it is', text: 'Yes' })
  assert.equal(beginsInside('<|assistant|><think>\n', tags), true)
  assert.equal(beginsInside('<think>\n\n</think>\n\n', tags), false)
})

test('a tag later on is text; what only looks like one is too', () => {
  for (const text of ['Say <think>a</think>', '<thin air', '<', '</think>x', '  hello <'])
    assert.deepEqual(split(text), { thought: '', text }, text)
  assert.deepEqual(split('<think>a < b </thin </think>c'), { thought: 'a < b </thin', text: 'c' })
})

test('cut off, what was thought stays a thought', () => {
  assert.deepEqual(split('<think>half of a </thi'), { thought: 'half of a </thi', text: '' })
})

test('tags are those of the template', () => {
  assert.deepEqual(thinkTagsOf("{{ '</think>' }}"), tags)
  assert.equal(thinkTagsOf("{% if reasoning %}{{ '[THINK]' + x + '[/THINK]' }}{% endif %}")?.open, '[THINK]')
  assert.equal(thinkTagsOf('{{ messages }}'), null)
})
