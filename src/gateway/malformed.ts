/** Answers what is no HTTP as we accept it: a sentence, and the end of the connection. */
import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Fault } from '../kernel/fault.ts'
import { newId } from '../runtime/ids.ts'
import { faultBody } from './fault-body.ts'
import type { Objection } from './framing.ts'

export const headerMaximumBytes = 16 * 1024

/** What the parser could not read. */
export function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  // In the middle of an answer to an earlier request there is no room for another.
  const { _httpMessage: answering } = socket as { _httpMessage?: ServerResponse | null }
  if (!socket.writable || error.code === 'ECONNRESET' || answering?.headersSent) {
    socket.destroy()
    return
  }
  const [status, fault] = malformed(error.code)
  endWith(socket, status, fault)
}

/** Nobody gets a tunnel. */
export function refuseTunnel(socket: Duplex): void {
  const fault = new Fault('method_not_allowed', 'This server is no proxy: it has no CONNECT.')
  endWith(socket, '405 Method Not Allowed', fault)
}

/** What the parser read and we do not take. */
export function refuseObjection(response: ServerResponse, { status, message }: Objection): void {
  const requestId = newId('req')
  const body = faultBody('native', new Fault('invalid_request', message), requestId)
  const headers = ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(body))]
  response.shouldKeepAlive = false
  response.writeHead(status, [...headers, 'x-request-id', requestId]).end(body)
}

function endWith(socket: Duplex, status: string, fault: Fault): void {
  const requestId = newId('req')
  const body = faultBody('native', fault, requestId)
  const named = `content-type: application/json\r\nx-request-id: ${requestId}`
  const head = `${named}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`
  socket.on('error', () => {})
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`)
}

function malformed(code: string | undefined): [string, Fault] {
  if (code === 'HPE_HEADER_OVERFLOW')
    return [
      '431 Request Header Fields Too Large',
      new Fault('invalid_request', `The head of the request is larger than ${headerMaximumBytes} bytes.`),
    ]
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return ['408 Request Timeout', new Fault('request_timeout', 'The head of the request did not arrive in time.')]
  return ['400 Bad Request', new Fault('invalid_request', 'The request is not valid HTTP/1.1.')]
}
