/**
 * Stage 1 of large bodies: in slices, between which others have their turn; parsed in one go is only what is left of them
 * without their long strings. A megabyte of prompt or picture stops nobody's tokens; a megabyte of numbers does, for as
 * long as it takes to parse.
 */
import { isUtf8 } from 'node:buffer'
import { randomToken } from '../runtime/ids.ts'
import { turn } from '../runtime/turn.ts'
import type { Exchange } from './exchange.ts'
import { LongStrings, Shortened } from './long-strings.ts'
import { type Ask, parseAsk } from './parse.ts'

/** Smaller ones are parsed as they are: that takes a tenth of a millisecond. */
export const largeBytes = 64 * 1024
/** A fraction of a millisecond. */
const sliceBytes = 128 * 1024
const secretBytes = 18

/** Like `parseAsk`; rejects also with ClientGone and with what the server stops with. */
export async function parseLarge(exchange: Exchange, bytes: Buffer): Promise<Ask> {
  let stopped: Error | null = null
  exchange.interrupted = (why) => {
    stopped = why
  }
  const strings = new LongStrings(bytes)
  do {
    strings.scan(sliceBytes)
    await turn()
    if (stopped !== null) throw stopped
  } while (!strings.done)
  exchange.interrupted = null
  return askOf(bytes, strings)
}

/** The same in one go. */
export function parseShortened(bytes: Buffer): Ask {
  const strings = new LongStrings(bytes)
  while (!strings.done) strings.scan(sliceBytes)
  return askOf(bytes, strings)
}

function askOf(bytes: Buffer, strings: LongStrings): Ask {
  const { taken } = strings
  if (taken === null || !isUtf8(bytes)) return parseAsk(bytes)
  const shortened = new Shortened(bytes, taken, randomToken(secretBytes))
  let ask: Ask
  try {
    ask = parseAsk(Buffer.from(shortened.text, 'latin1'))
  } catch {
    // What is wrong with it, and where, is told of the whole.
    return parseAsk(bytes)
  }
  return { ...ask, bytes, places: shortened.places(ask.members), shortened }
}
