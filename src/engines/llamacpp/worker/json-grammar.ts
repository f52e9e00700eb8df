/**
 * JSON schema → GBNF, llama.cpp's grammar language, so that an answer can only be JSON of that shape. Keywords that
 * constrain and are not known here are refused by name: an answer that only looks checked is worse than none. Pure.
 */
import { unsupported, wrong } from './request.ts'

type Schema = Record<string, unknown>

const annotations = new Set([
  'title',
  'description',
  'default',
  'examples',
  '$schema',
  '$id',
  '$comment',
  'deprecated',
  'readOnly',
  'writeOnly',
])
const structure = [
  'type',
  'enum',
  'const',
  'anyOf',
  'oneOf',
  '$ref',
  '$defs',
  'definitions',
  'properties',
  'required',
  'additionalProperties',
]
const bounds = ['items', 'minItems', 'maxItems', 'minLength', 'maxLength']
const known = new Set([...structure, ...bounds])

const rulesMaximum = 2_000
const repeatMaximum = 1_000

const basics = String.raw`ws ::= [ \n]?
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
integer ::= "-"? ("0" | [1-9] [0-9]{0,15})
number ::= integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
value ::= object | array | string | number | boolean | null
object ::= "{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value)*)? ws "}"
array ::= "[" ws (value (ws "," ws value)*)? ws "]"
`

/** Any JSON object. */
export const jsonObjectGrammar = `root ::= object\n${basics}`

/** Throws Fault `invalid_request` for what is no schema, `engine_unsupported` for what cannot be promised. */
export function grammarOfSchema(schema: unknown): string {
  const rules = new Rules(schema)
  const root = rules.of(schema, '')
  return `root ::= ${root}\n${rules.text()}${basics}`
}

class Rules {
  readonly #whole: unknown
  readonly #rules: string[] = []
  readonly #refs = new Map<string, string>()

  constructor(whole: unknown) {
    this.#whole = whole
  }

  text(): string {
    return this.#rules.map((rule) => `${rule}\n`).join('')
  }

  /** The right-hand side for a schema. `at` is its place, for messages. */
  of(schema: unknown, at: string): string {
    if (schema === true) return 'value'
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
      throw wrong('response_format', `The JSON schema is not an object${place(at)}.`)
    const fields = schema as Schema
    for (const key of Object.keys(fields))
      if (!known.has(key) && !annotations.has(key))
        throw unsupported(
          'response_format',
          `The JSON schema keyword "${key}"${place(at)} is not supported by this engine.`,
        )
    if (typeof fields.$ref === 'string') return this.#ref(fields.$ref, at)
    if ('const' in fields) return literal(fields.const)
    if (Array.isArray(fields.enum)) return oneOf(fields.enum.map(literal), at)
    const choices = fields.anyOf ?? fields.oneOf
    if (Array.isArray(choices))
      return oneOf(
        choices.map((choice, i) => this.of(choice, `${at}/${i}`)),
        at,
      )
    return this.#ofType(fields, at)
  }

  #ofType(fields: Schema, at: string): string {
    const { type } = fields
    if (Array.isArray(type))
      return oneOf(
        type.map((one) => this.#ofType({ ...fields, type: one }, at)),
        at,
      )
    switch (type ?? (fields.properties ? 'object' : fields.items ? 'array' : 'any')) {
      case 'any':
        return 'value'
      case 'string':
        return this.#string(fields, at)
      case 'number':
      case 'integer':
      case 'boolean':
      case 'null':
        return type as string
      case 'array':
        return this.#array(fields, at)
      case 'object':
        return this.#object(fields, at)
      default:
        throw wrong('response_format', `The JSON schema type ${JSON.stringify(type)}${place(at)} does not exist.`)
    }
  }

