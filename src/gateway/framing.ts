/**
 * What the parser lets through and two servers could read differently: which host is meant, whose key it is, how long
 * the body is. A proxy in front of us may have believed the other reading, so such a request is refused and its
 * connection closed. Pure; on the way of every request.
 */
import type { IncomingMessage } from 'node:http'

export interface Objection {
  status: 400 | 417 | 505
  message: string
}

type Head = Pick<IncomingMessage, 'httpVersion' | 'rawHeaders' | 'headers' | 'url' | 'method'>

export const unknownExpectation: Objection = { status: 417, message: 'Of Expect, this server knows 100-continue.' }

/** Of a Host that is one: a name or address, and perhaps a port. */
export const authority = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])?(?::\d{1,5})?$/

/** null: there is one way to read it. */
export function objection(head: Head): Objection | null {
  const { httpVersion, headers, url = '' } = head
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return no(505, 'This server speaks HTTP/1.1.')
  const twice = repeated(head.rawHeaders)
  if (twice !== null) return no(400, `The request has more than one ${twice}.`)
  const { host } = headers
  if (host === undefined ? httpVersion === '1.1' : !authority.test(host))
    return no(400, host === undefined ? 'The request has no Host.' : 'Host is not a host.')
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (httpVersion === '1.0' || coding.toLowerCase() !== 'chunked'))
    return no(400, 'Transfer-Encoding is chunked alone, and of HTTP/1.1.')
  if (url.charCodeAt(0) !== 0x2f) return ofTarget(url, host ?? '')
  return null
}

/** The first field that stands there twice and must not. */
function repeated(raw: readonly string[]): string | null {
  let hosts = 0
  let keys = 0
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
    else if (name.length === 13 && name.toLowerCase() === 'authorization') keys += 1
  }
  if (hosts > 1) return 'Host'
  return keys > 1 ? 'Authorization' : null
}

/** A target that is no path: a whole address must name the same host as the field. Of `*` there is nothing to say. */
function ofTarget(url: string, host: string): Objection | null {
  const match = /^https?:\/\/([^/?#]*)/i.exec(url)
  if (match === null) return no(400, 'The target of the request is neither a path nor an http address.')
  const named = match[1]!.toLowerCase()
  return authority.test(named) && named === host.toLowerCase()
    ? null
    : no(400, 'The target of the request and Host name different hosts.')
}

function no(status: Objection['status'], message: string): Objection {
  return { status, message }
}
