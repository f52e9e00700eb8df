import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Fault } from '../../../kernel/fault.ts'
import { grammarOfSchema } from './json-grammar.ts'

function codeOf(schema: unknown): string {
  try {
    grammarOfSchema(schema)
  } catch (error) {
    if (error instanceof Fault) return error.code
    throw error
  }
  return 'no fault'
}

/** Every rule that is used is defined, once. */
function checkRules(grammar: string): void {
  const defined = [...grammar.matchAll(/^([a-z]+\d*) ::= /gm)].map((match) => match[1]!)
  assert.equal(new Set(defined).size, defined.length, grammar)
  const bare = grammar.replace(/"(?:[^"\\]|\\.)*"/g, '').replace(/\[(?:[^\]\\]|\\.)*\]/g, '')
  for (const [name] of bare.matchAll(/[a-z]+\d*/g)) assert.ok(defined.includes(name), `${name} in\n${grammar}`)
}

test('schemas of every kind become grammars whose rules all exist', () => {
  const schemas = [
    true,
    {},
    { type: 'string', minLength: 1, maxLength: 3 },
    { type: ['string', 'null'] },
    { enum: ['a"b', 1, null, { x: [1] }] },
    { const: 'x\ny' },
    { type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 4 },
    { type: 'array', maxItems: 0 },
    { type: 'object', additionalProperties: false },
    { properties: { a: { type: 'string' }, b: true }, required: ['b'] },
    { anyOf: [{ type: 'string' }, { type: 'object', properties: { z: { type: 'null' } } }] },
    { $ref: '#/$defs/tree', $defs: { tree: { type: 'object', properties: { next: { $ref: '#/$defs/tree' } } } } },
    { title: 'T', description: 'D', type: 'boolean' },
  ]
  for (const schema of schemas) checkRules(grammarOfSchema(schema))
})

test('what constrains and is not known is refused by name; what is no schema is wrong', () => {
  for (const schema of [
    { type: 'string', pattern: 'x' },
    { type: 'number', minimum: 1 },
    { allOf: [] },
    { not: {} },
    { $ref: 'http://x' },
  ])
    assert.equal(codeOf(schema), 'engine_unsupported', JSON.stringify(schema))
  for (const schema of [
    null,
    5,
    'x',
    [],
    { type: 'text' },
    { $ref: '#/none' },
    { enum: [] },
    { type: 'array', minItems: 3, maxItems: 1 },
    { type: 'string', maxLength: 1e9 },
  ])
    assert.equal(codeOf(schema), 'invalid_request', JSON.stringify(schema))
})

test('a schema that grows without end is refused', () => {
  const wide = {
    type: 'object',
    properties: Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`p${i}`, { type: 'string' }])),
  }
  assert.equal(codeOf(wide), 'engine_unsupported')
})
