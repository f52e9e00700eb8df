/**
 * Finds and changes members of the outermost object of a JSON text without building the rest: a request of 1 MB costs
 * no tree, numbers keep every digit, and what is not touched stays byte for byte.
 *
 * Texts here are latin1 views of UTF-8 bytes (one character per byte), so nothing is decoded and offsets are bytes.
 * Callers have either validated the text (requests) or can live with `null` (answers): what does not look like an
 * object gives null.
 */
export interface Member {
  /** Decoded when it has escapes, so that "\u006dodel" is not missed. */
  key: string
  keyStart: number
  valueStart: number
  valueEnd: number
}

const quote = 0x22
const backslash = 0x5c

/** Members in order, duplicates included; null when the text is no object or nests deeper than `maxDepth`. */
export function members(text: string, maxDepth: number): Member[] | null {
  let at = skipSpace(text, 0)
  if (text.charCodeAt(at) !== 0x7b) return null
  const found: Member[] = []
  at = skipSpace(text, at + 1)
  if (text.charCodeAt(at) === 0x7d) return found
  for (;;) {
    if (text.charCodeAt(at) !== quote) return null
    const keyEnd = stringEnd(text, at)
    if (keyEnd === -1) return null
    const colon = skipSpace(text, keyEnd)
    if (text.charCodeAt(colon) !== 0x3a) return null
    const valueStart = skipSpace(text, colon + 1)
    const valueEnd = endOfValue(text, valueStart, maxDepth - 1)
    if (valueEnd === -1) return null
    found.push({ key: keyText(text, at, keyEnd), keyStart: at, valueStart, valueEnd })
    at = skipSpace(text, valueEnd)
    const next = text.charCodeAt(at)
    if (next === 0x7d) return found
    if (next !== 0x2c) return null
    at = skipSpace(text, at + 1)
  }
}

/** JSON of a value in the same one-character-per-byte form as the texts here. */
export function byteText(value: unknown): string {
  const json = JSON.stringify(value)
  return isAscii(json) ? json : Buffer.from(json, 'utf8').toString('latin1')
}

/**
 * The text with members (ASCII names) set to new values (`byteText` form); absent ones are put first. A key that occurs twice is kept
 * once, with its last value, whatever it is: engines differ in which one they believe, and we have checked the last.
 */
export function withMembers(text: string, found: readonly Member[], changes: ReadonlyMap<string, string>): string {
  if (hasDuplicates(found)) return rebuilt(text, found, changes)
  let out = ''
  let copied = 0
  let missing = ''
  for (const [key, value] of changes) {
    if (found.some((member) => member.key === key)) continue
    missing += `${missing === '' ? '' : ','}${byteText(key)}:${value}`
  }
  if (missing !== '') {
    const brace = text.indexOf('{') + 1
    out = text.slice(0, brace) + missing + (found.length > 0 ? ',' : '')
    copied = brace
  }
  for (const member of found) {
    const value = changes.get(member.key)
    if (value === undefined) continue
    out += text.slice(copied, member.valueStart) + value
    copied = member.valueEnd
  }
  return out + text.slice(copied)
}

export function hasDuplicates(found: readonly Member[]): boolean {
  // Requests have about ten members: comparing pairs is cheaper than a set, which large objects get.
  if (found.length > 16) return new Set(found.map((member) => member.key)).size !== found.length
  for (let i = 1; i < found.length; i++) for (let j = 0; j < i; j++) if (found[i]!.key === found[j]!.key) return true
  return false
}

function rebuilt(text: string, found: readonly Member[], changes: ReadonlyMap<string, string>): string {
  const values = new Map<string, string>()
  for (const member of found) {
    const key = text.slice(member.keyStart, stringEnd(text, member.keyStart))
    // By decoded key, written as it was spelled last.
    values.set(member.key, `${key}:${changes.get(member.key) ?? text.slice(member.valueStart, member.valueEnd)}`)
  }
  for (const [key, value] of changes) values.set(key, `${byteText(key)}:${value}`)
  return `{${[...values.values()].join(',')}}`
}

/** Position after the value that begins at `at`; -1 when it does not end or nests too deep. */
export function endOfValue(text: string, at: number, maxDepth: number): number {
  const first = text.charCodeAt(at)
  if (first === quote) return stringEnd(text, at)
  if (first !== 0x7b && first !== 0x5b) return endOfScalar(text, at)
  let depth = 0
  for (let i = at; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === quote) {
      i = stringEnd(text, i) - 1
      if (i < 0) return -1
    } else if (c === 0x7b || c === 0x5b) {
      depth += 1
      if (depth > maxDepth) return -1
    } else if (c === 0x7d || c === 0x5d) {
      depth -= 1
      if (depth === 0) return i + 1
    }
  }
  return -1
}

function endOfScalar(text: string, at: number): number {
  let i = at
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x2c || c === 0x7d || c === 0x5d || c <= 0x20 || c === quote) break
  }
  return i === at ? -1 : i
}

/** Position after the closing quote of the string that opens at `at`; -1 when there is none. */
export function stringEnd(text: string, at: number): number {
  let close = text.indexOf('"', at + 1)
  while (close !== -1) {
    let slashes = 0
    while (text.charCodeAt(close - 1 - slashes) === backslash) slashes += 1
    if ((slashes & 1) === 0) return close + 1
    close = text.indexOf('"', close + 1)
  }
  return -1
}

export function skipSpace(text: string, at: number): number {
  let i = at
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) break
  }
  return i
}

function keyText(text: string, start: number, end: number): string {
  const plain = text.slice(start + 1, end - 1)
  if (!plain.includes('\\')) return plain
  try {
    return JSON.parse(text.slice(start, end)) as string
  } catch {
    return plain
  }
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}
