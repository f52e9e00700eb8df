/**
 * A client's connection while it carries ordinary inference requests, which is nearly always: their heads and bodies
 * are read here at a fraction of a general server's cost. The first request that is anything else goes to the general
 * server with its connection, and all that follow on it.
 */
import type { Socket } from 'node:net'
import type { Rostered } from '../../kernel/roster.ts'
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
import { arrival, readIntoArrival } from './arrival.ts'
import type { ClientRequest, ClientResponse } from './client.ts'
import { QuickRequest } from './quick-request.ts'
import { type Answered, QuickResponse } from './quick-response.ts'
import { type InferenceTarget, readRequestHead } from './request-head.ts'

/** Whoever has the connections. */
export interface Host {
  readonly deadlines: Deadlines
  readonly limits: { firstRequestMs: number; idleMs: number; headBytes: number }
  date(): string
  serve(request: ClientRequest, response: ClientResponse, target: InferenceTarget): void
  /** The connection is the general server's from here on. */
  handOver(connection: QuickConnection, socket: Socket): void
  gone(connection: QuickConnection): void
}

/** Larger bodies are the general server's. */
const bodyMaximumBytes = 1024 * 1024
/** Of requests that come before the one before them is answered; beyond it nothing more is read. */
const aheadMaximumBytes = 64 * 1024
/** Nearly all heads are shorter. */
const usualHeadBytes = 2 * 1024
const nothing = Buffer.alloc(0)

export class QuickConnection implements Rostered, Answered {
  slot = -1
  readonly #socket: Socket
  readonly #host: Host
  readonly #idle: Deadline
  /** The last one; its body may still be arriving when it is answered. */
  #request: QuickRequest | null = null
  /** Not answered whole yet. */
  #response: QuickResponse | null = null
  #bodyLeft = 0
  /** The general server has it. */
  #isGeneral = false
  /** Came before its turn. */
  #ahead: Buffer = nothing

  constructor(socket: Socket, host: Host) {
    this.#socket = socket
    this.#host = host
    this.#idle = host.deadlines.add(host.limits.firstRequestMs, () => socket.destroy())
    readIntoArrival(socket, this.#arrived)
    socket.on('drain', this.#drained)
    socket.on('end', this.#ended)
    socket.on('error', ignore)
    socket.on('close', this.#closed)
  }

  /** Ends it unless a request is under way. */
  closeIfIdle(): void {
    if (this.#response === null) this.#socket.destroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  date(): string {
    return this.#host.date()
  }

  finished(response: QuickResponse): void {
    if (this.#response !== response) return
    this.#response = null
    const { deadlines, limits } = this.#host
    this.#idle.at = deadlines.now + limits.idleMs
    if (!response.shouldKeepAlive) this.#socket.end()
    response.closed()
    if (this.#ahead.length > 0) queueMicrotask(this.#goOn)
  }

  readonly #goOn = (): void => {
    const bytes = this.#ahead
    this.#ahead = nothing
    if (this.#socket.isPaused()) this.#socket.resume()
    if (this.#socket.writable) this.#read(bytes, bytes.length)
  }

  readonly #arrived = (size: number): boolean => {
    const socket = this.#socket
    if (this.#isGeneral) return socket.push(Buffer.from(arrival.subarray(0, size)))
    if (this.#ahead.length === 0) this.#read(arrival, size)
    else {
      const bytes = Buffer.concat([this.#ahead, arrival.subarray(0, size)])
      this.#ahead = nothing
      this.#read(bytes, bytes.length)
    }
    return !socket.isPaused()
  }

  /** The bytes up to `end`; what is to last of them is copied. */
  #read(bytes: Buffer, end: number): void {
    let at = 0
    while (at < end) {
      if (this.#bodyLeft > 0) at = this.#body(bytes, at, end)
      else if (this.#response === null) at = this.#begin(bytes, at, end)
      else {
        this.#ahead = Buffer.from(bytes.subarray(at, end))
        if (this.#ahead.length > aheadMaximumBytes) this.#socket.pause()
        return
      }
    }
  }

  /** Place behind what was taken. */
  #body(bytes: Buffer, at: number, end: number): number {
    const next = Math.min(at + this.#bodyLeft, end)
    this.#bodyLeft -= next - at
    const request = this.#request!
    request.came(bytes.subarray(at, next))
    if (this.#bodyLeft === 0) request.ended()
    return next
  }

  /** Place behind the head. */
  #begin(bytes: Buffer, at: number, size: number): number {
    // Its last answer says that nothing more is served here.
    if (!this.#socket.writable) return size
    // Searching the text is cheaper than searching the bytes, and it is needed anyway. Parts of it live as long as the
    // connection, and with them the whole of it.
    let text = bytes.toString('latin1', at, Math.min(size, at + usualHeadBytes))
    let end = text.indexOf('\r\n\r\n')
    if (end === -1 && size - at > usualHeadBytes) {
      text = bytes.toString('latin1', at, Math.min(size, at + this.#host.limits.headBytes))
      end = text.indexOf('\r\n\r\n')
    }
    const head = end === -1 ? null : readRequestHead(text.slice(0, end + 2))
    if (head === null || head.length > bodyMaximumBytes) {
      this.#handOver(Buffer.from(bytes.subarray(at, size)))
      return size
    }
    this.#idle.at = Number.POSITIVE_INFINITY
    this.#bodyLeft = head.length
    const request = new QuickRequest(head.headers, this.#socket)
    const response = new QuickResponse(this.#socket, this)
    this.#request = request
    this.#response = response
    this.#host.serve(request, response, head.target)
    if (head.length === 0) request.ended()
    return at + end + 4
  }

  #handOver(bytes: Buffer): void {
    this.#host.deadlines.cancel(this.#idle)
    const socket = this.#socket
    this.#isGeneral = true
    socket.off('drain', this.#drained).off('end', this.#ended).off('close', this.#closed)
    socket.unshift(bytes)
    this.#host.handOver(this, socket)
    socket.off('error', ignore)
  }

  readonly #drained = (): void => {
    this.#response?.drained()
  }

  /** The client sends nothing more: as the general server has it, such a connection ends. */
  readonly #ended = (): void => {
    this.#socket.end()
  }

  readonly #closed = (): void => {
    this.#host.deadlines.cancel(this.#idle)
    this.#host.gone(this)
    const response = this.#response
    this.#response = null
    response?.closed()
    this.#request?.closed()
  }
}

/** `close` follows. */
function ignore(): void {}
