/**
 * Takes the long strings out of a JSON text and puts them back: what is left of a megabyte is mostly a few kilobytes, which
 * are parsed, checked and changed as any small body is. Here is only looked at what is taken out: that it is what JSON
 * allows in a string. Everything that is odd is left to the parser, whole.
 *
 * What is left of a string is its beginning, with a mark behind it that no client can have written. The beginning is
 * longer than anything that is read of a string anywhere; strings that are read whole (keys, addresses) stay whole.
 */
import type { Member } from './json-members.ts'

/** Of a long string; more than 512 characters however they are written. */
const keptBytes = 4096
/** What is shorter stays. */
const takenMinimumBytes = 4096
const quote = 0x22
const backslash = 0x5c
/** Behind a backslash: " / \ b f n r t. */
const escapes: ReadonlySet<number> = new Set([0x22, 0x2f, 0x5c, 0x62, 0x66, 0x6e, 0x72, 0x74])
const indexDigits = 8

/** One part of the text that was taken out: bytes `from` to `to`. */
interface Taken {
  from: number
  to: number
}

/** Finds long strings in valid UTF-8, slice by slice. */
export class LongStrings {
  readonly #bytes: Buffer
  readonly #taken: Taken[] = []
  #at = 0
  /** Of the string that `#at` is in: where it opens; −1 = it is in none. */
  #opens = -1
  /** Where what is taken of it begins; −1 = nothing so far. */
  #from = -1

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** What was found; null = there is nothing to take out, or the text is not in order. Only when done. */
  get taken(): readonly Taken[] | null {
    return this.#taken.length === 0 || this.#opens !== -1 ? null : this.#taken
  }

  /** Looks at about so many bytes more. */
  scan(size: number): void {
    const limit = Math.min(this.#bytes.length, this.#at + size)
    while (this.#at < limit) {
      if (this.#opens === -1) this.#findString(limit)
      else if (!this.#findEnd(limit)) return
    }
  }

  #findString(limit: number): void {
    const bytes = this.#bytes
    let at = this.#at
    while (at < limit && bytes[at] !== quote) at += 1
    if (at < limit) {
      this.#opens = at
      this.#from = -1
      at += 1
    }
    this.#at = at
  }

  /** False: the text is not in order, and nothing is taken out. */
  #findEnd(limit: number): boolean {
    const bytes = this.#bytes
    let at = this.#at
    let from = this.#from
    const fromAt = this.#opens + 1 + keptBytes
    while (at < limit) {
      const c = bytes[at]!
      if (c === quote) break
      // Never in the middle of a character.
      if (from === -1 && at >= fromAt && (c & 0xc0) !== 0x80) from = at
      if (c === backslash) {
        const size = escapeSize(bytes, at)
        if (size === 0) return this.#giveUp()
        at += size
      } else if (c >= 0x20) at += 1
      else return this.#giveUp()
    }
    this.#at = at
    this.#from = from
    if (at < limit) this.#ends(at)
    return true
  }

  #ends(end: number): void {
    const from = this.#from
    if (from !== -1 && end - from >= takenMinimumBytes && !isReadWhole(this.#bytes, this.#opens, end))
      this.#taken.push({ from, to: end })
    this.#opens = -1
    this.#at = end + 1
  }

  #giveUp(): boolean {
    this.#taken.length = 0
    this.#at = this.#bytes.length
    return false
  }
}

/** Bytes of the escape sequence that begins at `at`; 0 = it is none. */
function escapeSize(bytes: Buffer, at: number): number {
  const kind = bytes[at + 1] ?? 0
  if (kind !== 0x75) return escapes.has(kind) ? 2 : 0
  for (let digit = at + 2; digit < at + 6; digit++) {
    const c = bytes[digit] ?? 0
    const isHex = (c >= 0x30 && c <= 0x39) || ((c | 0x20) >= 0x61 && (c | 0x20) <= 0x66)
    if (!isHex) return 0
  }
  return 6
}

/** Keys are compared, and addresses are checked to their end. */
function isReadWhole(bytes: Buffer, opens: number, end: number): boolean {
  return isKey(bytes, end) || mayBeAddress(bytes, opens + 1)
}

function isKey(bytes: Buffer, end: number): boolean {
  let at = end + 1
  while (at < bytes.length && isSpace(bytes[at]!)) at += 1
  return bytes[at] === 0x3a
}

function isSpace(c: number): boolean {
  return c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09
}

const scheme = Buffer.from('http')

function mayBeAddress(bytes: Buffer, at: number): boolean {
  for (let n = 0; n < scheme.length; n++) {
    const c = bytes[at + n]!
    // It may be any letter.
    if (c === backslash) return bytes[at + n + 1] === 0x75
    if ((c | 0x20) !== scheme[n]) return false
  }
  return true
}

/** A text without its long strings, and the way back. */
export class Shortened {
  /** One character per byte. */
  readonly text: string
  readonly #bytes: Buffer
  readonly #taken: readonly Taken[]
  readonly #mark: string

  /** `secret`: letters and digits that nobody can guess. */
  constructor(bytes: Buffer, taken: readonly Taken[], secret: string) {
    this.#bytes = bytes
    this.#taken = taken
    this.#mark = secret
    let text = ''
    let copied = 0
    for (const [index, { from, to }] of taken.entries()) {
      text += bytes.toString('latin1', copied, from) + this.#markOf(index)
      copied = to
    }
    this.text = text + bytes.toString('latin1', copied)
  }

  /** Where in the whole text the members of `text` are. */
  places(members: readonly Member[]): Member[] {
    const taken = this.#taken
    let passed = 0
    let shift = 0
    const placeOf = (position: number): number => {
      for (; passed < taken.length && position + shift > taken[passed]!.from; passed++) {
        const { from, to } = taken[passed]!
        shift += to - from - this.#markSize
      }
      return position + shift
    }
    return members.map(({ key, keyStart, valueStart, valueEnd }) => ({
      key,
      keyStart: placeOf(keyStart),
      valueStart: placeOf(valueStart),
      valueEnd: placeOf(valueEnd),
    }))
  }

  /** Any text that was made of `text`, with everything in its place again. */
  restored(text: string): Buffer {
    const parts: Taken[] = []
    const ends: number[] = []
    let size = text.length
    for (let at = text.indexOf(this.#mark); at !== -1; at = text.indexOf(this.#mark, at + this.#markSize)) {
      const part = this.#taken[Number(text.slice(at + this.#mark.length, at + this.#markSize))]!
      parts.push(part)
      ends.push(at)
      size += part.to - part.from - this.#markSize
    }
    const whole = Buffer.allocUnsafeSlow(size)
    let written = 0
    let copied = 0
    for (const [n, { from, to }] of parts.entries()) {
      written += whole.write(text.slice(copied, ends[n]), written, 'latin1')
      written += this.#bytes.copy(whole, written, from, to)
      copied = ends[n]! + this.#markSize
    }
    whole.write(text.slice(copied), written, 'latin1')
    return whole
  }

  get #markSize(): number {
    return this.#mark.length + indexDigits
  }

  #markOf(index: number): string {
    return this.#mark + String(index).padStart(indexDigits, '0')
  }
}
