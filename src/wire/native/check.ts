/**
 * Checks what a client sent against a schema and says everything that is wrong at once: each field by name, what was
 * expected and what was seen. Values that look like secrets are never repeated.
 */
import type { z } from 'zod'
import { Fault } from '../../kernel/fault.ts'

export interface Problem {
  /** Path of the field, e.g. `engine.additional_args[2]`. */
  field: string
  problem: string
  unknown: boolean
}

export type Part = 'body' | 'query'
const problemsShownMaximum = 10
const seenCharactersMaximum = 60

/** The checked value, or its problems. */
export function check<S extends z.ZodType>(
  schema: S,
  value: unknown,
  part: Part,
): { value: z.output<S>; problems: [] } | { value: null; problems: Problem[] } {
  const result = schema.safeParse(value, { error: (issue) => expectation(issue as z.core.$ZodRawIssue) })
  if (result.success) return { value: result.data, problems: [] }
  return { value: null, problems: result.error.issues.flatMap((issue) => problemsOf(issue, value, part)) }
}

/** The Fault for what was found: `unknown_field` when a field is unknown, else `invalid_request`. */
export function problemsFault(problems: readonly Problem[]): Fault {
  const shown = problems.slice(0, problemsShownMaximum).map((p) => p.problem)
  const more = problems.length - shown.length
  const message = [...shown, ...(more > 0 ? [`And ${more} more.`] : [])].join(' ')
  const code = problems.some((p) => p.unknown) ? 'unknown_field' : 'invalid_request'
  const fields = problems.slice(0, problemsShownMaximum).map(({ field, problem }) => ({ field, problem }))
  return new Fault(code, message, { detail: { fields } })
}

function problemsOf(issue: z.core.$ZodIssue, root: unknown, part: Part): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const what = part === 'body' ? 'field' : 'query parameter'
    return issue.keys.map((key) => {
      const field = fieldName([...issue.path, key])
      return { field, problem: `Unknown ${what} ${quoted(field)}.`, unknown: true }
    })
  }
  const meant = issue.code === 'invalid_union' ? branchMeant(issue) : null
  if (meant !== null)
    return meant.flatMap((inner) => problemsOf({ ...inner, path: [...issue.path, ...inner.path] }, root, part))
  const isWhole = issue.path.length === 0
  const field = isWhole ? part : fieldName(issue.path)
  const seen = at(root, issue.path)
  if (seen === undefined) return [{ field, problem: `${field}: is required.`, unknown: false }]
  const subject = isWhole ? `The ${part}` : `${field}:`
  return [{ field, problem: `${subject} ${issue.message}; seen: ${shownValue(field, seen)}.`, unknown: false }]
}

/** Of a value that may be null as well, what is wrong with it as the other; null = it may be several things. */
function branchMeant({ errors }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | null {
  const isNullAlone = ([first]: z.core.$ZodIssue[]) =>
    first?.code === 'invalid_type' && String(first.expected) === 'null'
  const others = errors.filter((issues) => !isNullAlone(issues))
  return others.length === 1 && others.length < errors.length ? others[0]! : null
}

function fieldName(path: readonly PropertyKey[]): string {
  const parts = path.map((p) => (typeof p === 'number' ? `[${p}]` : `.${String(p)}`))
  return parts.join('').replace(/^\./, '')
}

function at(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], root)
}

const secretField = /key|secret|token|password|authorization/i
const secretValue = /^(sk_|hf_|whsec_|bearer\s)/i

function shownValue(field: string, value: unknown): string {
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  const text = String(value)
  return secretField.test(field) || secretValue.test(text) ? 'a text that is not repeated here' : quoted(text)
}

function quoted(text: string): string {
  const short = text.length > seenCharactersMaximum ? `${text.slice(0, seenCharactersMaximum)}…` : text
  return JSON.stringify(short.toWellFormed())
}

const kinds: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}

/** What a schema asks for, as the middle of a sentence. Schemas with a rule of their own say it themselves. */
function expectation(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${kinds[issue.expected as string] ?? issue.expected}`
    case 'too_small':
      return `must ${bound(issue.origin as string, 'at least', issue.minimum as number)}`
    case 'too_big':
      return `must ${bound(issue.origin as string, 'at most', issue.maximum as number)}`
    case 'invalid_value':
      return `must be one of ${(issue.values as unknown[]).join(', ')}`
    case 'invalid_format':
      return issue.format === 'datetime' ? 'must be a time such as "2027-01-31T12:00:00Z"' : 'has the wrong form'
    default:
      return 'is not valid'
  }
}

function bound(origin: string, side: string, limit: number): string {
  if (origin === 'string') return `have ${side} ${limit} ${limit === 1 ? 'character' : 'characters'}`
  if (origin === 'array') return `have ${side} ${limit} ${limit === 1 ? 'item' : 'items'}`
  return `be ${side} ${limit}`
}
