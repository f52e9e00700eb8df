/** Reads the keywords of a JSON schema; what is malformed or cannot be kept is a Fault that names it. Pure. */
import { Fault } from '../../../kernel/fault.ts'

export type Schema = Record<string, unknown>

/** Largest repetition (lengths, counts) that is taken on: bounds the work per token. */
export const repetitionMaximum = 1_000

/** Keywords that say nothing about what is valid. */
export const annotations = new Set(
  '$schema $id $anchor $comment $defs definitions title description default example examples deprecated readOnly writeOnly'.split(
    ' ',
  ),
)

const bounds = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum']

export const keywordsOf: Record<string, readonly string[]> = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'format'],
  number: bounds,
  integer: bounds,
}

export function typesOf(schema: Schema): string[] {
  const types = Array.isArray(schema.type) ? schema.type : [schema.type]
  if (types.length > 0 && types.every((type) => typeof type === 'string')) return types
  if (schema.type !== undefined) throw malformed('type must be a string or a list of strings.')
  for (const [type, keywords] of Object.entries(keywordsOf))
    if (keywords.some((keyword) => keyword in schema)) return [type]
  const [keyword] = Object.keys(schema).filter((key) => !annotations.has(key))
  throw refused(`the schema keyword "${keyword}"`)
}

export function isOfType(value: unknown, type: string): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return isSchema(value)
  if (type === 'integer') return Number.isInteger(value)
  return typeof value === type
}

export function known(keys: readonly string[], allowed: readonly string[]): void {
  const stranger = keys.find((key) => !allowed.includes(key))
  if (stranger !== undefined) throw refused(`the schema keyword "${stranger.slice(0, 40)}" here`)
}

export function alone(keyword: string, keys: readonly string[]): void {
  const beside = keys.find((key) => key !== keyword)
  if (beside !== undefined) throw refused(`"${beside.slice(0, 40)}" beside ${keyword}`)
}

export function range(schema: Schema, minimumName: string, maximumName: string): string {
  const minimum = bound(schema, minimumName) ?? 0
  const maximum = bound(schema, maximumName)
  if (maximum !== null && maximum < minimum) throw malformed(`${maximumName} is less than ${minimumName}.`)
  return minimum === 0 && maximum === null ? '*' : `{${minimum},${maximum ?? ''}}`
}

export function bound(schema: Schema, name: string): number | null {
  const value = schema[name]
  if (value === undefined) return null
  if (!Number.isInteger(value) || (value as number) < 0) throw malformed(`${name} must be a whole number from 0.`)
  if ((value as number) > repetitionMaximum) throw refused(`${name} above ${repetitionMaximum}`)
  return value as number
}

export function namesOf(value: unknown): string[] {
  if (value === undefined) return []
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value
  throw malformed('required must be a list of property names.')
}

export function asSchema(value: unknown, name: string): Schema {
  if (isSchema(value)) return value
  throw malformed(`${name} must be an object.`)
}

export function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON pointer inside the schema, e.g. "#/$defs/item". */
export function resolve(root: unknown, pointer: string): unknown {
  let at: unknown = root
  for (const part of pointer.slice(1).split('/').filter(Boolean)) {
    const key = decoded(part).replaceAll('~1', '/').replaceAll('~0', '~')
    const inside = typeof at === 'object' && at !== null && Object.hasOwn(at, key)
    if (!inside) throw malformed(`$ref "${pointer.slice(0, 80)}" points at nothing.`)
    at = (at as Schema)[key]
  }
  return at
}

/** As it stands where it is not written as in a URL. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function refused(what: string): Fault {
  return new Fault('engine_unsupported', `The embedded engine cannot follow ${what} in response_format.`, {
    detail: { param: 'response_format' },
  })
}

export function malformed(message: string): Fault {
  return new Fault('invalid_request', `response_format.json_schema.schema: ${message}`, {
    detail: { param: 'response_format' },
  })
}
