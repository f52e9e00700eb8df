/** Reads key-value pairs of a GGUF file that is at hand. Pure: bytes come through `read`, never past `limit`. */
import { BrokenGguf, type GgufValue, readHead } from './gguf-grammar.ts'

export { BrokenGguf, type GgufValue } from './gguf-grammar.ts'

/** Read at once, of what is asked for in small pieces. */
const windowBytes = 1 << 20

/**
 * The pairs whose key is wanted: texts, numbers, booleans and lists of i32; other lists are left out. Throws
 * BrokenGguf with the reason when the bytes are not a header.
 */
export function readGgufPairs(
  read: (offset: number, length: number) => Buffer,
  limit: number,
  wanted: (key: string) => boolean,
): Map<string, GgufValue> {
  const reading = readHead(wanted)
  let offset = 0
  let window: Buffer = Buffer.alloc(0)
  let windowStart = 0
  let step = reading.next()
  while (!step.done) {
    const length = Math.abs(step.value)
    const end = offset + length
    if (end > limit) throw new BrokenGguf('it ends inside its header')
    const taken = step.value > 0
    if (taken && (offset < windowStart || end > windowStart + window.length)) {
      windowStart = offset
      window = read(offset, Math.min(Math.max(length, windowBytes), limit - offset))
      if (window.length < length) throw new BrokenGguf('it ends inside its header')
    }
    const from = offset - windowStart
    offset = end
    step = reading.next(taken ? window.subarray(from, from + length) : nothing)
  }
  return step.value.pairs
}

const nothing = Buffer.alloc(0)
