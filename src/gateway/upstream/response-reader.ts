/**
 * Reads HTTP/1.1 answers of engines (RFC 9112) as their bytes come: head, then a body framed by length, by chunks or by
 * the connection's end. It knows nothing of sockets. Bytes are passed on as places in what was pushed, never copied,
 * unless a head or a size line is cut by the network; after `push` nothing refers to them. Anything an engine may not
 * send is an error that ends the connection.
 *
 * Places, not views of their own: a stream is one small chunk at a time, and making views was most of reading it.
 */
import { never } from '../../kernel/never.ts'

export interface Answer {
  status: number
  /** '' when there is none. */
  contentType: string
}

/** Called in the order of the bytes. `ended` comes once per answer. */
export interface AnswerSink {
  began(answer: Answer): void
  /** The bytes from `from` up to `to`. */
  data(bytes: Buffer, from: number, to: number): void
  ended(): void
}

const headMaximumBytes = 64 * 1024
/** Nearly all heads are shorter. */
const usualHeadBytes = 2 * 1024
const headEnd = '\r\n\r\n'
const lineMaximumBytes = 4 * 1024
const nothing = Buffer.alloc(0)
const cr = 0x0d
const lf = 0x0a

type State =
  | 'head'
  /** `#left` bytes of the body are still to come. */
  | 'counted'
  | 'size-line'
  /** `#left` bytes of the chunk are still to come. */
  | 'chunk'
  | 'chunk-end'
  | 'trailers'
  | 'until-close'
  | 'over'

export class ResponseReader {
  readonly #sink: AnswerSink
  #state: State = 'head'
  #left = 0
  /** Beginning of a head or a line whose end has not come yet. */
  #kept: Buffer = nothing
  #trailerBytes = 0
  /** The connection may carry another request once this answer is over. */
  reusable = true
  /** Seconds that the engine says it keeps an idle connection; null = it does not say. */
  keptSeconds: number | null = null

  constructor(sink: AnswerSink) {
    this.#sink = sink
  }

  /** The answer has come whole. */
  get over(): boolean {
    return this.#state === 'over'
  }

  /** Ready for the next answer on the same connection. */
  reset(): void {
    this.#state = 'head'
    this.#kept = nothing
    this.#trailerBytes = 0
    this.reusable = true
    this.keptSeconds = null
  }

  /**
   * The first `length` bytes of what came. Throws when they are no answer. What follows the answer's end makes the
   * connection unusable.
   */
  push(came: Buffer, length = came.length): void {
    const hasKept = this.#kept.length > 0
    const bytes = hasKept ? Buffer.concat([this.#kept, came.subarray(0, length)]) : came
    const end = hasKept ? bytes.length : length
    if (hasKept) this.#kept = nothing
    let at = 0
    while (at < end) {
      if (this.#state === 'over') {
        this.reusable = false
        return
      }
      const next = this.#step(bytes, at, end)
      if (next === at) {
        this.#kept = Buffer.from(bytes.subarray(at, end))
        return
      }
      at = next
    }
  }

  /** The engine closed the connection. Throws when that cuts an answer off. */
  closed(): void {
    if (this.#state === 'over') return
    if (this.#state !== 'until-close') throw new Error('the connection ended within an answer')
    this.#end()
  }

  /** Place behind what was taken of the bytes from `at` up to `end`; `at` = more are needed. */
  #step(bytes: Buffer, at: number, end: number): number {
    switch (this.#state) {
      case 'head':
        return this.#head(bytes, at, end)
      case 'counted':
        return this.#counted(bytes, at, end)
      case 'size-line':
        return this.#sizeLine(bytes, at, end)
      case 'chunk':
        return this.#chunk(bytes, at, end)
      case 'chunk-end':
        return this.#chunkEnd(bytes, at, end)
      case 'trailers':
        return this.#trailer(bytes, at, end)
      case 'until-close':
        this.#sink.data(bytes, at, end)
        return end
      case 'over':
        return at
      default:
        return never(this.#state, 'state of an answer')
    }
  }

  #head(bytes: Buffer, at: number, end: number): number {
    const size = end - at
    // Searching text is cheaper than searching bytes, and the text is needed anyway.
    const text = bytes.toString('latin1', at, at + Math.min(size, usualHeadBytes))
    const usual = text.indexOf(headEnd)
    const found = usual === -1 && size > usualHeadBytes ? bytes.subarray(at, end).indexOf(headEnd) : usual
    if (found > headMaximumBytes || (found === -1 && size > headMaximumBytes + 3))
      throw new Error('the head of the answer is too large')
    if (found === -1) {
      // What will never be an answer is not waited for.
      if (!beginning.startsWith(text) && !text.startsWith(beginning)) throw notAnAnswer()
      return at
    }
    const head = readHead(usual === -1 ? bytes.toString('latin1', at, at + found) : text.slice(0, found))
    const next = at + found + headEnd.length
    if (head.status === 101) throw new Error('the engine changed the protocol, which nobody asked for')
    // An interim answer (100, 103): the real one follows.
    if (head.status < 200) return next
    this.reusable = head.reusable
    this.keptSeconds = head.keptSeconds
    this.#sink.began(head)
    if (head.status === 204 || head.status === 304) this.#end()
    else if (head.chunked) this.#state = 'size-line'
    else if (head.length === null) this.#untilClose()
    else if (head.length === 0) this.#end()
    else {
      this.#state = 'counted'
      this.#left = head.length
    }
    return next
  }

  #untilClose(): void {
    this.#state = 'until-close'
    this.reusable = false
  }

  #counted(bytes: Buffer, at: number, end: number): number {
    const next = this.#pass(bytes, at, end)
    if (this.#left === 0) this.#end()
    return next
  }

  #chunk(bytes: Buffer, at: number, end: number): number {
    const next = this.#pass(bytes, at, end)
    if (this.#left === 0) this.#state = 'chunk-end'
    return next
  }

  #pass(bytes: Buffer, at: number, end: number): number {
    const next = Math.min(at + this.#left, end)
    this.#left -= next - at
    this.#sink.data(bytes, at, next)
    return next
  }

  #sizeLine(bytes: Buffer, at: number, end: number): number {
    const lineAt = lineEnd(bytes, at, end)
    if (lineAt === -1) return at
    this.#left = chunkSize(bytes, at, lineAt)
    this.#state = this.#left === 0 ? 'trailers' : 'chunk'
    return lineAt + 2
  }

  #chunkEnd(bytes: Buffer, at: number, end: number): number {
    if (end - at < 2) return at
    if (bytes[at] !== cr || bytes[at + 1] !== lf) throw new Error('a chunk is longer than it said')
    this.#state = 'size-line'
    return at + 2
  }

