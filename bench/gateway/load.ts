/** The clients of the bench: a number of connections that each send a request, read the whole answer, and go on. */
import { connect, type Socket } from 'node:net'

export interface Load {
  port: number
  connections: number
  requests: number
  /** Events per stream and the time between two; null = plain requests. */
  stream: { events: number; paceMs: number } | null
  /** Characters of the prompt. */
  promptSize?: number
  /** Header lines beside those that every request has, as this front wants them. */
  headers?: string[]
  /** Hang up after so many events. */
  hangUpAfter?: number
}

export interface Loaded {
  answered: number
  failed: number
  /** Data events of streams. */
  events: number
  /** Milliseconds from the request to the end of its answer, per answered request. */
  total: number[]
  /** Milliseconds from the request to the first event, per stream. */
  first: number[]
  /** Milliseconds between two events of a stream. */
  gaps: number[]
  /** When clients hung up, by the clock that all processes of the machine share. */
  hungUpAt: string[]
}

const sentence = 'Explain how a suspension bridge carries its load, step by step. '
const eventMark = 'data: {'

process.on('message', (load: Load) => void run(load).then((loaded) => process.send!(loaded)))
process.on('disconnect', () => process.exit(0))
process.send!({ ready: true })

async function run(load: Load): Promise<Loaded> {
  const request = requestOf(load)
  const total: Loaded = { answered: 0, failed: 0, events: 0, total: [], first: [], gaps: [], hungUpAt: [] }
  let left = load.requests
  const more = () => left-- > 0
  await Promise.all(Array.from({ length: load.connections }, () => client(load, request, total, more)))
  return total
}

function requestOf({ stream, promptSize = 768, headers = [] }: Load): Buffer {
  const body = JSON.stringify({
    model: 'bench',
    messages: [{ role: 'user', content: sentence.repeat(Math.ceil(promptSize / sentence.length)) }],
    ...(stream === null ? { max_tokens: 64 } : { stream: true, max_tokens: stream.events, seed: stream.paceMs }),
  })
  const lines = ['POST /v1/chat/completions HTTP/1.1', 'host: bench', 'authorization: Bearer bench-key', ...headers]
  lines.push('content-type: application/json', `content-length: ${body.length}`)
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

function client(load: Load, request: Buffer, total: Loaded, more: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ port: load.port, host: '127.0.0.1', noDelay: true })
    let answer = new Answer(load.stream !== null)
    const next = () => {
      answer = new Answer(load.stream !== null)
      if (more()) socket.write(request)
      else socket.destroy()
    }
    socket.setEncoding('latin1')
    socket.on('connect', next)
    socket.on('data', (piece: string) => {
      const whole = answer.add(piece, total)
      if (load.hangUpAfter !== undefined && answer.events >= load.hangUpAfter) {
        total.hungUpAt.push(String(process.hrtime.bigint()))
        socket.destroy()
        return
      }
      if (whole) next()
    })
    socket.on('error', () => {
      total.failed += 1
    })
    socket.on('close', () => resolve())
  })
}

/** One answer as it comes in. */
class Answer {
  readonly #streamed: boolean
  readonly #askedAt = performance.now()
  #lastAt = 0
  #text = ''
  events = 0

  constructor(streamed: boolean) {
    this.#streamed = streamed
  }

  /** True when it is whole, and counted. */
  add(piece: string, total: Loaded): boolean {
    if (this.#text === '' || !this.#streamed) this.#text += piece
    // Of a stream only its beginning and its end are kept.
    else this.#text = this.#text.slice(0, 32) + this.#text.slice(32).slice(-32) + piece
    if (this.#streamed) this.#count(piece, total)
    const ok = this.#text.startsWith('HTTP/1.1 200')
    if (!(this.#streamed && ok ? this.#text.endsWith('0\r\n\r\n') : hasWholeBody(this.#text))) return false
    if (ok) total.answered += 1
    else total.failed += 1
    if (ok) total.total.push(performance.now() - this.#askedAt)
    return true
  }

  #count(piece: string, total: Loaded): void {
    let found = 0
    for (let at = piece.indexOf(eventMark); at !== -1; at = piece.indexOf(eventMark, at + eventMark.length)) found += 1
    if (found === 0) return
    const now = performance.now()
    if (this.events === 0) total.first.push(now - this.#askedAt)
    else total.gaps.push(now - this.#lastAt)
    this.#lastAt = now
    this.events += found
    total.events += found
  }
}

function hasWholeBody(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return false
  const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? Number.NaN)
  // Some fronts send plain answers in chunks.
  return Number.isNaN(length) ? text.endsWith('0\r\n\r\n') : text.length >= end + 4 + length
}
