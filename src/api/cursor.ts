/** Cursors as clients see them: opaque, bound to their route, and refused when damaged. Not a secret, not a right. */
import { createHash } from 'node:crypto'
import { Fault } from '../kernel/fault.ts'

const checkCharacters = 8

/** `after`: what the command gave as its next cursor. */
export function sealCursor(route: string, after: string): string {
  return Buffer.from(`${checksum(route, after)}${after}`).toString('base64url')
}

/** Throws Fault `invalid_request`: damaged, made up, or of another list. */
export function openCursor(route: string, cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString()
  const after = text.slice(checkCharacters)
  if (checksum(route, after) === text.slice(0, checkCharacters)) return after
  throw new Fault('invalid_request', 'cursor: is not one that this list gave.', {
    action: 'Pass next_cursor of the page before as it was, or leave cursor out.',
  })
}

function checksum(route: string, after: string): string {
  return createHash('sha256').update(`${route}\n${after}`).digest('hex').slice(0, checkCharacters)
}