  /** Trailers are read over: nothing of them is for our clients. */
  #trailer(bytes: Buffer, at: number, end: number): number {
    const lineAt = lineEnd(bytes, at, end)
    if (lineAt === -1) return at
    const next = lineAt + 2
    this.#trailerBytes += next - at
    if (this.#trailerBytes > headMaximumBytes) throw new Error('the trailers of the answer are too large')
    if (lineAt === at) this.#end()
    return next
  }

  #end(): void {
    this.#state = 'over'
    this.#sink.ended()
  }
}

interface Head extends Answer {
  length: number | null
  chunked: boolean
  reusable: boolean
  keptSeconds: number | null
}

const beginning = 'HTTP/1.'

function notAnAnswer(): Error {
  return new Error('the answer is not HTTP/1.1')
}

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: |$)/

function readHead(text: string): Head {
  const first = statusLine.exec(text)
  if (first === null) throw notAnAnswer()
  const head: Head = {
    status: Number(first[2]),
    contentType: '',
    length: null,
    chunked: false,
    reusable: first[1] === '1',
    keptSeconds: null,
  }
  let at = text.indexOf('\r\n')
  while (at !== -1) {
    const start = at + 2
    at = text.indexOf('\r\n', start)
    readField(head, text, start, at === -1 ? text.length : at)
  }
  // Both: RFC 9112 §6.3 says that the coding counts, and that such a connection is not to be trusted further.
  if (head.chunked && head.length !== null) head.reusable = false
  return head
}

/** By the length of the name first: most fields are none of ours. */
function readField(head: Head, text: string, start: number, end: number): void {
  const colon = text.indexOf(':', start)
  if (colon === -1 || colon >= end) throw new Error('a header field has no colon')
  const size = colon - start
  // "content-length : 5" and lines that go on from the one before are read in two ways: RFC 9112 §5.1 and §5.2.
  if (size === 0 || text.charCodeAt(colon - 1) <= 0x20 || text.charCodeAt(start) <= 0x20)
    throw new Error('a header field has no valid name')
  if (size !== 10 && size !== 12 && size !== 14 && size !== 17) return
  const name = text.slice(start, colon).toLowerCase()
  const value = text.slice(colon + 1, end).trim()
  if (name === 'content-type') head.contentType = value
  else if (name === 'content-length') readLength(head, value)
  else if (name === 'transfer-encoding') {
    if (head.chunked || value.toLowerCase() !== 'chunked')
      throw new Error('the answer has a coding that we do not know')
    head.chunked = true
  } else if (name === 'connection') {
    const words = value.toLowerCase()
    if (words.includes('close')) head.reusable = false
    else if (words.includes('keep-alive')) head.reusable = true
  } else if (name === 'keep-alive') {
    const seconds = /timeout=(\d{1,6})/i.exec(value)?.[1]
    if (seconds !== undefined) head.keptSeconds = Number(seconds)
  }
}

function readLength(head: Head, value: string): void {
  const length = /^\d{1,15}$/.test(value) ? Number(value) : -1
  if (length === -1 || (head.length !== null && head.length !== length))
    throw new Error('the answer has no valid length')
  head.length = length
}

/** Place of the CR LF that ends the line which begins at `at`; −1 when it has not come. */
function lineEnd(bytes: Buffer, at: number, end: number): number {
  const last = Math.min(end, at + lineMaximumBytes + 2)
  for (let i = at; i < last - 1; i++) if (bytes[i] === cr && bytes[i + 1] === lf) return i
  if (end - at > lineMaximumBytes + 1) throw new Error('a line of the answer is too long')
  return -1
}

/** Hexadecimal digits up to the line's end or an extension. */
function chunkSize(bytes: Buffer, start: number, end: number): number {
  let size = 0
  let at = start
  for (; at < end; at += 1) {
    const digit = hexDigit(bytes[at]!)
    if (digit === -1) break
    size = size * 16 + digit
  }
  const ended = at === end || bytes[at] === 0x3b || bytes[at] === 0x20 || bytes[at] === 0x09
  if (at === start || at - start > 12 || !ended) throw new Error('a chunk has no valid size')
  return size
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
