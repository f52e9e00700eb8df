/**
 * Connections to one replica: kept open between requests, one request at a time on each. Requests beyond the limit wait
 * in order. Our own client, because this is the hottest path there is: it does only what a gateway needs of HTTP, and
 * costs a fraction of a general one (`docs/decisions`).
 */
import { connect, type Socket } from 'node:net'
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
import { type Answer, type AnswerSink, ResponseReader } from './response-reader.ts'

export interface Address {
  host: string
  port: number
}

export interface ConnectionLimits {
  maxConnections: number
  connectTimeoutMs: number
}

/** Hears of one call, in this order: `sends`, `began`, `data`…, then `ended` or `failed`, once. */
export interface Caller {
  /** The request goes out now: from here on the engine may have seen it. False = it is not wanted any more. */
  sends(call: Call): boolean
  began(answer: Answer): void
  /** The bytes from `from` up to `to` of the network's buffer: whoever keeps them copies them. */
  data(bytes: Buffer, from: number, to: number): void
  ended(): void
  failed(error: Error): void
}

/** A request under way. */
export interface Call {
  pause(): void
  resume(): void
  /** Closes its connection; `failed` is called with this error. */
  abort(error: Error): void
}

interface Request {
  /** Request line and fields with the empty line, latin1. */
  head: string
  body: string | Buffer | null
  caller: Caller
}

/** Below the idle timeout of the engines' servers (5 s), so that we close first. */
const idleConnectionMs = 4_000
/** So much before the end that an engine names for an idle connection we close it. */
const closeBeforeMs = 1_000
/** The system asks whether the other side is still there when a connection has been silent for this long. */
const silenceMs = 30_000
/** Up to here head and body leave in one piece: copying is cheaper than a second write. */
const onePieceBytes = 64 * 1024

export class Connections {
  readonly #address: Address
  readonly #limits: ConnectionLimits
  readonly #deadlines: Deadlines
  /** The one used last is at the end, and used first. */
  readonly #idle: Connection[] = []
  readonly #open = new Set<Connection>()
  readonly #queue: Request[] = []
  #sweep: Deadline | null = null
  #closed = false

  constructor(address: Address, limits: ConnectionLimits, deadlines: Deadlines) {
    this.#address = address
    this.#limits = limits
    this.#deadlines = deadlines
  }

  /** `body` as text: one character per byte. Sends when a connection is free. Never throws: everything is told to the caller. */
  send(head: string, body: string | Buffer | null, caller: Caller): void {
    const request = { head, body, caller }
    if (this.#closed) {
      caller.failed(new Error('the connections are closed'))
      return
    }
    const connection = this.#freshest() ?? this.#another()
    // As long as the clients' connections that wait for it, which are bounded.
    if (connection === null) this.#queue.push(request)
    else if (!connection.take(request)) this.#free(connection)
  }

  /** Ends everything at once; what is under way fails. */
  destroy(): void {
    this.#closed = true
    if (this.#sweep !== null) this.#deadlines.cancel(this.#sweep)
    const error = new Error('the connections are closed')
    for (const { caller } of this.#queue.splice(0)) caller.failed(error)
    for (const connection of [...this.#open]) connection.abort(error)
  }

  #freshest(): Connection | null {
    for (;;) {
      const connection = this.#idle.pop()
      if (connection === undefined) return null
      if (connection.usable && this.#deadlines.now < connection.idleUntil) return connection
      connection.close()
    }
  }

  #another(): Connection | null {
    if (this.#open.size >= this.#limits.maxConnections) return null
    const connection = new Connection(this.#address, this.#limits, this.#deadlines, {
      free: this.#free,
      gone: this.#gone,
    })
    this.#open.add(connection)
    return connection
  }

  readonly #free = (connection: Connection): void => {
    let next = this.#queue.shift()
    while (next !== undefined && !connection.take(next)) next = this.#queue.shift()
    if (next !== undefined) return
    const idleMs = connection.idleMs
    if (idleMs <= 0) {
      connection.close()
      return
    }
    connection.idleUntil = this.#deadlines.now + idleMs
    this.#idle.push(connection)
    this.#sweep ??= this.#deadlines.add(idleMs, this.#closeIdle)
  }

  readonly #gone = (connection: Connection): void => {
    this.#open.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    const next = this.#closed ? undefined : this.#queue.shift()
    // It connects first, so it takes whatever comes.
    if (next !== undefined) this.#another()?.take(next)
  }

  readonly #closeIdle = (): void => {
    this.#sweep = null
    for (const connection of [...this.#idle]) if (connection.idleUntil <= this.#deadlines.now) connection.close()
    if (this.#idle.length > 0) this.#sweep = this.#deadlines.add(idleConnectionMs / 4, this.#closeIdle)
  }
}

/** What comes is read into here, for all connections: each piece is done with before the next one is read. */
const arrival = Buffer.alloc(64 * 1024)

interface Owner {
  free(connection: Connection): void
  gone(connection: Connection): void
}

class Connection implements Call, AnswerSink {
  readonly #socket: Socket
  readonly #reader = new ResponseReader(this)
  readonly #owner: Owner
  readonly #deadlines: Deadlines
  #connecting: Deadline | null
  #request: Request | null = null
  #error: Error | null = null
  /** Monotonic ms. */
  idleUntil = 0

  constructor(address: Address, limits: ConnectionLimits, deadlines: Deadlines, owner: Owner) {
    this.#owner = owner
    this.#deadlines = deadlines
    this.#socket = connect({
      ...address,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: silenceMs,
      onread: { buffer: arrival, callback: (size) => this.#came(size) },
    })
    this.#connecting = deadlines.add(limits.connectTimeoutMs, () => this.abort(new Error('ETIMEDOUT')))
    this.#socket.on('connect', () => this.#connected())
    this.#socket.on('end', () => this.#finished())
    this.#socket.on('error', (error) => {
      this.#error ??= error
    })
    this.#socket.on('close', () => this.#closed())
  }

