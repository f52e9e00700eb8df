/** Schemas become grammars that the real llama.cpp reads: valid texts pass, invalid ones do not. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Fault } from '../../../kernel/fault.ts'
import { grammarOf, grammarOfSchema, rulesMaximum } from './json-grammar.ts'
import { loadNative } from './native.ts'
import { repetitionMaximum } from './schema-keywords.ts'

const native = await loadNative(() => {})

/** Whether the grammar lets the whole text through. */
function accepts(grammar: string, text: string): boolean {
  const parsed = new native.AddonGrammar(grammar, { addonExports: native }) as {
    isTextCompatible(text: string): boolean
  }
  return parsed.isTextCompatible(text)
}

function check(schema: unknown, valid: unknown[], invalid: string[]): void {
  const grammar = grammarOfSchema(schema)
  for (const value of valid)
    assert.ok(accepts(grammar, JSON.stringify(value)), `${JSON.stringify(value)} in\n${grammar}`)
  for (const text of invalid) assert.ok(!accepts(grammar, text), `not ${text} in\n${grammar}`)
}

function faultOf(schema: unknown): Fault {
  try {
    grammarOfSchema(schema)
  } catch (error) {
    if (error instanceof Fault) return error
    throw error
  }
  assert.fail(`no fault for ${JSON.stringify(schema).slice(0, 200)}`)
}

test('scalars', () => {
  check({ type: 'string' }, ['', 'a"b\\c\n', 'é 火 🙂'], ['"', 'a', '"\n"', '1'])
  check({ type: 'string', minLength: 1, maxLength: 3 }, ['a', '火火火'], ['""', '"abcd"'])
  check({ type: 'integer' }, [0, -12, 99], ['01', '1.5', '-', '1e3'])
  check({ type: 'number' }, [0.5, -1.25e-7, 12], ['.5', '1.', 'NaN'])
  check({ type: 'boolean' }, [true, false], ['True', 'null'])
  check({ type: ['string', 'null'] }, ['x', null], ['1'])
  check({ type: 'string', format: 'date' }, ['2026-11-21'], ['"2026-13-01"', '"26-1-1"', '""'])
  check({ type: 'string', format: 'date-time' }, ['2026-11-21T10:00:00Z'], ['"2026-11-21"'])
})

test('texts of a form', () => {
  const forms: [string, string[], string[]][] = [
    ['email', ['ada@example.com', 'a.b+c@x-y.co.uk'], ['ada', '@x.de', 'a@b']],
    ['hostname', ['a', 'api.example.com'], ['-a', 'a..b', '']],
    ['ipv4', ['10.0.0.255', '1.2.3.4'], ['256.1.1.1', '1.2.3', '01.2.3.4']],
    ['ipv6', ['2001:db8:0:0:0:0:0:1'], ['2001', ':1']],
    ['duration', ['P3D', 'PT5M', 'P1DT2H'], ['P', '3D', 'PT']],
    ['uri', ['https://example.com/a/b.txt'], ['example.com', 'ftp://x']],
  ]
  for (const [format, valid, invalid] of forms)
    check(
      { type: 'string', format },
      valid,
      invalid.map((text) => JSON.stringify(text)),
    )
  check({ type: 'integer', minimum: 1, maximum: 5 }, [1, 5], ['0', '6', '2.5'])
  check({ type: ['number', 'null'], minimum: 0, maximum: 1 }, [0, 0.25, 1, null], ['1.5', '-0.5'])
})

test('enum and const, of any value, only those of the type', () => {
  check({ enum: ['a"b', 1, null, { x: [1] }] }, ['a"b', 1, null, { x: [1] }], ['"a"', '2'])
  check({ const: 'x\ny' }, ['x\ny'], ['"x"'])
  check({ type: 'string', enum: ['a', 1] }, ['a'], ['1'])
})

test('arrays', () => {
  const integers = { type: 'array', items: { type: 'integer' } }
  check(integers, [[], [1], [1, 2, 3]], ['[1,]', '[,1]', '["a"]', '[1 2]'])
  check(
    { ...integers, minItems: 2, maxItems: 3 },
    [
      [1, 2],
      [1, 2, 3],
    ],
    ['[]', '[1]', '[1,2,3,4]'],
  )
  check({ ...integers, minItems: 1, maxItems: 1 }, [[1]], ['[]', '[1,1]'])
  check({ type: 'array', maxItems: 0 }, [[]], ['[1]'])
  check({ type: 'array' }, [[1, 'a', { b: [] }]], ['{}'])
})

