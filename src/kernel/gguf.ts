/**
 * Reads key-value pairs of a GGUF header without loading the file. Layout after ggml's gguf.h: magic, version, counts,
 * then pairs, little-endian. Pure: bytes come through `read`, never past `limit`; what nobody wants is skipped.
 */
export type GgufValue = string | number | boolean | Int32Array

export class BrokenGguf extends Error {}

const stringBytesMaximum = 16 * 1024 * 1024
const listLengthMaximum = 4_000_000
const pairsMaximum = 65_536
const bytesOfType: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
const typeI32 = 5
const typeString = 8
const typeArray = 9

/**
 * The pairs whose key is wanted: texts, numbers, booleans and lists of i32; other lists are left out. Throws
 * BrokenGguf with the reason when the bytes are not a header.
 */
export function readGgufPairs(
  read: (offset: number, length: number) => Buffer,
  limit: number,
  wanted: (key: string) => boolean,
): Map<string, GgufValue> {
  const cursor = new Cursor(read, limit)
  if (cursor.bytes(4).toString('latin1') !== 'GGUF') throw new BrokenGguf('it does not begin with GGUF')
  const version = cursor.u32()
  if (version !== 2 && version !== 3) throw new BrokenGguf(`version ${version} is not 2 or 3`)
  cursor.u64('tensors', pairsMaximum)
  const pairs = new Map<string, GgufValue>()
  for (let left = cursor.u64('keys', pairsMaximum); left > 0; left -= 1) {
    const key = cursor.text()
    const type = cursor.u32()
    const value = wanted(key) ? cursor.value(type) : cursor.skipValue(type)
    if (value !== undefined) pairs.set(key, value)
  }
  return pairs
}

class Cursor {
  #offset = 0
  #window: Buffer = Buffer.alloc(0)
  #windowStart = 0
  readonly #read: (offset: number, length: number) => Buffer
  readonly #limit: number
  constructor(read: (offset: number, length: number) => Buffer, limit: number) {
    this.#read = read
    this.#limit = limit
  }

  bytes(length: number): Buffer {
    const end = this.#offset + length
    if (end > this.#limit) throw new BrokenGguf('it ends inside its header')
    if (this.#offset < this.#windowStart || end > this.#windowStart + this.#window.length) {
      this.#windowStart = this.#offset
      this.#window = this.#read(this.#offset, Math.min(Math.max(length, 1 << 20), this.#limit - this.#offset))
      if (this.#window.length < length) throw new BrokenGguf('it ends inside its header')
    }
    const from = this.#offset - this.#windowStart
    this.#offset = end
    return this.#window.subarray(from, from + length)
  }

  u32(): number {
    return this.bytes(4).readUInt32LE()
  }

  u64(what: string, maximum: number): number {
    const value = this.bytes(8).readBigUInt64LE()
    if (value > BigInt(maximum)) throw new BrokenGguf(`${what}: ${value} is more than ${maximum}`)
    return Number(value)
  }

  text(): string {
    return this.bytes(this.u64('length of a text', stringBytesMaximum)).toString('utf8')
  }

  value(type: number): GgufValue | undefined {
    if (type === typeString) return this.text()
    if (type === typeArray) return this.#list()
    const bytes = this.bytes(this.#size(type))
    if (type === 7) return bytes[0] !== 0
    if (type === 6) return bytes.readFloatLE()
    if (type === 12) return bytes.readDoubleLE()
    if (type === 10) return Number(bytes.readBigUInt64LE())
    if (type === 11) return Number(bytes.readBigInt64LE())
    return type % 2 === 0 ? bytes.readUIntLE(0, bytes.length) : bytes.readIntLE(0, bytes.length)
  }

  skipValue(type: number): undefined {
    if (type === typeString) this.#skip(this.u64('length of a text', stringBytesMaximum))
    else if (type === typeArray) this.#skipList(...this.#listHead())
    else this.#skip(this.#size(type))
  }

  #list(): Int32Array | undefined {
    const [element, count] = this.#listHead()
    if (element !== typeI32) return this.#skipList(element, count)
    const bytes = this.bytes(count * 4)
    return Int32Array.from({ length: count }, (_, i) => bytes.readInt32LE(i * 4))
  }

  #listHead(): [element: number, count: number] {
    return [this.u32(), this.u64('length of a list', listLengthMaximum)]
  }

  #skipList(element: number, count: number): undefined {
    if (element === typeArray) throw new BrokenGguf('it holds a list of lists')
    if (element !== typeString) this.#skip(count * this.#size(element))
    else for (let i = 0; i < count; i += 1) this.#skip(this.u64('length of a text', stringBytesMaximum))
  }

  #skip(length: number): void {
    if (this.#offset + length > this.#limit) throw new BrokenGguf('it ends inside its header')
    this.#offset += length
  }

  #size(type: number): number {
    const size = bytesOfType[type]
    if (size === undefined) throw new BrokenGguf(`value type ${type} is unknown`)
    return size
  }
}