  #string(fields: Schema, at: string): string {
    const [min, max] = range(fields, 'minLength', 'maxLength', at)
    return min === 0 && max === null ? 'string' : `"\\"" char{${min},${max ?? ''}} "\\""`
  }

  #array(fields: Schema, at: string): string {
    const [min, max] = range(fields, 'minItems', 'maxItems', at)
    const item = this.#rule(this.of(fields.items ?? true, `${at}/items`))
    if (max === 0) return '"[" ws "]"'
    const more = `(ws "," ws ${item}){${Math.max(0, min - 1)},${max === null ? '' : max - 1}}`
    return min === 0 ? `"[" ws (${item} ${more})? ws "]"` : `"[" ws ${item} ${more} ws "]"`
  }

  #object(fields: Schema, at: string): string {
    const properties = Object.entries((fields.properties ?? {}) as Schema)
    const required = new Set(Array.isArray(fields.required) ? (fields.required as string[]) : [])
    if (properties.length === 0) return fields.additionalProperties === false ? '"{" ws "}"' : 'object'
    const pairs = properties.map(([name, schema]) => ({
      text: this.#rule(`${quoted(JSON.stringify(name))} ws ":" ws ${this.of(schema, `${at}/${name}`)}`),
      needed: required.has(name),
    }))
    return `"{" ws ${this.#rest(pairs, 0, true)} ws "}"`
  }

  /** Properties from `i` on, in the schema's order; each optional one there or not, commas only between. */
  #rest(pairs: { text: string; needed: boolean }[], i: number, first: boolean): string {
    const pair = pairs[i]
    if (!pair) return '""'
    const taken = `${first ? '' : 'ws "," ws '}${pair.text} ${this.#rest(pairs, i + 1, false)}`
    if (pair.needed) return this.#rule(taken)
    return this.#rule(`${taken} | ${this.#rest(pairs, i + 1, first)}`)
  }

  #ref(ref: string, at: string): string {
    const named = this.#refs.get(ref)
    if (named) return named
    const name = `ref${this.#refs.size}`
    this.#refs.set(ref, name)
    this.#add(`${name} ::= ${this.of(this.#target(ref, at), ref)}`)
    return name
  }

  #target(ref: string, at: string): unknown {
    if (!ref.startsWith('#'))
      throw unsupported('response_format', `The reference "${ref}"${place(at)} leads outside the schema.`)
    let target: unknown = this.#whole
    for (const part of ref.slice(1).split('/').filter(Boolean)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      target =
        typeof target === 'object' && target !== null && Object.hasOwn(target, key)
          ? (target as Schema)[key]
          : undefined
    }
    if (target === undefined) throw wrong('response_format', `The reference "${ref}"${place(at)} leads nowhere.`)
    return target
  }

  #rule(text: string): string {
    if (/^[a-z]+\d*$/.test(text)) return text
    const name = `rule${this.#rules.length}`
    this.#add(`${name} ::= ${text}`)
    return name
  }

  #add(rule: string): void {
    if (this.#rules.length >= rulesMaximum)
      throw unsupported('response_format', 'The JSON schema is too large for this engine.')
    this.#rules.push(rule)
  }
}

function oneOf(alternatives: string[], at: string): string {
  if (alternatives.length === 0) throw wrong('response_format', `The JSON schema allows nothing${place(at)}.`)
  return `(${alternatives.join(' | ')})`
}

function literal(value: unknown): string {
  return quoted(JSON.stringify(value))
}

/** Text as a GBNF literal. */
function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
}

function range(fields: Schema, low: string, high: string, at: string): [number, number | null] {
  const min = fields[low] ?? 0
  const max = fields[high] ?? null
  for (const [name, value] of [
    [low, min],
    [high, max],
  ] as const)
    if (value !== null && !(Number.isInteger(value) && (value as number) >= 0 && (value as number) <= repeatMaximum))
      throw wrong(
        'response_format',
        `The JSON schema's ${name}${place(at)} must be a whole number from 0 to ${repeatMaximum}.`,
      )
  if (max !== null && (min as number) > (max as number))
    throw wrong('response_format', `The JSON schema's ${low}${place(at)} is above its ${high}.`)
  return [min as number, max as number | null]
}

function place(at: string): string {
  return at === '' ? '' : ` at ${at.slice(0, 200)}`
}
