/**
 * JSON schema → grammar in llama.cpp's GBNF. What the grammar lets through is always valid under the schema; it may be
 * narrower (no properties beyond the named ones, bounded whitespace), never wider, with one exception: oneOf is read as
 * anyOf. A keyword that the grammar cannot keep is refused by name. Pure.
 */
import { eitherText, literal } from './either-text.ts'
import { numberRange } from './number-range.ts'
import type { AnswerFormat } from './request.ts'
import {
  alone,
  annotations,
  asSchema,
  bound,
  isOfType,
  isSchema,
  keywordsOf,
  known,
  malformed,
  namesOf,
  range,
  refused,
  resolve,
  type Schema,
  typesOf,
} from './schema-keywords.ts'

/** Rules that one schema may grow into, and all its repetitions added up: bound the work of reading the grammar. */
export const rulesMaximum = 2_000
export const repetitionsMaximum = 20_000
const depthMaximum = 64
/** Of anyOf, and optional members of an object: llama.cpp follows all of them at once. */
export const alternativesMaximum = 200

const space = '( " " | "\\n" [ \\t]{0,20} )?'
const character = '( [^"\\\\\\x7F\\x00-\\x1F] | "\\\\" ( ["\\\\/bfnrt] | "u" unit ) )'
const fixedRules: Record<string, string> = {
  space,
  character,
  // Halves of characters beyond the basic plane are left out: alone they are no text, together they count as one.
  unit: '( [0-9a-cA-Ce-fE-F] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2} )',
  string: '"\\"" character* "\\""',
  integer: '"-"? ( "0" | [1-9] [0-9]{0,15} )',
  number: 'integer ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,2} )?',
  boolean: '"true" | "false"',
  null: '"null"',
  value: 'object | array | string | number | boolean | null',
  object: '"{" space ( member ( "," space member )* )? space "}"',
  member: 'string ":" space value',
  array: '"[" space ( value ( "," space value )* )? space "]"',
  digit: '[0-9]',
  date: 'digit{4} "-" ( "0" [1-9] | "1" [0-2] ) "-" ( "0" [1-9] | [1-2] digit )',
  time: '( [0-1] digit | "2" [0-3] ) ":" [0-5] digit ":" [0-5] digit ( "." digit{1,3} )? ( "Z" | [+-] ( [0-1] digit | "2" [0-3] ) ":" [0-5] digit )',
  octet: '"25" [0-5] | "2" [0-4] digit | "1" digit{2} | [1-9]? digit',
  label: '[a-z0-9]{1,30} ( "-" [a-z0-9]{1,30} ){0,3}',
  hostname: 'label ( "." label ){0,5}',
  mailbox: '[a-zA-Z0-9]{1,30} ( [._+-] [a-zA-Z0-9]{1,30} ){0,5} "@" ( label "." ){1,5} [a-z]{2,10}',
  amount: 'digit{1,4}',
  duration: '"P" ( amount [YMWD] | ( amount "D" )? "T" amount [HMS] )',
  address: '"http" "s"? "://" hostname ( "/" [a-zA-Z0-9._~/-]{0,200} )?',
  uuid: '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}
const formats: Record<string, string> = {
  date: '"\\"" date "\\""',
  time: '"\\"" time "\\""',
  'date-time': '"\\"" date "T" time "\\""',
  uuid: '"\\"" uuid "\\""',
  email: '"\\"" mailbox "\\""',
  hostname: '"\\"" hostname "\\""',
  ipv4: '"\\"" octet ( "." octet ){3} "\\""',
  ipv6: '"\\"" [0-9a-f]{1,4} ( ":" [0-9a-f]{1,4} ){7} "\\""',
  duration: '"\\"" duration "\\""',
  uri: '"\\"" address "\\""',
}

/** `first`: what comes before it. Null: no grammar. Throws Fault `engine_unsupported` or `invalid_request`. */
export function grammarOf(format: AnswerFormat, first: GrammarPart = nothingFirst): string | null {
  switch (format.type) {
    case 'text':
      return null
    case 'json':
      return writeGrammar(`${first.body} object`.trim(), first.rules)
    case 'schema':
      return grammarOfSchema(format.schema, first)
  }
}

/** A part of a grammar: what it matches, by rules of its own. */
export interface GrammarPart {
  body: string
  rules: ReadonlyMap<string, string>
}

const nothingFirst: GrammarPart = { body: '', rules: new Map() }

export function grammarOfSchema(schema: unknown, first: GrammarPart = nothingFirst): string {
  const { body, rules } = partOfSchema(schema, '')
  return writeGrammar(`${first.body} ${body}`.trim(), new Map([...first.rules, ...rules]))
}

/** `prefix`: of the names of its rules, where several schemas share a grammar. `rules`: as many as it may have. */
export function partOfSchema(schema: unknown, prefix: string, rules = rulesMaximum): GrammarPart {
  const builder = new Builder(schema, prefix, rules)
  return { body: builder.rule(schema, 0), rules: builder.rules }
}

export function writeGrammar(root: string, rules: ReadonlyMap<string, string>): string {
  const lines = [['root', root], ...Object.entries(fixedRules), ...rules]
  return lines.map(([name, body]) => `${name} ::= ${body}\n`).join('')
}

class Builder {
  readonly rules = new Map<string, string>()
  readonly #root: unknown
  readonly #prefix: string
  readonly #rulesMaximum: number
  readonly #byReference = new Map<string, string>()
  #names = 0
  #repetitions = 0

  constructor(root: unknown, prefix: string, rulesMaximum: number) {
    this.#rulesMaximum = rulesMaximum
    this.#root = root
    this.#prefix = prefix
  }

  /** Name of a rule that matches what the schema allows. */
  rule(schema: unknown, depth: number): string {
    if (depth > depthMaximum) throw refused('this deep nesting')
    if (schema === true) return 'value'
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
      throw malformed('A schema must be an object or true.')
    return this.#schema(schema as Schema, depth)
  }

  #schema(schema: Schema, depth: number): string {
    const keys = Object.keys(schema).filter((key) => !annotations.has(key))
    if (keys.length === 0) return 'value'
    if ('$ref' in schema) {
      alone('$ref', keys)
      return this.#reference(schema.$ref, depth)
    }
    if ('const' in schema || 'enum' in schema) {
      known(keys, ['const' in schema ? 'const' : 'enum', 'type'])
      return this.#literals('const' in schema ? [schema.const] : schema.enum, schema)
    }
    for (const either of ['anyOf', 'oneOf', 'allOf'] as const)
      if (either in schema) {
        alone(either, keys)
        return this.#alternatives(either, schema[either], depth)
      }
    const types = typesOf(schema)
    const allowed = types.flatMap((type) => keywordsOf[type] ?? [])
    known(keys, ['type', ...allowed])
    return this.#either(types.map((type) => this.#typed(type, schema, depth)))
  }

  #typed(type: string, schema: Schema, depth: number): string {
    switch (type) {
      case 'object':
        return this.#object(schema, depth)
      case 'array':
        return this.#array(schema, depth)
      case 'string':
        return this.#string(schema)
      case 'integer':
      case 'number':
        return this.#number(schema, type)
      case 'boolean':
      case 'null':
        return type
      default:
        throw malformed(`"${String(type).slice(0, 40)}" is not a JSON type.`)
    }
  }

  #number(schema: Schema, type: 'integer' | 'number'): string {
    const range = numberRange(schema, type === 'integer')
    return range === null ? type : this.#add(range)
  }

  #string(schema: Schema): string {
    if (schema.format !== undefined) {
      const body =
        typeof schema.format === 'string' && Object.hasOwn(formats, schema.format) ? formats[schema.format] : null
      if (!body) throw refused(`format "${JSON.stringify(schema.format).slice(1, 40)}`)
      if (schema.minLength !== undefined || schema.maxLength !== undefined) throw refused('a length beside format')
      return this.#add(body)
    }
    const repetition = range(schema, 'minLength', 'maxLength')
    this.#spend(bound(schema, 'maxLength') ?? bound(schema, 'minLength') ?? 0)
    return repetition === '*' ? 'string' : this.#add(`"\\"" character${repetition} "\\""`)
  }

  #array(schema: Schema, depth: number): string {
    const item = schema.items === undefined ? 'value' : this.rule(schema.items, depth + 1)
    const minimum = bound(schema, 'minItems') ?? 0
    const maximum = bound(schema, 'maxItems')
    if (maximum !== null && maximum < minimum) throw malformed('maxItems is less than minItems.')
    if (maximum === 0) return this.#add('"[" space "]"')
    this.#spend(maximum ?? minimum)
    const rest = `{${Math.max(0, minimum - 1)},${maximum === null ? '' : maximum - 1}}`
    const items = `${item} ( "," space ${item} )${rest}`
    return this.#add(`"[" space ${minimum === 0 ? `( ${items} )?` : items} space "]"`)
  }

  #object(schema: Schema, depth: number): string {
    const properties = asSchema(schema.properties ?? {}, 'properties')
    const required = namesOf(schema.required)
    const others = schema.additionalProperties
    const missing = required.filter((name) => !Object.hasOwn(properties, name))
    if (missing.length > 0 && others === false)
      throw malformed(`required names "${missing[0]!.slice(0, 40)}", which no property describes.`)
    const open = Object.keys(properties).length === 0 && missing.length === 0 && others !== false
    if (open) return isSchema(others) ? this.#map(others, depth) : 'object'
    const members = [
      ...Object.entries(properties),
      ...missing.map((name) => [name, others ?? true] as [string, unknown]),
    ]
    return this.#members(
      members.map(([name, value]) => ({
        text: `${literal(JSON.stringify(name))} ":" space ${this.rule(value, depth + 1)}`,
        required: required.includes(name),
      })),
    )
  }

  #map(values: Schema, depth: number): string {
    const member = this.#add(`string ":" space ${this.rule(values, depth + 1)}`)
    return this.#add(`"{" space ( ${member} ( "," space ${member} )* )? space "}"`)
  }

  /** Members keep their order; optional ones may be left out. Two rules per member: first in the object, or not. */
  #members(members: ReadonlyArray<{ text: string; required: boolean }>): string {
    if (members.filter(({ required }) => !required).length > alternativesMaximum)
      throw refused(`more than ${alternativesMaximum} optional properties of an object`)
    let afterNone = '""'
    let afterSome = '""'
    for (const { text, required } of [...members].reverse()) {
      const [none, some] = [afterNone, afterSome]
      afterNone = this.#add(required ? `${text} ${some}` : `${text} ${some} | ${none}`)
      afterSome = this.#add(required ? `"," space ${text} ${some}` : `"," space ${text} ${some} | ${some}`)
    }
    return this.#add(`"{" space ${afterNone} space "}"`)
  }

  #literals(values: unknown, schema: Schema): string {
    if (!Array.isArray(values) || values.length === 0) throw malformed('enum must be a list with at least one value.')
    const types = schema.type === undefined ? null : typesOf(schema)
    const fitting = values.filter((value) => types === null || types.some((type) => isOfType(value, type)))
    if (fitting.length === 0) throw malformed('No value of enum or const has the type that is asked.')
    this.#spend(fitting.length)
    return this.#add(eitherText(fitting.map((value) => JSON.stringify(value))))
  }

  #alternatives(keyword: string, schemas: unknown, depth: number): string {
    if (!Array.isArray(schemas) || schemas.length === 0) throw malformed(`${keyword} must be a list of schemas.`)
    if (keyword === 'allOf' && schemas.length > 1) throw refused('allOf with several schemas')
    if (schemas.length > alternativesMaximum) throw refused(`${keyword} of more than ${alternativesMaximum} schemas`)
    return this.#either(schemas.map((schema) => this.rule(schema, depth + 1)))
  }

  #reference(pointer: unknown, depth: number): string {
    if (typeof pointer !== 'string' || !pointer.startsWith('#')) throw refused('$ref outside the schema')
    const known = this.#byReference.get(pointer)
    if (known !== undefined) return known
    const name = this.#name()
    this.#byReference.set(pointer, name)
    this.#put(name, this.rule(resolve(this.#root, pointer), depth + 1))
    return name
  }

  #either(names: string[]): string {
    return names.length === 1 ? names[0]! : this.#add(names.join(' | '))
  }

  #add(body: string): string {
    const name = this.#name()
    this.#put(name, body)
    return name
  }

  #put(name: string, body: string): void {
    if (this.rules.size >= this.#rulesMaximum) throw refused(`a schema of this size (${rulesMaximum} rules at most)`)
    this.rules.set(name, body)
  }

  #spend(repetitions: number): void {
    this.#repetitions += repetitions
    if (this.#repetitions > repetitionsMaximum)
      throw refused(`lengths and counts that add up to more than ${repetitionsMaximum}`)
  }

  #name(): string {
    this.#names += 1
    return `${this.#prefix}r${this.#names}`
  }
}