test('objects: required ones always, optional ones or not, nothing else, in order', () => {
  const schema = {
    type: 'object',
    properties: { a: { type: 'integer' }, b: { type: 'integer' }, c: { type: 'integer' } },
    required: ['b'],
  }
  check(
    schema,
    [{ b: 1 }, { a: 1, b: 2 }, { b: 1, c: 2 }, { a: 1, b: 2, c: 3 }],
    ['{}', '{"a":1}', '{"a":1,"c":2}', '{"b":1,}', '{"b":1,"d":2}', '{"b":"x"}'],
  )
  check({ ...schema, required: [] }, [{}, { a: 1 }, { c: 1 }, { a: 1, c: 2 }], ['{,}', '{"a":1 "c":2}'])
})

test('what the schema asks for beyond its named properties is kept as well', () => {
  check({ type: 'object', properties: { a: true }, required: ['b'] }, [{ b: 1 }, { a: 2, b: 1 }], ['{}', '{"a":1}'])
  check({ required: ['a'] }, [{ a: [1] }], ['{}', '{"b":1}'])
  check({ type: 'object', additionalProperties: { type: 'integer' } }, [{}, { x: 1, y: 2 }], ['{"x":"a"}'])
  check({ type: 'object', additionalProperties: false }, [{}], ['{"x":1}'])
  check({ minLength: 2 }, ['ab'], ['"a"'])
})

test('references, recursion, alternatives', () => {
  const tree = {
    $ref: '#/$defs/tree',
    $defs: { tree: { type: 'object', properties: { next: { $ref: '#/$defs/tree' } } } },
  }
  check(tree, [{}, { next: { next: {} } }], ['{"next":1}'])
  const either = {
    anyOf: [{ type: 'string' }, { type: 'object', properties: { z: { type: 'null' } }, required: ['z'] }],
  }
  check(either, ['x', { z: null }], ['{}', '1'])
})

test('json_object lets any object through, and only objects', () => {
  const grammar = grammarOf({ type: 'json' })!
  assert.ok(accepts(grammar, '{"a": [1, {"b": null}],\n  "c": "d"}'))
  assert.ok(!accepts(grammar, '[1]'))
  assert.equal(grammarOf({ type: 'text' }), null)
})

test('many optional properties and big schemas stay small grammars', () => {
  const properties = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`p${i}`, { type: 'integer' }]))
  const grammar = grammarOfSchema({ type: 'object', properties })
  assert.ok(grammar.length < 40_000)
  assert.ok(accepts(grammar, '{"p3":1,"p199":2}'))
})

test('what cannot be kept is refused by its name; what is no schema is wrong', () => {
  const refused: [object, RegExp][] = [
    [{ type: 'string', pattern: 'x' }, /pattern/],
    [{ type: 'number', multipleOf: 2 }, /multipleOf/],
    [{ type: 'integer', minimum: 1e20 }, /minimum/],
    [{ anyOf: Array(201).fill({ type: 'string' }) }, /anyOf of more than 200/],
    [{ allOf: [{}, {}] }, /allOf/],
    [{ not: {} }, /not/],
    [{ $ref: 'http://x' }, /\$ref/],
    [{ type: 'string', format: 'regex' }, /regex/],
    [{ type: 'string', format: { a: 1 } }, /format/],
    [{ anyOf: [{ type: 'string' }], properties: {} }, /properties/],
    [{ type: 'string', maxLength: repetitionMaximum + 1 }, /maxLength/],
  ]
  for (const [schema, name] of refused) {
    const fault = faultOf(schema)
    assert.equal(fault.code, 'engine_unsupported', JSON.stringify(schema))
    assert.match(fault.message, name)
  }
  const wrong = [
    null,
    5,
    'x',
    [],
    { type: 'text' },
    { type: [{ toString: 1 }] },
    { $ref: '#/%' },
    { type: 'integer', minimum: '1' },
    { $ref: '#/none' },
    { enum: [] },
    { type: 'array', minItems: 3, maxItems: 1 },
  ]
  const contradictory = { type: 'object', properties: {}, required: ['a'], additionalProperties: false }
  for (const schema of [...wrong, contradictory])
    assert.equal(faultOf(schema).code, 'invalid_request', JSON.stringify(schema))
})

test('a schema without bounds is refused before it costs anything', () => {
  const names = Array.from({ length: rulesMaximum + 1 }, (_, i) => `p${i}`)
  const wide = {
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, { type: 'string', maxLength: 3 }])),
  }
  assert.equal(faultOf(wide).code, 'engine_unsupported')
  const long = { type: 'string', maxLength: repetitionMaximum }
  const repeated = Object.fromEntries(names.slice(0, 100).map((name) => [name, long]))
  assert.match(faultOf({ type: 'object', properties: repeated }).message, /add up/)
  let deep: object = { type: 'string' }
  for (let i = 0; i < 20_000; i += 1) deep = { type: 'array', items: deep }
  assert.match(faultOf(deep).message, /nesting/)
})
