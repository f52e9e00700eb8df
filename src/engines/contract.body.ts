/** Bodies in and out over HTTP, for engines of our own. Throws Faults `body_too_large` and `invalid_json`. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fault } from '../kernel/fault.ts'

export const bodyBytesMaximum = 64 * 1024 * 1024

export async function readJson(request: IncomingMessage): Promise<unknown> {
  const bytes = await readBody(request)
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new Fault('invalid_json', 'The body is not valid JSON.')
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > bodyBytesMaximum) throw new Fault('body_too_large', `The body is larger than ${bodyBytesMaximum} bytes.`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The whole answer: text as it is, anything else as JSON. */
export function send(response: ServerResponse, status: number, body: object | string, type = 'application/json'): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}
