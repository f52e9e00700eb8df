/**
 * Changes one JSON object of an answer (a plain body or one event) on its way to the client: the model's name becomes
 * what the client asked for, and usage that was asked for by us and not by the client goes. Works on the bytes, because
 * this happens for every token. The quick finders below prove by position that what they found belongs to the
 * outermost object; when they cannot, the text is scanned.
 *
 * Texts are latin1 views of the bytes, as in json-members.
 */
import { endOfValue, type Member, members, skipSpace } from './json-members.ts'

export interface Span {
  keyStart: number
  valueStart: number
  valueEnd: number
}

export type UsageFate = 'keep' | 'null' | 'remove'

const maxDepth = 128
const usageKey = '"usage":'
const modelKey = '"model":'
const choicesKey = '"choices":'

/** The outermost `usage` member; null when there is none. */
export function findUsage(text: string): Span | null {
  const at = text.lastIndexOf(usageKey)
  if (at === -1) return findMember(text, 'usage', at)
  const valueStart = skipSpace(text, at + usageKey.length)
  const valueEnd = endOfValue(text, valueStart, maxDepth)
  // Its value is followed by the brace that ends the text, so it is the last member of the outermost object. The quote
  // before it opens a key unless it is escaped.
  const brace = valueEnd === -1 ? -1 : skipSpace(text, valueEnd)
  const last = brace !== -1 && text.charCodeAt(brace) === 0x7d && skipSpace(text, brace + 1) === text.length
  if (last && text.charCodeAt(at - 1) !== 0x5c) return { keyStart: at, valueStart, valueEnd }
  return findMember(text, 'usage', at)
}

/** The outermost `model` member; null when there is none. */
export function findModel(text: string): Span | null {
  const at = text.indexOf(modelKey)
  if (at === -1) return findMember(text, 'model', at)
  const open = text.indexOf('{')
  const nested = text.indexOf('{', open + 1)
  const list = text.indexOf('[')
  // No second object and no list opens before it, so it belongs to the first.
  const outermost = open < at && (nested === -1 || nested > at) && (list === -1 || list > at)
  if (!outermost || text.charCodeAt(at - 1) === 0x5c) return findMember(text, 'model', at)
  const valueStart = skipSpace(text, at + modelKey.length)
  const valueEnd = endOfValue(text, valueStart, maxDepth)
  return valueEnd === -1 ? null : { keyStart: at, valueStart, valueEnd }
}

/** By a scan; `hint` −1 means that the key does not occur in its plain spelling. */
function findMember(text: string, key: string, hint: number): Span | null {
  // Engines write keys plainly but may put space before the colon.
  if (hint === -1 && !text.includes(`"${key}"`)) return null
  return members(text, maxDepth)?.findLast((member: Member) => member.key === key) ?? null
}

/**
 * The text with `model` (JSON, byte form; null = leave it) in place of the model's value, which is `named`, and usage
 * treated as told.
 */
export function edited(
  text: string,
  model: string | null,
  usage: Span | null,
  fate: UsageFate,
  named: Span | null = model === null ? null : findModel(text),
): string {
  const cut = usage === null || fate === 'keep' ? null : fate === 'null' ? usage : withComma(text, usage)
  const filler = fate === 'null' ? 'null' : ''
  const from = cut === null ? 0 : fate === 'null' ? cut.valueStart : cut.keyStart
  if (named === null) return cut === null ? text : text.slice(0, from) + filler + text.slice(cut.valueEnd)
  const before = text.slice(0, named.valueStart) + model
  if (cut === null) return before + text.slice(named.valueEnd)
  if (from >= named.valueEnd) return before + text.slice(named.valueEnd, from) + filler + text.slice(cut.valueEnd)
  return text.slice(0, from) + filler + text.slice(cut.valueEnd, named.valueStart) + model + text.slice(named.valueEnd)
}

/** The span grown over one of the commas around it, so that what stays is JSON. */
function withComma(text: string, span: Span): Span {
  let before = span.keyStart - 1
  while (before >= 0 && text.charCodeAt(before) <= 0x20) before -= 1
  if (text.charCodeAt(before) === 0x2c) return { ...span, keyStart: before }
  const after = skipSpace(text, span.valueEnd)
  return text.charCodeAt(after) === 0x2c ? { ...span, valueEnd: after + 1 } : span
}

/** True when the outermost `choices` is an empty list: the chunk that carries nothing but usage. */
export function hasNoChoices(text: string): boolean {
  if (!mayHaveNoChoices(text)) return false
  const choices = members(text, maxDepth)?.findLast((member) => member.key === 'choices')
  return choices !== undefined && /^\[\s*\]$/.test(text.slice(choices.valueStart, choices.valueEnd))
}

/** Chunks that carry nothing but usage are one in hundreds; all others are to be known by a look. */
function mayHaveNoChoices(text: string): boolean {
  for (let at = text.indexOf(choicesKey); at !== -1; at = text.indexOf(choicesKey, at + 1)) {
    const open = skipSpace(text, at + choicesKey.length)
    if (text.charCodeAt(open) === 0x5b && text.charCodeAt(skipSpace(text, open + 1)) === 0x5d) return true
  }
  return false
}
