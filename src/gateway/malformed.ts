/** What is no HTTP as we accept it. */
import type { Duplex } from 'node:stream'
import { Fault } from '../kernel/fault.ts'
import { newId } from '../runtime/ids.ts'
import { faultBody } from './fault-body.ts'

/** Of a request's head. */
export const headerMaximumBytes = 16 * 1024

/** What cannot be read (both lengths at once, heads too large, …) gets a sentence and is cut off. */
export function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, fault] = malformed(error.code)
  const requestId = newId('req')
  const body = faultBody('native', fault, requestId)
  const named = `content-type: application/json\r\nx-request-id: ${requestId}`
  const head = `${named}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`
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
