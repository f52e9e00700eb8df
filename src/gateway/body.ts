/**
 * Reads request bodies within bounds, and gets rid of bodies nobody will read: the answer goes out first, then a little
 * of what the client still sends is swallowed, because a connection that is reset while it sends hides the answer.
 */
import { Fault } from '../kernel/fault.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import type { ClientRequest, ClientResponse } from './door/client.ts'
import type { Exchange } from './exchange.ts'

/** Most that is swallowed after an early answer. */
export const discardMaximumBytes = 16 * 1024 * 1024
export const discardMaximumMs = 5_000
/** Below this an unread body is left to node, which swallows it and keeps the connection. */
const discardQuietlyBytes = 64 * 1024
/** So much has come before room is made for the rest: nobody gets a megabyte for a promise. */
const gatheredBytes = 64 * 1024

export interface BodyLimits {
  maxBytes: number
  /** Longest pause while the body arrives, in ms. */
  stallMs: number
}

/** Throws Fault `body_too_large` or `unsupported_media_type` from the headers alone. */
export function checkBodyHeaders(request: ClientRequest, maxBytes: number): void {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  const coding = request.headers['content-encoding']
  if (coding !== undefined && coding !== 'identity')
    throw new Fault('unsupported_media_type', `Bodies with Content-Encoding ${JSON.stringify(coding)} are not read.`, {
      action: 'Send the body uncompressed.',
    })
}

/**
 * The whole body goes to `done`, once; or Fault `body_too_large`, `request_timeout`, ClientGone, or what the server stops
 * with. A callback, not a promise: this is on the way of every request.
 */
export function readBody(
  exchange: Exchange,
  limits: BodyLimits,
  deadlines: Deadlines,
  done: (read: Buffer | Error) => void,
): void {
  const { request } = exchange
  let first: Buffer | null = null
  let rest: Buffer[] | null = null
  /** Of a large body whose size was told: its pieces are copied as they come, and gone before the collector sees them. */
  let whole: Buffer | null = null
  let size = 0
  const stop = (): void => {
    deadlines.cancel(stall)
    exchange.interrupted = null
  }
  const fail = (error: Error): void => {
    stop()
    request.off('data', take).off('end', finish)
    done(error)
  }
  const take = (chunk: Buffer): void => {
    size += chunk.length
    if (size > limits.maxBytes) {
      fail(tooLarge(limits.maxBytes))
      return
    }
    stall.at = deadlines.now + limits.stallMs
    if (whole !== null) chunk.copy(whole, size - chunk.length)
    else if (first === null) first = Buffer.from(chunk)
    else {
      ;(rest ??= [first]).push(Buffer.from(chunk))
      if (size > gatheredBytes) whole = begun(request, rest)
    }
  }
  // Listeners stay when all went well: taking them off costs more than they do.
  const finish = (): void => {
    stop()
    exchange.bytesIn = size
    if (whole !== null) done(whole.subarray(0, size))
    else done(rest === null ? (first ?? Buffer.alloc(0)) : Buffer.concat(rest, size))
  }
  const stall = deadlines.add(limits.stallMs, () =>
    fail(new Fault('request_timeout', `The body stopped arriving for ${limits.stallMs / 1000} s.`)),
  )
  exchange.interrupted = fail
  request.on('data', take)
  request.on('end', finish)
}

/** Room for all of it, with what has come; null when its size was not told. */
function begun(request: ClientRequest, pieces: Buffer[]): Buffer | null {
  const told = Number(request.headers['content-length'] ?? 0)
  if (told === 0) return null
  const whole = Buffer.allocUnsafeSlow(told)
  let at = 0
  for (const piece of pieces) at += piece.copy(whole, at)
  pieces.length = 0
  return whole
}

/** True when the rest of the body is more than node should swallow by itself. */
export function hasUnreadBody(request: ClientRequest): boolean {
  if (request.complete) return false
  if (request.headers['transfer-encoding'] !== undefined) return true
  return Number(request.headers['content-length'] ?? 0) > discardQuietlyBytes
}

/** Sends an answer while the client is still sending: the answer, then a bounded rest of the body, then the end. */
export function answerEarly(
  request: ClientRequest,
  response: ClientResponse,
  deadlines: Deadlines,
  write: (response: ClientResponse) => void,
  maximumBytes = discardMaximumBytes,
): void {
  let swallowed = 0
  const end = (): void => {
    deadlines.cancel(limit)
    request.off('data', swallow)
    response.end()
  }
  const swallow = (chunk: Buffer): void => {
    swallowed += chunk.length
    if (swallowed > maximumBytes) end()
  }
  const limit = deadlines.add(discardMaximumMs, end)
  response.shouldKeepAlive = false
  write(response)
  request.on('data', swallow).once('end', end).once('close', end)
}

export function tooLarge(maxBytes: number): Fault {
  return new Fault('body_too_large', `The body is larger than ${maxBytes} bytes.`)
}
