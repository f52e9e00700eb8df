/**
 * A client's connection while it carries ordinary inference requests, which is nearly always: their heads and bodies
 * are read here at a fraction of a general server's cost. The first request that is anything else goes to the general
 * server with its connection, and all that follow on it.
 */
import type { Socket } from 'node:net'
import type { Rostered } from '../../kernel/roster.ts'
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
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
  /** Came before its turn. */
  #ahead: Buffer = nothing

  constructor(socket: Socket, host: Host) {
    this.#socket = socket
    this.#host = host
    this.#idle = host.deadlines.add(host.limits.firstRequestMs, () => socket.destroy())
    socket.on('data', this.#came)
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
    if (this.#socket.writable) this.#came(bytes)
  }

  readonly #came = (piece: Buffer): void => {
    let bytes = this.#ahead.length === 0 ? piece : Buffer.concat([this.#ahead, piece])
    this.#ahead = nothing
    while (bytes.length > 0) {
      if (this.#bodyLeft > 0) bytes = this.#body(bytes)
      else if (this.#response === null) bytes = this.#begin(bytes)
      else {
        this.#ahead = bytes
        if (bytes.length > aheadMaximumBytes) this.#socket.pause()
        return
      }
    }
  }

  /** What is left of the bytes. */
  #body(bytes: Buffer): Buffer {
    const used = Math.min(this.#bodyLeft, bytes.length)
    this.#bodyLeft -= used
    const request = this.#request!
    request.came(used === bytes.length ? bytes : bytes.subarray(0, used))
    if (this.#bodyLeft === 0) request.ended()
    return used === bytes.length ? nothing : bytes.subarray(used)
  }

  #begin(bytes: Buffer): Buffer {
    // Its last answer says that nothing more is served here.
    if (!this.#socket.writable) return nothing
    // Searching the text is cheaper than searching the bytes, and it is needed anyway.
    const text = bytes.toString('latin1', 0, Math.min(bytes.length, this.#host.limits.headBytes))
    const end = text.indexOf('\r\n\r\n')
    const head = end === -1 ? null : readRequestHead(text.slice(0, end + 2))
    if (head === null || head.length > bodyMaximumBytes) {
      this.#handOver(bytes)
      return nothing
    }
    this.#idle.at = Number.POSITIVE_INFINITY
    this.#bodyLeft = head.length
    const request = new QuickRequest(head.headers, this.#socket)
    const response = new QuickResponse(this.#socket, this)
    this.#request = request
    this.#response = response
    this.#host.serve(request, response, head.target)
    if (head.length === 0) request.ended()
    return end + 4 === bytes.length ? nothing : bytes.subarray(end + 4)
  }

  #handOver(bytes: Buffer): void {
    this.#host.deadlines.cancel(this.#idle)
    const socket = this.#socket
    socket.off('data', this.#came).off('drain', this.#drained).off('end', this.#ended).off('close', this.#closed)
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
