/** Requests as a client could send them and no SDK would: exact bytes, odd paths, half a body. */
import { type IncomingHttpHeaders, request } from 'node:http'
import type { Server } from './harness.ts'

export interface RawRequest {
  method?: string
  /** Sent as it is: neither decoded nor resolved. */
  path: string
  /** null: none. Default: the operator's. */
  key?: string | null
  headers?: Record<string, string>
  /** An object becomes JSON. */
  body?: string | Buffer | object
}

export interface RawAnswer {
  status: number
  headers: IncomingHttpHeaders
  text: string
}

export function send(server: Server, ask: RawRequest): Promise<RawAnswer> {
  const { key = server.operatorKey, body } = ask
  const bytes = body === undefined ? null : toBytes(body)
  const headers: Record<string, string> = {
    ...(key === null ? {} : { authorization: `Bearer ${key}` }),
    ...(bytes === null ? {} : { 'content-type': 'application/json', 'content-length': String(bytes.length) }),
    ...ask.headers,
  }
  return new Promise((resolve, reject) => {
    const method = ask.method ?? (bytes === null ? 'GET' : 'POST')
    const call = request(
      { host: '127.0.0.1', port: server.port, method, path: ask.path, headers, agent: false },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (text += chunk))
        answer.on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers, text }))
        answer.on('error', reject)
      },
    )
    // An early answer may come while we still send; what matters is that it can be read.
    call.on('error', reject)
    call.end(bytes ?? undefined)
  })
}

function toBytes(body: string | Buffer | object): Buffer {
  if (Buffer.isBuffer(body)) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

/** The error object of either dialect: both have these. */
export function errorOf(answer: RawAnswer): { code: string; message: string; action: string } {
  return (JSON.parse(answer.text) as { error: { code: string; message: string; action: string } }).error
}

export const nativePath = '/api/v1/public'
