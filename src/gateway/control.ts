/**
 * The way to control: whatever is not inference is passed on over its unix socket, streaming both ways. Control may be
 * away (it is being restarted); then the client is told to try again.
 */
import { Agent, type ClientRequest, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http'
import { pipeline } from 'node:stream'
import { Fault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import { answerEarly, hasUnreadBody, tooLarge } from './body.ts'
import { faultBody, faultHeaders } from './fault-body.ts'
import { type Forwarded, forwardedHeader } from './forwarded.ts'
import { Pace } from './pace.ts'
import { isUpload, UploadPassage } from './upload.ts'

export interface ControlReadiness {
  ok: boolean
  problems: string[]
}

const readinessTimeoutMs = 1_000
const readinessMaximumBytes = 64 * 1024
const retryAfterSeconds = 2
const idleConnectionMs = 4_000
const connectionsMaximum = 256

/** Of one connection, not of the message (RFC 9110 §7.6.1); `expect` was answered here. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
])
/** Claims about who asks, and the request's id: all of them are ours to make. */
const oursToSay = new Set([
  forwardedHeader,
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-real-ip',
  'x-request-id',
])

export class ControlProxy {
  readonly #socketPath: string
  readonly #deadlines: Deadlines
  readonly #firstByteMs: number
  readonly #maxBodyBytes: number
  readonly #uploads: Pace
  readonly #agent = new Agent({ keepAlive: true, timeout: idleConnectionMs, maxSockets: connectionsMaximum })

  constructor(parts: {
    socketPath: string
    clock: Clock
    deadlines: Deadlines
    firstByteMs: number
    /** Of what is not an upload. */
    maxBodyBytes: number
    /** Of all uploads together. */
    uploadBytesPerSecond: number
  }) {
    this.#socketPath = parts.socketPath
    this.#deadlines = parts.deadlines
    this.#firstByteMs = parts.firstByteMs
    this.#maxBodyBytes = parts.maxBodyBytes
    this.#uploads = new Pace(parts.clock, parts.uploadBytesPerSecond)
  }

  pass(request: IncomingMessage, response: ServerResponse, who: Forwarded, requestId: string): void {
    // Refused here, where the client can be given time to see it: control would hang up while it still sends.
    const limited = !isUpload(request)
    if (limited && Number(request.headers['content-length'] ?? 0) > this.#maxBodyBytes) {
      this.#refuse(request, response, requestId, tooLarge(this.#maxBodyBytes))
      return
    }
    const headers = onwardHeaders(request, who, requestId)
    const body = hasBody(request)
    this.#send(request, response, headers, requestId, body ? 0 : 1)
  }

  #send(request: IncomingMessage, response: ServerResponse, headers: string[], requestId: string, retries: number) {
    const outgoing = this.#open(request.method ?? 'GET', request.url ?? '/', headers)
    let begun = false
    let upload: UploadPassage | null = null
    const deadline = this.#deadlines.add(this.#firstByteMs, () => outgoing.destroy(new Error('no answer in time')))
    const abandon = () => outgoing.destroy()
    response.once('close', abandon)
    outgoing.on('response', (answer) => {
      begun = true
      this.#deadlines.cancel(deadline)
      if (upload?.isEarly) return upload.answer(answer, response, backwardHeaders(answer), this.#deadlines)
      response.writeHead(answer.statusCode ?? 502, backwardHeaders(answer))
      // Heads of event streams must not wait for their first event.
      response.flushHeaders()
      pipeline(answer, response, () => {})
    })
    outgoing.on('error', () => {
      this.#deadlines.cancel(deadline)
      response.off('close', abandon)
      request.unpipe(outgoing)
      upload?.stop()
      // An answer that began goes on by itself; only our sending of the body has ended.
      if (begun || response.headersSent) return
      if (response.destroyed) return
      // Control closed an idle connection in the moment it was used.
      if (outgoing.reusedSocket && retries > 0) return this.#send(request, response, headers, requestId, retries - 1)
      this.#refuse(request, response, requestId, controlAway())
    })
    if (!hasBody(request)) outgoing.end()
    else if (isUpload(request)) {
      // Its answer comes after its end, which may be hours away: what is waited for is the next piece.
      upload = new UploadPassage(request, outgoing, this.#uploads, () => {
        deadline.at = this.#deadlines.now + this.#firstByteMs
      })
    } else request.pipe(outgoing)
  }

  #open(method: string, path: string, headers: string[]): ClientRequest {
    return sendRequest({
      socketPath: this.#socketPath,
      agent: this.#agent,
      method,
      path,
      headers: headers as never,
      setHost: false,
    })
  }

  #refuse(request: IncomingMessage, response: ServerResponse, requestId: string, fault: Fault): void {
    const body = faultBody('native', fault, requestId)
    const headers = [...faultHeaders(fault, requestId), 'content-length', String(Buffer.byteLength(body))]
    if (hasUnreadBody(request))
      answerEarly(request, response, this.#deadlines, () => response.writeHead(fault.status, headers).write(body))
    else response.writeHead(fault.status, headers).end(body)
  }

  /** Control's own word on whether it can serve. Never rejects. */
  ready(): Promise<ControlReadiness> {
    return new Promise((resolve) => {
      const away = (why: string) => resolve({ ok: false, problems: [why] })
      const outgoing = this.#open('GET', '/readyz', ['host', 'control'])
      const deadline = this.#deadlines.add(readinessTimeoutMs, () => {
        outgoing.destroy()
        away(`Control did not answer within ${readinessTimeoutMs / 1000} s.`)
      })
      outgoing.on('error', () => away('Control is not running.'))
      outgoing.on('close', () => this.#deadlines.cancel(deadline))
      outgoing.on('response', (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (piece: string) => {
          if (text.length < readinessMaximumBytes) text += piece
        })
        answer.on('end', () => resolve(readinessOf(answer.statusCode ?? 0, text)))
      })
      outgoing.end()
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

function controlAway(): Fault {
  return new Fault('unavailable', 'The control part of this server is not answering.', { retryAfterSeconds })
}

function readinessOf(status: number, text: string): ControlReadiness {
  try {
    const { problems } = JSON.parse(text) as { problems?: unknown }
    const said = Array.isArray(problems) ? problems.map(String) : []
    const ok = status === 200
    return { ok, problems: ok || said.length > 0 ? said : [`Control answers with status ${status}.`] }
  } catch {
    return { ok: false, problems: [`Control answers with status ${status}.`] }
  }
}

function hasBody(request: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  return coding !== undefined || (length !== undefined && length !== '0')
}

function onwardHeaders(request: IncomingMessage, who: Forwarded, requestId: string): string[] {
  const headers = passing(request, oursToSay)
  headers.push(forwardedHeader, JSON.stringify(who), 'x-request-id', requestId)
  if (request.headers['transfer-encoding'] !== undefined) headers.push('transfer-encoding', 'chunked')
  return headers
}

function backwardHeaders(answer: IncomingMessage): string[] {
  return passing(answer, nothing)
}

const nothing: ReadonlySet<string> = new Set()

/** Raw headers without those of the connection and without those of `dropped`. */
function passing(message: IncomingMessage, dropped: ReadonlySet<string>): string[] {
  const named = String(message.headers.connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  const headers: string[] = []
  for (let i = 0; i < message.rawHeaders.length; i += 2) {
    const name = message.rawHeaders[i]!.toLowerCase()
    if (hopByHop.has(name) || dropped.has(name) || named.includes(name)) continue
    headers.push(name, message.rawHeaders[i + 1]!)
  }
  return headers
}
