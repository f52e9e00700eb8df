import { randomBytes } from 'node:crypto'
import type { Id, IdPrefix } from '../kernel/ids.ts'
import { type Clock, systemClock } from './clock.ts'

/** Sortable id: 9 characters of time in base 36 (milliseconds), then 12 random ones (62 bits). */
export function newId<P extends IdPrefix>(prefix: P, clock: Clock = systemClock): Id<P> {
  const time = clock.now().toString(36).padStart(9, '0')
  const random = BigInt(`0x${randomBytes(8).toString('hex')}`)
    .toString(36)
    .padStart(13, '0')
    .slice(-12)
  return `${prefix}_${time}${random}`
}

/** URL-safe random text with `bytes` × 8 bits of entropy. */
export function randomToken(bytes = 32): string {
  return randomBytes(bytes).toString('base64url')
}

/** A fresh 32-bit number, for samplers that take a seed. */
export function randomSeed(): number {
  return randomBytes(4).readUInt32LE()
}
