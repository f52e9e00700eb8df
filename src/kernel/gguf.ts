/** Reads key-value pairs of a GGUF file that is at hand. Pure: bytes come through `read`, never past `limit`. */
import { alignmentOf, BrokenGguf, type GgufValue, padded, type Reading, readHead, readTensors } from './gguf-grammar.ts'

export { BrokenGguf, type GgufValue } from './gguf-grammar.ts'

/** Read at once, of what is asked for in small pieces. */
const windowBytes = 1 << 20

type Read = (offset: number, length: number) => Buffer

/**
 * The pairs whose key is wanted: texts, numbers, booleans and lists of i32; other lists are left out. Throws
 * BrokenGguf with the reason when the bytes are not a header.
 */
export function readGgufPairs(read: Read, limit: number, wanted: (key: string) => boolean): Map<string, GgufValue> {
  return drive(readHead(wanted), read, limit).result.pairs
}

export interface GgufContents {
  pairs: Map<string, GgufValue>
  /** Name → dimensions, the contiguous one first. */
  tensors: Map<string, readonly number[]>
  /** Of the whole file when nothing is missing. */
  sizeBytes: bigint
}

/** As `readGgufPairs`, and the table of tensors. */
export function readGgufContents(read: Read, limit: number, wanted: (key: string) => boolean): GgufContents {
  const tensors = new Map<string, readonly number[]>()
  function* whole() {
    const head = yield* readHead((key) => key === 'general.alignment' || wanted(key))
    const alignment = alignmentOf(head.pairs)
    const dataBytes = yield* readTensors(head.tensors, alignment, (name, shape) => tensors.set(name, shape))
    return { pairs: head.pairs, alignment, dataBytes }
  }
  const { result, offset } = drive(whole(), read, limit)
  return { pairs: result.pairs, tensors, sizeBytes: padded(BigInt(offset), result.alignment) + result.dataBytes }
}

function drive<R>(reading: Reading<R>, read: Read, limit: number): { result: R; offset: number } {
  let offset = 0
  let window: Buffer = Buffer.alloc(0)
  let windowStart = 0
  let step = reading.next(nothing)
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
  return { result: step.value, offset }
}

const nothing = Buffer.alloc(0)
