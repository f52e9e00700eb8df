/**
 * Reads the heads of ordinary inference requests: those that can be read in one way only and ask for nothing unusual.
 * Everything else, be it valid or not, is for the general server, which knows the whole of HTTP. Pure.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { authority } from '../framing.ts'
import { matchTarget, type Target } from '../targets.ts'

export type InferenceTarget = Extract<Target, { kind: 'inference' }>

export interface RequestHead {
  target: InferenceTarget
  headers: IncomingHttpHeaders
  /** Of the body. */
  length: number
}

const wholeHead = /^POST \/[\x21-\x7e]* HTTP\/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+$/
const pathStart = 'POST '.length
const versionSize = ' HTTP/1.1'.length

/** `text` is the head up to the line end before the empty line, one character per byte. null = for the general server. */
export function readRequestHead(text: string): RequestHead | null {
  if (!wholeHead.test(text)) return null
  let at = text.indexOf('\r\n')
  const target = matchTarget('POST', text.slice(pathStart, at - versionSize))
  if (target.kind !== 'inference') return null
  const headers: Record<string, string> = {}
  for (at += 2; at < text.length; at += 2) {
    const end = text.indexOf('\r\n', at)
    const colon = text.indexOf(':', at)
    const name = text.slice(at, colon).toLowerCase()
    // Also what every object has by birth.
    if (headers[name] !== undefined) return null
    headers[name] = trimmed(text, colon + 1, end)
    at = end
  }
  return isOrdinary(headers) ? { target, headers, length: Number(headers['content-length']) } : null
}

function isOrdinary(headers: Record<string, string>): boolean {
  const { connection } = headers
  return (
    headers.host !== undefined &&
    authority.test(headers.host) &&
    /^\d{1,9}$/.test(headers['content-length'] ?? '') &&
    headers['transfer-encoding'] === undefined &&
    headers.expect === undefined &&
    headers.upgrade === undefined &&
    headers.trailer === undefined &&
    (connection === undefined || connection === 'keep-alive' || connection.toLowerCase() === 'keep-alive')
  )
}

/** Without the blanks around it, of which the standard knows two. */
function trimmed(text: string, start: number, end: number): string {
  let from = start
  let to = end
  while (from < to && isBlank(text.charCodeAt(from))) from += 1
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
