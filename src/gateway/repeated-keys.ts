/**
 * A key that stands twice in one object: parsers differ in which of its values they believe, so the engine might read
 * another than was checked. Of the outermost object the last is kept (upstream-body.ts); deeper down it is refused,
 * wherever something is checked.
 */
import { Fault } from '../kernel/fault.ts'
import { skipSpace, stringEnd } from './json-members.ts'
import type { Ask } from './parse.ts'

/** Throws Fault `invalid_request` that names the field in which it is. */
export function requireUniqueKeys({ fields, members, text }: Ask): void {
  for (const { key, valueStart, valueEnd } of members) {
    const value = fields[key]
    if (value === null || typeof value !== 'object' || isPlainTalk(value)) continue
    // Where the field itself stands twice, only its last value was parsed, and only that is sent.
    if (members.findLast((member) => member.key === key)?.valueStart !== valueStart) continue
    if (writtenKeys(text, valueStart, valueEnd) === parsedKeys(value)) continue
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

/** A string with a colon behind it is a key. */
function writtenKeys(text: string, from: number, to: number): number {
  let count = 0
  for (let at = text.indexOf('"', from); at !== -1 && at < to; at = text.indexOf('"', at)) {
    at = stringEnd(text, at)
    if (text.charCodeAt(skipSpace(text, at)) === 0x3a) count += 1
  }
  return count
}

function parsedKeys(value: object): number {
  let count = 0
  if (!Array.isArray(value)) count = Object.keys(value).length
  for (const one of Object.values(value)) if (one !== null && typeof one === 'object') count += parsedKeys(one)
  return count
}
