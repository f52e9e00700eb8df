/**
 * The little of a GGUF header that a deployment needs: architecture and context length. Layout after ggml's gguf.h:
 * magic, version, counts, then key-value pairs, little-endian. Reads through `read`, never past `limit`.
 */
export type GgufHeader = { ok: true; architecture: string; contextSize: number } | { ok: false; why: string }

const stringBytesMaximum = 16 * 1024 * 1024
const pairsMaximum = 65_536
const bytesOfType: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
const typeString = 8
const typeArray = 9

class Broken extends Error {}

export function readGgufHeader(read: (offset: number, length: number) => Buffer, limit: number): GgufHeader {
  try {
    return parse(new Cursor(read, limit))
  } catch (error) {
    if (error instanceof Broken) return { ok: false, why: error.message }
    throw error
  }
}

function parse(cursor: Cursor): GgufHeader {
  if (cursor.bytes(4).toString('latin1') !== 'GGUF') throw new Broken('it does not begin with GGUF')
  const version = cursor.u32()
  if (version !== 2 && version !== 3) throw new Broken(`version ${version} is not 2 or 3`)
  cursor.u64('tensors', pairsMaximum)
  const pairs = cursor.u64('keys', pairsMaximum)
  let architecture: string | null = null
  const contextByKey = new Map<string, number>()
  for (let i = 0; i < pairs; i += 1) {
    const key = cursor.text()
    const type = cursor.u32()
    if (key === 'general.architecture' && type === typeString) architecture = cursor.text()
    else if (key.endsWith('.context_length') && (type === 4 || type === 10))
      contextByKey.set(key, type === 4 ? cursor.u32() : cursor.u64(key, Number.MAX_SAFE_INTEGER))
    else cursor.skipValue(type)
  }
  if (!architecture) throw new Broken('general.architecture is missing')
  const contextSize = contextByKey.get(`${architecture}.context_length`)
  if (!contextSize) throw new Broken(`${architecture}.context_length is missing`)
  return { ok: true, architecture, contextSize }
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
    if (end > this.#limit) throw new Broken('it ends inside its header')
    if (this.#offset < this.#windowStart || end > this.#windowStart + this.#window.length) {
      this.#windowStart = this.#offset
      this.#window = this.#read(this.#offset, Math.min(Math.max(length, 1 << 20), this.#limit - this.#offset))
      if (this.#window.length < length) throw new Broken('it ends inside its header')
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
    if (value > BigInt(maximum)) throw new Broken(`${what}: ${value} is more than ${maximum}`)
    return Number(value)
  }

  text(): string {
    return this.bytes(this.u64('length of a text', stringBytesMaximum)).toString('utf8')
  }

  skip(length: number): void {
    if (this.#offset + length > this.#limit) throw new Broken('it ends inside its header')
    this.#offset += length
  }

  skipValue(type: number): void {
    if (type === typeString) this.skip(this.u64('length of a text', stringBytesMaximum))
    else if (type === typeArray) this.#skipList()
    else this.skip(this.#size(type))
  }

  #skipList(): void {
    const element = this.u32()
    const count = this.u64('length of a list', 4_000_000)
    if (element === typeArray) throw new Broken('it holds a list of lists')
    if (element !== typeString) this.skip(count * this.#size(element))
    else for (let i = 0; i < count; i += 1) this.skip(this.u64('length of a text', stringBytesMaximum))
  }

  #size(type: number): number {
    const size = bytesOfType[type]
    if (size === undefined) throw new Broken(`value type ${type} is unknown`)
    return size
  }
}
