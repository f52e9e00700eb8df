import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type CallSegment, CallText } from './call-text.ts'
import { type ToolForm, toolFormOf } from './tool-form.ts'

const tagged = toolFormOf('{% if tools %}<tool_call>{% endif %}')
const listed = toolFormOf('{% if tools %}[TOOL_CALLS]{% endif %}')
const bare = toolFormOf('{% if tools %}ipython "parameters"{% endif %}')

interface Calls {
  text: string
  calls: { name: string; arguments: string }[]
}

/** Said in pieces of every size; whatever they are, the same comes out. */
function split(form: ToolForm, text: string): Calls {
  const results = Array.from({ length: text.length }, (_, i) => {
    const reader = new CallText(form, ['add', 'get'])
    const all: Calls = { text: '', calls: [] }
    const take = (part: CallSegment) => {
      all.text += part.text
      for (const { at, name, arguments: args } of part.calls) {
        assert.equal(name !== undefined, at === all.calls.length, 'the first piece has the name')
        if (name !== undefined) all.calls.push({ name, arguments: args })
        else all.calls[at]!.arguments += args
      }
    }
    for (let at = 0; at < text.length; at += i + 1) take(reader.push(text.slice(at, at + i + 1)))
    take(reader.end())
    return all
  })
  for (const result of results) assert.deepEqual(result, results[0])
  return results[0]!
}

const add = { name: 'add', arguments: '{"a": 1}' }
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
    '<tool_call>{"name": "add", "arguments": ',
    '<tool_call>{"arguments": {"a": 1}}</tool_call>',
    '<tool_call>[]</tool_call>',
    '<tool_call>soon</tool_call>',
  ]
  for (const text of texts) assert.deepEqual(split(tagged, text), { text, calls: [] }, text)
  for (const text of ['{"a": 1}', 'say {"name": "add"}', '[1]', ' \n'])
    assert.deepEqual(split(bare, text), { text, calls: [] }, text)
  assert.deepEqual(split(listed, '[TOOL_CALLS][]'), { text: '[TOOL_CALLS][]', calls: [] })
})

test('written in another order, it is read once it is whole', () => {
  const call = '{"arguments": {"a": 1}, "name": "add"}'
  const whole = { text: '', calls: [{ name: 'add', arguments: '{"a":1}' }] }
  assert.deepEqual(split(tagged, `<tool_call>${call}</tool_call>`), whole)
  assert.deepEqual(split(listed, `[TOOL_CALLS][${call}]`), whole)
  assert.deepEqual(split(bare, call.replace('arguments', 'parameters')), whole)
  const none = { text: '', calls: [{ name: 'add', arguments: '{}' }] }
  assert.deepEqual(split(tagged, '<tool_call>{"name": "add"}</tool_call>'), none)
  assert.deepEqual(split(bare, '{"type": "function", "name": "add", "parameters": {"a": 1}}'), {
    text: '',
    calls: [add],
  })
})

test('an end that is missing or odd: the arguments are whole, and nobody waits for it', () => {
  const call = '<tool_call>{"name": "add", "arguments": {"a": 1}'
  for (const end of ['', '}', '</tool_call>', ', "id": "]}"}</tool_call>', '}\n<tool_cal'])
    assert.deepEqual(split(tagged, call + end).calls, [add], end)
  assert.deepEqual(split(tagged, `${call}}</tool_call> and`), { text: ' and', calls: [add] })
  const list = '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}'
  assert.deepEqual(split(listed, `${list}, {"name": "rm", "arguments": {}}]`), {
    text: ', {"name": "rm", "arguments": {}}]',
    calls: [add],
  })
  assert.deepEqual(split(listed, list), { text: '', calls: [add] })
  assert.deepEqual(split(bare, '{"name": "add", "parameters": {"a": 1}} \n'), { text: '', calls: [add] })
})

test('the name goes out with the brace of the arguments, these as they come; other text is not held', () => {
  const reader = new CallText(tagged, ['add'])
  const pieces = [
    'So <to',
    'ol_call>{"name": "add", "argu',
    'ments": {',
    '"s": "é',
    '}</tool_call>',
    '"}',
    '}</tool_call>',
  ]
  const parts = pieces.map((piece) => reader.push(piece))
  assert.deepEqual(parts, [
    { text: 'So', calls: [] },
    { text: '', calls: [] },
    {
      text: '',
      calls: [
        { at: 0, name: 'add', arguments: '' },
        { at: 0, arguments: '{' },
      ],
    },
    { text: '', calls: [{ at: 0, arguments: '"s": "é' }] },
    { text: '', calls: [{ at: 0, arguments: '}</tool_call>' }] },
    { text: '', calls: [{ at: 0, arguments: '"}' }] },
    { text: '', calls: [] },
  ])
  const json = new CallText(bare, ['add'])
  assert.deepEqual(json.push('{"na'), { text: '', calls: [] }, 'it may become a call')
  assert.deepEqual(json.push('mes": '), { text: '{"names": ', calls: [] }, 'it will not')
  assert.deepEqual(json.push('[1]'), { text: '[1]', calls: [] })
})
