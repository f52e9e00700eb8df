/**
 * Keys that can be read in two ways, so that the engine might read another field than was checked.
 *
 * A key that stands twice in one object: parsers differ in which of its values they believe. Of the outermost object the
 * last is kept (upstream-body.ts); deeper down it is refused, wherever something is checked.
 *
 * A key with letters written as escapes, which nobody's serialiser does: Node 26 itself misreads them. After
 * JSON.parse('{"a":1,"\\\\":1}') it reads '{"a":1,"\\u0062":1}' as having a key of one backslash, whoever sent the first.
 */
import { Fault } from '../kernel/fault.ts'
import { skipSpace, stringEnd } from './json-members.ts'
import type { Ask } from './parse.ts'

/** Throws Fault `invalid_request` that names the field in which it is. */
export function requireClearKeys({ fields, members, text }: Ask): void {
  for (const { key, valueStart, valueEnd } of members) {
    const value = fields[key]
    if (value === null || typeof value !== 'object' || isPlainTalk(value)) continue
    // Where the field itself stands twice, only its last value was parsed, and only that is sent.
    if (members.findLast((member) => member.key === key)?.valueStart !== valueStart) continue
    const written = writtenKeys(text, valueStart, valueEnd)
    if (written === parsedKeys(value)) continue
    if (written === -1)
      throw new Fault('invalid_request', `A key in "${key}" has escapes for plain letters; write them as they are.`, {
        detail: { param: key },
      })
    throw new Fault('invalid_request', `A key stands twice in one object in "${key}"; send it once.`, {
      detail: { param: key },
    })
  }
}

/** Members of a message of text only. */
const plain: ReadonlySet<string> = new Set(['role', 'content', 'name', 'tool_call_id'])

/** Messages of text only, as most are, and texts as tokens: nothing in them is checked. */
function isPlainTalk(value: object): boolean {
  if (!Array.isArray(value)) return false
  for (const one of value) {
    if (one === null || typeof one !== 'object') continue
    if (Array.isArray(one)) {
      if (one.some((part) => typeof part === 'object')) return false
      continue
    }
    for (const key in one) if (!plain.has(key) || typeof one[key] === 'object') return false
  }
  return true
}

/** A string with a colon behind it is a key. −1: one has escapes for ASCII. */
function writtenKeys(text: string, from: number, to: number): number {
  let count = 0
  for (let at = text.indexOf('"', from); at !== -1 && at < to; at = text.indexOf('"', at)) {
    const start = at
    at = stringEnd(text, at)
    if (text.charCodeAt(skipSpace(text, at)) !== 0x3a) continue
    if (escapesAscii(text, start, at)) return -1
    count += 1
  }
  return count
}

function escapesAscii(text: string, from: number, to: number): boolean {
  for (let at = text.indexOf('\\', from); at !== -1 && at < to; at = text.indexOf('\\', at + 2))
    if (text.charCodeAt(at + 1) === 0x75 && Number.parseInt(text.slice(at + 2, at + 6), 16) < 0x80) return true
  return false
}

function parsedKeys(value: object): number {
  let count = 0
  if (!Array.isArray(value)) count = Object.keys(value).length
  for (const one of Object.values(value)) if (one !== null && typeof one === 'object') count += parsedKeys(one)
  return count
}
