/** Grammars of calls, and of thoughts before what is held to a form, as the real llama.cpp reads them. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Fault } from '../../../kernel/fault.ts'
import { grammarOf } from './json-grammar.ts'
import { loadNative } from './native.ts'
import { thinkingPart } from './think-grammar.ts'
import { callsGrammar, toolFormOf } from './tool-form.ts'
import { readToolUse } from './tools.ts'

const native = await loadNative(() => {})
const tags = { open: '<think>', close: '</think>' }
const nothing = { body: '', rules: new Map<string, string>() }

function check(grammar: string, valid: readonly string[], invalid: readonly string[]): void {
  const parsed = new native.AddonGrammar(grammar, { addonExports: native }) as {
    isTextCompatible(text: string): boolean
  }
  for (const text of valid) assert.ok(parsed.isTextCompatible(text), `${text} in\n${grammar}`)
  for (const text of invalid) assert.ok(!parsed.isTextCompatible(text), `not ${text} in\n${grammar}`)
}

const city = {
  type: 'object',
  properties: { city: { $ref: '#/$defs/c' } },
  required: ['city'],
  $defs: { c: { enum: ['Ulm'] } },
}
const odd = { type: 'object', properties: { code: { type: 'string', pattern: '^a$' } } }
const use = (
  over: object = {},
  tools = [
    { name: 'get', parameters: city },
    { name: 'odd', parameters: odd },
  ],
) =>
  readToolUse({ tools: tools.map((one) => ({ type: 'function', function: one })), tool_choice: 'required', ...over })!
const ulm = '{"name": "get", "arguments": {"city": "Ulm"}}'
const other = '{"name": "odd", "arguments": {"code": 7}}'
const said = (call: string) => `<tool_call>\n${call}\n</tool_call>`
const tagged = toolFormOf('')

test('calls between tags: names and arguments as the tools have them, each schema by its own references', () => {
  const wrong = [
    '',
    'text',
    said('{}'),
    said(ulm.replace('Ulm', 'Rom')),
    said(ulm.replace('get', 'set')),
    `${said(ulm)} so`,
  ]
  check(callsGrammar(tagged, use(), nothing, false), [said(ulm), `${said(ulm)}\n${said(other)}`], wrong)
  check(callsGrammar(tagged, use({ parallel_tool_calls: false }), nothing, false), [said(ulm)], [said(ulm) + said(ulm)])
  const named = use({ tool_choice: { type: 'function', function: { name: 'odd' } } })
  check(callsGrammar(tagged, named, nothing, false), [said(other)], [said(ulm)])
})

test('a call that has begun goes on after its opening', () => {
  const rest = said(ulm).slice('<tool_call>'.length)
  check(callsGrammar(tagged, use(), nothing, true), [rest, `${rest}\n${said(other)}`], [said(ulm), 'text'])
})

test('the other forms', () => {
  const list = toolFormOf('{{ tools }}[TOOL_CALLS]')
  check(
    callsGrammar(list, use(), nothing, false),
    [`[TOOL_CALLS][${ulm}]`, `[TOOL_CALLS] [${ulm}, ${other}]`],
    [ulm, '[TOOL_CALLS][]'],
  )
  const bare = toolFormOf('{{ tools }} ipython "parameters"')
  check(callsGrammar(bare, use(), nothing, false), [ulm.replace('arguments', 'parameters')], [ulm, said(ulm)])
})

test('a schema that cannot be kept is kept by strict tools alone: they are refused by name', () => {
  const strict = use({}, [{ name: 'odd', parameters: odd, strict: true } as never])
  assert.throws(
    () => callsGrammar(tagged, strict, nothing, false),
    (error: unknown) => error instanceof Fault && /the parameters of odd/.test(error.message),
  )
})

test('thoughts before the answer are free, and end; without the right to think there are none', () => {
  const json = { type: 'json' } as const
  const thought = 'a < b, </ thin </thin <</think>'
  check(
    grammarOf(json, thinkingPart(tags, false))!,
    ['{}', `<think>${thought}\n{"a": 1}`],
    [thought, '<think>x', '<think></think>', `<think>${thought} so {}`],
  )
  check(grammarOf(json, thinkingPart(tags, true))!, [`${thought}\n\n{}`, '</think>{}'], ['{}', `${thought}so {}`])
  check(grammarOf(json)!, ['{}'], [`<think>${thought}{}`])
  const first = thinkingPart(tags, true)
  check(callsGrammar(tagged, use(), first, false), [`so</think>\n\n${said(ulm)}`], [said(ulm)])
})