  get usable(): boolean {
    return this.#socket.writable && !this.#socket.destroyed
  }

  /** How long it may wait for its next request. */
  get idleMs(): number {
    const { keptSeconds } = this.#reader
    return keptSeconds === null ? idleConnectionMs : Math.min(idleConnectionMs, keptSeconds * 1000 - closeBeforeMs)
  }

  /** False when the request is not wanted any more, and the connection is free for another. */
  take(request: Request): boolean {
    this.#request = request
    return this.#connecting !== null || this.#send(request)
  }

  close(): void {
    this.#socket.destroy()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  abort(error: Error): void {
    this.#error ??= error
    this.#socket.destroy()
    this.#fail(error)
  }

  #connected(): void {
    this.#stopConnecting()
    if (this.#request === null || !this.#send(this.#request)) this.#owner.free(this)
  }

  #stopConnecting(): void {
    if (this.#connecting === null) return
    this.#deadlines.cancel(this.#connecting)
    this.#connecting = null
  }

  #send({ head, body, caller }: Request): boolean {
    if (!caller.sends(this)) {
      this.#request = null
      return false
    }
    this.#reader.reset()
    this.#write(head, body)
    return true
  }

  #write(head: string, body: string | Buffer | null): void {
    if (body === null) this.#socket.write(head, 'latin1')
    else if (typeof body === 'string') this.#socket.write(head + body, 'latin1')
    else if (head.length + body.length > onePieceBytes) {
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      this.#socket.write(body)
      this.#socket.uncork()
    } else {
      const whole = Buffer.allocUnsafe(head.length + body.length)
      whole.write(head, 0, 'latin1')
      body.copy(whole, head.length)
      this.#socket.write(whole)
    }
  }

  /** True: more may come. */
  #came(size: number): boolean {
    // Nobody asked: the engine gives up an idle connection with a word (408), or is confused.
    if (this.#request === null) {
      this.#socket.destroy()
      return false
    }
    try {
      this.#reader.push(arrival, size)
    } catch (error) {
      this.abort(error as Error)
      return false
    }
    if (this.#reader.over) this.#next()
    return !this.#socket.isPaused()
  }

  /** The answer is over: the connection is free, unless something speaks against using it again. */
  #next(): void {
    if (this.#request !== null) return
    if (this.#reader.reusable && this.usable && this.#socket.writableLength === 0) this.#owner.free(this)
    else this.#socket.destroy()
  }

  #finished(): void {
    try {
      if (this.#request !== null) this.#reader.closed()
    } catch (error) {
      this.#error ??= error as Error
    }
    this.#socket.destroy()
  }

  #closed(): void {
    this.#stopConnecting()
    this.#fail(this.#error ?? new Error('the connection was closed'))
    this.#owner.gone(this)
  }

  #fail(error: Error): void {
    const request = this.#request
    this.#request = null
    request?.caller.failed(error)
  }

  began(answer: Answer): void {
    this.#request?.caller.began(answer)
  }

  data(bytes: Buffer, from: number, to: number): void {
    this.#request?.caller.data(bytes, from, to)
  }

  ended(): void {
    const request = this.#request
    this.#request = null
    // A caller that paused and is done must not leave the connection paused.
    if (this.#socket.isPaused()) this.#socket.resume()
    request?.caller.ended()
  }
}
