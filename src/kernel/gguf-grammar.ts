/**
 * The grammar of a GGUF file's head (ggml's gguf.h and gguf.cpp), as generators that ask for bytes: `yield n` is answered
 * with the next n bytes, `yield -n` passes over n. Whoever drives them has the file in memory, on disk, or still on its
 * way here. Little-endian. Every number that sizes something has a limit, so a hostile file costs no more than an honest
 * one. Pure.
 */
export type GgufValue = string | number | boolean | Int32Array

export class BrokenGguf extends Error {}

/** Asks for bytes, or to pass over them. */
export type Reading<R> = Generator<number, R, Buffer>

const stringBytesMaximum = 16 * 1024 * 1024
const listLengthMaximum = 4_000_000
const pairsMaximum = 65_536
const tensorsMaximum = 65_536
const tensorNameBytesMaximum = 63
const dimensionsMaximum = 4
const sizeMaximum = 2n ** 63n

const bytesOfValue: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
const typeI32 = 5
const typeString = 8
const typeArray = 9

/** ggml_type → elements per block, bytes per block. */
const blocks: Record<number, readonly [elements: number, bytes: number]> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  9: [32, 36],
  10: [256, 84],
  11: [256, 110],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  15: [256, 292],
  16: [256, 66],
  17: [256, 74],
  18: [256, 98],
  19: [256, 50],
  20: [32, 18],
  21: [256, 110],
  22: [256, 82],
  23: [256, 136],
  24: [1, 1],
  25: [1, 2],
  26: [1, 4],
  27: [1, 8],
  28: [1, 8],
  29: [256, 56],
  30: [1, 2],
  34: [256, 54],
  35: [256, 66],
  39: [32, 17],
  40: [64, 36],
  41: [128, 18],
  42: [64, 18],
}

export interface GgufHead {
  /** The wanted ones; lists other than of i32 are never among them. */
  pairs: Map<string, GgufValue>
  tensors: number
}

/** Magic, version, counts and pairs. Throws BrokenGguf. */
export function* readHead(wanted: (key: string) => boolean): Reading<GgufHead> {
  if ((yield 4).toString('latin1') !== 'GGUF') throw new BrokenGguf('it does not begin with GGUF')
  const version = yield* u32()
  if (version !== 0 && (version & 0xffff) === 0) throw new BrokenGguf('it is a big-endian file')
  if (version !== 2 && version !== 3) throw new BrokenGguf(`version ${version} is not 2 or 3`)
  const tensors = yield* u64('tensors', tensorsMaximum)
  const pairs = new Map<string, GgufValue>()
  const seen = new Set<string>()
  for (let left = yield* u64('keys', pairsMaximum); left > 0; left -= 1) {
    const key = yield* text('length of a key', stringBytesMaximum)
    if (key === '') throw new BrokenGguf('it has a key without a name')
    if (seen.has(key)) throw new BrokenGguf(`it has the key ${quoted(key)} twice`)
    seen.add(key)
    const type = yield* u32()
    if (!wanted(key)) yield* skipValue(type)
    else {
      const value = yield* readValue(type)
      if (value !== undefined) pairs.set(key, value)
    }
  }
  return { pairs, tensors }
}

/** Told of each tensor: its name and dimensions, the contiguous one first. */
export type NoteTensor = (name: string, shape: readonly number[]) => void

/** The table of tensors. Returns the bytes that follow it when the file is whole, from the first tensor on. */
export function* readTensors(count: number, alignment: number, note?: NoteTensor): Reading<bigint> {
  const names = new Set<string>()
  let end = 0n
  for (let left = count; left > 0; left -= 1) {
    const name = yield* text('length of a name of a tensor', tensorNameBytesMaximum)
    if (names.has(name)) throw new BrokenGguf(`it has the tensor ${quoted(name)} twice`)
    names.add(name)
    const size = yield* tensorBytes(name, note)
    const offset = (yield 8).readBigUInt64LE()
    if (offset !== end) throw new BrokenGguf(`the tensor ${quoted(name)} does not follow the one before it`)
    end += padded(size, alignment)
    if (end >= sizeMaximum) throw new BrokenGguf('its tensors are larger than any file')
  }
  return end
}

