/**
 * The answer to an ordinary request, written straight to its connection: head and body in one piece where both are
 * known, each chunk of a stream in one write.
 */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ClientResponse } from './client.ts'

/** Whoever owns the connection. */
export interface Answered {
  /** The value of the Date header now. */
  date(): string
  /** The answer is with the system whole; the connection may go on. */
  finished(response: QuickResponse): void
}

/** Larger pieces are not copied to be framed. */
const copiedMaximumBytes = 16 * 1024
const nothing = Buffer.alloc(0)
const lastChunk = '0\r\n\r\n'
const valueUnsafe = /[^\t\x20-\x7e\x80-\xff]/

export class QuickResponse implements ClientResponse {
  readonly #socket: Socket
  readonly #owner: Answered
  writableEnded = false
  shouldKeepAlive = true
  /** Not sent yet. */
  #head = ''
  #chunked = false
  #onDrain: (() => void) | null = null
  #onClose: (() => void) | null = null

  constructor(socket: Socket, owner: Answered) {
    this.#socket = socket
    this.#owner = owner
  }

  writeHead(status: number, headers: string[]): this {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
    let hasLength = false
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at]!
      const value = headers[at + 1]!
      if (valueUnsafe.test(value)) throw new TypeError(`the header ${name} has a character that is not allowed`)
      if (name === 'content-length') hasLength = true
      head += `${name}: ${value}\r\n`
    }
    this.#chunked = !hasLength
    const framing = hasLength ? '' : 'transfer-encoding: chunked\r\n'
    const connection = this.shouldKeepAlive ? 'keep-alive' : 'close'
    this.#head = `${head}${framing}date: ${this.#owner.date()}\r\nconnection: ${connection}\r\n\r\n`
    return this
  }

  flushHeaders(): void {
    if (this.#head === '') return
    this.#send(this.#head, 'latin1')
    this.#head = ''
  }

  writeContinue(): void {}

  write(content: string | Buffer, encoding: BufferEncoding = 'utf8'): boolean {
    if (this.writableEnded || content.length === 0) return true
    return typeof content === 'string' ? this.#writeText(content, encoding, '') : this.#writeBytes(content, '')
  }

  end(content: string | Buffer = '', encoding: BufferEncoding = 'utf8'): this {
    if (this.writableEnded) return this
    this.writableEnded = true
    const last = this.#chunked ? lastChunk : ''
    if (typeof content === 'string') this.#writeText(content, encoding, last)
    else this.#writeBytes(content, last)
    if (this.#socket.writableLength === 0) this.#owner.finished(this)
    // Its turn comes when everything before it has gone out.
    else this.#socket.write(nothing, () => this.#owner.finished(this))
    return this
  }

  destroy(): void {
    this.#socket.destroy()
  }

  on(event: 'drain' | 'close', listener: () => void): this {
    if (event === 'drain') this.#onDrain = listener
    else this.#onClose = listener
    return this
  }

  off(event: 'drain' | 'close', listener: () => void): this {
    if (event === 'drain' && this.#onDrain === listener) this.#onDrain = null
    if (event === 'close' && this.#onClose === listener) this.#onClose = null
    return this
  }

  /** The connection takes more. */
  drained(): void {
    this.#onDrain?.()
  }

  /** Nothing follows: it has gone out, or the connection is gone. */
  closed(): void {
    const tell = this.#onClose
    this.#onClose = null
    this.#onDrain = null
    tell?.()
  }

  #writeText(text: string, encoding: BufferEncoding, last: string): boolean {
    if (encoding !== 'latin1') return this.#writeBytes(Buffer.from(text, encoding), last)
    const head = this.#head
    this.#head = ''
    const framed = this.#chunked && text !== '' ? `${hex(text.length)}\r\n${text}\r\n` : text
    return this.#send(head + framed + last, 'latin1')
  }

  #writeBytes(bytes: Buffer, last: string): boolean {
    const framed = this.#chunked && bytes.length > 0
    const before = framed ? `${this.#head}${hex(bytes.length)}\r\n` : this.#head
    const after = framed ? `\r\n${last}` : last
    this.#head = ''
    if (bytes.length > copiedMaximumBytes) return this.#sendApart(before, bytes, after)
    const whole = Buffer.allocUnsafe(before.length + bytes.length + after.length)
    whole.write(before, 0, 'latin1')
    bytes.copy(whole, before.length)
    whole.write(after, before.length + bytes.length, 'latin1')
    return this.#send(whole)
  }

  #sendApart(before: string, bytes: Buffer, after: string): boolean {
    this.#socket.cork()
    if (before !== '') this.#send(before, 'latin1')
    this.#send(bytes)
    if (after !== '') this.#send(after, 'latin1')
    this.#socket.uncork()
    return !this.#socket.writableNeedDrain
  }

  /** Into a connection that is gone: dropped, its end is told by `close`. */
  #send(content: string | Buffer, encoding?: BufferEncoding): boolean {
    const socket = this.#socket
    if (content.length === 0 || !socket.writable) return true
    return encoding === undefined ? socket.write(content) : socket.write(content as string, encoding)
  }
}

/** Of sizes of chunks, which are a few that come again and again. */
const hexadecimals: string[] = []

function hex(size: number): string {
  if (size >= 4096) return size.toString(16)
  return (hexadecimals[size] ??= size.toString(16))
}
