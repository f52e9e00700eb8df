import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { CallText, type FoundCall } from './call-text.ts'
import { type ToolForm, toolFormOf } from './tool-form.ts'

const tagged = toolFormOf('{% if tools %}<tool_call>{% endif %}')
const listed = toolFormOf('{% if tools %}[TOOL_CALLS]{% endif %}')
const bare = toolFormOf('{% if tools %}ipython "parameters"{% endif %}')

/** Said in pieces of every size; whatever they are, the same comes out. */
function split(form: ToolForm, text: string): { text: string; calls: FoundCall[] } {
  const results = Array.from({ length: text.length }, (_, i) => {
    const reader = new CallText(form, ['add', 'get'])
    const all = { text: '', calls: [] as FoundCall[] }
    const take = (part: { text: string; calls: FoundCall[] }) => {
      all.text += part.text
      all.calls.push(...part.calls)
    }
    for (let at = 0; at < text.length; at += i + 1) take(reader.push(text.slice(at, at + i + 1)))
    take(reader.end())
    return all
  })
  for (const result of results) assert.deepEqual(result, results[0])
  return results[0]!
}

const add = { name: 'add', arguments: '{"a":1}' }
const get = { name: 'get', arguments: '{"s":"</tool_call>"}' }

test('forms are those of the templates', () => {
  assert.deepEqual([tagged.native, listed.list, bare.open], [true, true, ''])
  assert.equal(toolFormOf('{{ messages }} <tool_call>').native, false, 'it knows no tools')
  assert.equal(toolFormOf('{{ tools }}<tool_call><function=').native, false, 'it writes them another way')
})

test('calls between tags, the space around them nobody’s; a closing tag inside an argument is none', () => {
  const text = 'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
  assert.deepEqual(split(tagged, text), { text: 'Let me see.', calls: [add] })
  const two = `<tool_call>${JSON.stringify({ name: 'get', arguments: { s: '</tool_call>' } })}</tool_call>`
  assert.deepEqual(split(tagged, text + two), { text: 'Let me see.', calls: [add, get] })
})

test('a list after a mark, and an answer that is a call', () => {
  const list = '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {"a": 1}}]'
  assert.deepEqual(split(listed, list), { text: '', calls: [add, add] })
  assert.deepEqual(split(bare, '\n{"name": "add", "parameters": {"a": 1}}'), { text: '', calls: [add] })
})

test('what is no call stays text, every character of it', () => {
  const texts = [
    '<tool',
    ' a < b\n',
    '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "ad',
  ]
  for (const text of texts) assert.deepEqual(split(tagged, text), { text, calls: [] }, text)
  for (const text of ['{"a": 1}', 'say {"name": "add"}', '[1]', ' \n'])
    assert.deepEqual(split(bare, text), { text, calls: [] }, text)
  assert.deepEqual(split(listed, '[TOOL_CALLS][]'), { text: '[TOOL_CALLS][]', calls: [] })
})
