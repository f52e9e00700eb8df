/**
 * How lines stand in a segment: length, checksum, kind, text; lines of one kind that were written together share a
 * frame, a line feed between them. Whatever is cut off, half written or spoiled is known by its checksum; what stands
 * behind it is found again, because every line tells all of its request. Pure.
 */
import { crc32 } from 'node:zlib'

/** `head` begins a segment, `open` a request; `close` is what a request settled as. */
export type Kind = 'head' | 'open' | 'close'

export interface Line {
  kind: Kind
  /** Without a line feed. */
  text: string
}

const headerBytes = 8
const kindBytes = { head: 0x68, open: 0x6f, close: 0x63 } as const satisfies Record<Kind, number>
const kinds = new Map<number, Kind>((Object.entries(kindBytes) as [Kind, number][]).map(([kind, byte]) => [byte, kind]))
/** Largest text of a frame with its kind; what claims to be longer is damage. */
export const textMaximumBytes = 64 * 1024
/** Largest frame. */
export const frameMaximumBytes = headerBytes + textMaximumBytes

/**
 * Writes one or more lines of a kind to `into` at `at`; gives the position behind them. Throws when they are too long
 * or have no room.
 */
export function writeFrame(into: Buffer, at: number, kind: Kind, text: string): number {
  const start = at + headerBytes
  const room = Math.min(textMaximumBytes, into.length - start) - 1
  // Counting is not free, and hardly ever needed: no character has more than three bytes.
  if (text.length * 3 > room && Buffer.byteLength(text) > room)
    throw new Error(`lines of ${text.length} characters have no room in the journal`)
  into[start] = kindBytes[kind]
  const end = start + 1 + into.write(text, start + 1)
  into.writeUInt32LE(end - start, at)
  into.writeUInt32LE(crc32(into.subarray(start, end)), at + 4)
  return end
}

export interface Read {
  lines: Line[]
  /** Bytes that are done with; what follows may become a frame when more has been written. */
  consumed: number
  /** Bytes that were no frames. */
  damaged: number
}

/**
 * Every whole frame of `bytes`. Frames are appended one after the other, so what is no frame is damage when nothing more
 * comes (`final`: the last bytes of a file that nobody writes any more) or when more follows than a frame can have;
 * else it may become a frame, and reading stops before it. Lines of the kind `without` are passed over.
 */
export function readFrames(bytes: Buffer, final: boolean, without: Kind | null = null): Read {
  const read: Read = { lines: [], consumed: 0, damaged: 0 }
  while (read.consumed < bytes.length) {
    const end = frameEnd(bytes, read.consumed)
    if (end !== -1) {
      const kind = kinds.get(bytes[read.consumed + headerBytes]!)!
      if (kind !== without) {
        const text = bytes.toString('utf8', read.consumed + headerBytes + 1, end)
        for (const line of text.split('\n')) read.lines.push({ kind, text: line })
      }
      read.consumed = end
      continue
    }
    const certain = final ? bytes.length : bytes.length - frameMaximumBytes
    if (read.consumed >= certain) break
    const next = nextFrame(bytes, read.consumed + 1, certain)
    read.damaged += next - read.consumed
    read.consumed = next
  }
  return read
}

/** Position behind the frame that begins here; -1 when none does, or not all of it is there. */
function frameEnd(bytes: Buffer, at: number): number {
  const start = at + headerBytes
  if (start >= bytes.length) return -1
  const length = bytes.readUInt32LE(at)
  if (length < 1 || length > textMaximumBytes || start + length > bytes.length) return -1
  if (!kinds.has(bytes[start]!)) return -1
  return crc32(bytes.subarray(start, start + length)) === bytes.readUInt32LE(at + 4) ? start + length : -1
}

/** Where the next frame begins; `until` when none begins before it. */
function nextFrame(bytes: Buffer, from: number, until: number): number {
  for (let at = from; at < until; at++) if (frameEnd(bytes, at) !== -1) return at
  return until
}
