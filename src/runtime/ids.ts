import { randomBytes, randomFillSync } from 'node:crypto'
import type { Id, IdPrefix } from '../kernel/ids.ts'
import { type Clock, systemClock } from './clock.ts'

/** Random bytes are drawn in blocks: one draw per id costs more than the rest of the id. */
const pool = Buffer.alloc(8 * 512)
let drawn = pool.length

/** Sortable id: 9 characters of time in base 36 (milliseconds), then 12 random ones (62 bits). */
export function newId<P extends IdPrefix>(prefix: P, clock: Clock = systemClock): Id<P> {
  return `${prefix}_${timeText(clock.now())}${sixRandom()}${sixRandom()}`
}

let lastTime = 0
let lastTimeText = '000000000'

/** Many ids are made in the same millisecond. */
function timeText(now: number): string {
  if (now !== lastTime) {
    lastTime = now
    lastTimeText = now.toString(36).padStart(9, '0')
  }
  return lastTimeText
}

const digits = '0123456789abcdefghijklmnopqrstuvwxyz'
/** All pairs of digits: a third of the work of writing numbers in base 36. */
const pairs = Array.from({ length: 1296 }, (_, n) => digits[Math.floor(n / 36)]! + digits[n % 36]!)

/** Six base-36 characters (31 bits). */
function sixRandom(): string {
  if (drawn >= pool.length) {
    randomFillSync(pool)
    drawn = 0
  }
  // 31 bits, which whole-number arithmetic is fast with.
  const number = pool.readInt32LE(drawn) & 0x7fffffff
  drawn += 4
  const rest = (number / 1296) | 0
  return pairs[number % 1296]! + pairs[rest % 1296]! + pairs[((rest / 1296) | 0) % 1296]!
}

/** URL-safe random text with `bytes` × 8 bits of entropy. */
export function randomToken(bytes = 32): string {
  return randomBytes(bytes).toString('base64url')
}

/** A fresh 32-bit number, for samplers that take a seed. */
export function randomSeed(): number {
  return randomBytes(4).readUInt32LE()
}