function* tensorBytes(name: string, note: NoteTensor | undefined): Reading<bigint> {
  const dimensions = yield* u32()
  if (dimensions > dimensionsMaximum) throw new BrokenGguf(`the tensor ${quoted(name)} has ${dimensions} dimensions`)
  let elements = 1n
  let rowElements = 1n
  const shape: number[] = []
  for (let n = 0; n < dimensions; n++) {
    const dimension = (yield 8).readBigInt64LE()
    if (dimension < 0n) throw new BrokenGguf(`the tensor ${quoted(name)} has a negative dimension`)
    if (n === 0) rowElements = dimension
    elements *= dimension
    shape.push(Number(dimension))
    if (elements >= sizeMaximum) throw new BrokenGguf(`the tensor ${quoted(name)} is larger than any file`)
  }
  const type = yield* u32()
  const block = blocks[type]
  if (block === undefined) throw new BrokenGguf(`the tensor ${quoted(name)} is of the unknown type ${type}`)
  const [blockElements, blockBytes] = block
  if (rowElements % BigInt(blockElements) !== 0n)
    throw new BrokenGguf(`rows of the tensor ${quoted(name)} are no multiple of ${blockElements}`)
  note?.(name, shape)
  return (elements / BigInt(blockElements)) * BigInt(blockBytes)
}

/** Throws BrokenGguf when the file names an alignment that is none. */
export function alignmentOf(pairs: ReadonlyMap<string, GgufValue>): number {
  const alignment = pairs.get('general.alignment') ?? 32
  const isPowerOfTwo = typeof alignment === 'number' && alignment > 0 && (alignment & (alignment - 1)) === 0
  if (!isPowerOfTwo || alignment > 1024 * 1024) throw new BrokenGguf('general.alignment is no power of two')
  return alignment
}

export function padded(size: bigint, alignment: number): bigint {
  const by = BigInt(alignment)
  return ((size + by - 1n) / by) * by
}

function* u32(): Reading<number> {
  return (yield 4).readUInt32LE()
}

function* u64(what: string, maximum: number): Reading<number> {
  const value = (yield 8).readBigUInt64LE()
  if (value > BigInt(maximum)) throw new BrokenGguf(`${what}: ${value} is more than ${maximum}`)
  return Number(value)
}

function* text(what: string, maximum: number): Reading<string> {
  const length = yield* u64(what, maximum)
  return length === 0 ? '' : (yield length).toString('utf8')
}

function* readValue(type: number): Reading<GgufValue | undefined> {
  if (type === typeString) return yield* text('length of a text', stringBytesMaximum)
  if (type === typeArray) return yield* readList()
  const bytes = yield sizeOf(type)
  if (type === 7) return bytes[0] !== 0
  if (type === 6) return bytes.readFloatLE()
  if (type === 12) return bytes.readDoubleLE()
  if (type === 10) return Number(bytes.readBigUInt64LE())
  if (type === 11) return Number(bytes.readBigInt64LE())
  return type % 2 === 0 ? bytes.readUIntLE(0, bytes.length) : bytes.readIntLE(0, bytes.length)
}

function* skipValue(type: number): Reading<void> {
  if (type === typeString) yield* skip(yield* u64('length of a text', stringBytesMaximum))
  else if (type === typeArray) yield* skipList(yield* u32(), yield* u64('length of a list', listLengthMaximum))
  else yield* skip(sizeOf(type))
}

function* readList(): Reading<Int32Array | undefined> {
  const element = yield* u32()
  const count = yield* u64('length of a list', listLengthMaximum)
  if (element !== typeI32) {
    yield* skipList(element, count)
    return undefined
  }
  if (count === 0) return new Int32Array(0)
  const bytes = yield count * 4
  return Int32Array.from({ length: count }, (_, i) => bytes.readInt32LE(i * 4))
}

function* skipList(element: number, count: number): Reading<void> {
  if (element === typeArray) throw new BrokenGguf('it holds a list of lists')
  if (element !== typeString) yield* skip(count * sizeOf(element))
  else for (let i = 0; i < count; i += 1) yield* skip(yield* u64('length of a text', stringBytesMaximum))
}

function* skip(length: number): Reading<void> {
  if (length > 0) yield -length
}

function sizeOf(type: number): number {
  const size = bytesOfValue[type]
  if (size === undefined) throw new BrokenGguf(`value type ${type} is unknown`)
  return size
}

/** Names come from the file: short, and without what could disturb a terminal. */
function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64))
}
