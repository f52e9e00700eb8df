/**
 * One attempt at one replica: sends the body, watches the clock, and either collects a plain answer or relays a stream
 * as it comes. It never throws and reports exactly one outcome; what that means for the client is decided elsewhere.
 */
import type { InferenceRoute } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Deadline, Deadlines } from '../runtime/deadlines.ts'
import type { AnswerStream } from './answer-stream.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import type { Link } from './replicas.ts'
import type { Call, Caller } from './upstream/connections.ts'
import type { Answer } from './upstream/response-reader.ts'

export interface AttemptLimits {
  firstByteMs: number
  /** For plain answers, which come at once when all of it is generated. */
  answerMs: number
  chunkMs: number
  /** A begun stream that is silent gets a comment this often. */
  commentMs: number
  maxAnswerBytes: number
  /** A stream whose client has left is read to its end, as a plain answer is. */
  drainStreams: boolean
}

export type Outcome =
  /** No connection: the engine has not seen the request. */
  | { kind: 'unsent'; why: string }
  /** The connection went before the answer began. */
  | { kind: 'lost'; why: string }
  /** `text` has one character per byte. */
  | { kind: 'whole'; status: number; contentType: string; text: string }
  | { kind: 'streamed' }
  /** The answer cannot be completed. */
  | { kind: 'failed'; fault: Fault }
  | { kind: 'gone' }

/** Whoever takes the engine's event stream when it begins. */
export interface StreamBegin {
  begin(): AnswerStream
}

export interface AttemptParts {
  limits: AttemptLimits
  clock: Clock
  deadlines: Deadlines
}

const paths: Record<InferenceRoute, string> = {
  'chat/completions': '/v1/chat/completions',
  completions: '/v1/completions',
  embeddings: '/v1/embeddings',
  responses: '/v1/responses',
  rerank: '/v1/rerank',
  messages: '/v1/messages',
  'messages/count_tokens': '/v1/messages/count_tokens',
}

/** `stream` null: a plain answer is expected. */
export function attempt(
  parts: AttemptParts,
  exchange: Exchange,
  link: Link,
  body: string | Buffer,
  stream: StreamBegin | null,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const relay = new Relay(parts, exchange, stream, resolve)
    const head =
      `${link.head('POST', paths[exchange.meant.route])}content-type: application/json\r\n` +
      `x-request-id: ${exchange.requestId}\r\ncontent-length: ${body.length}\r\n\r\n`
    link.connections.send(head, body, relay)
  })
}

class Relay implements Caller {
  readonly #limits: AttemptLimits
  readonly #clock: Clock
  readonly #deadlines: Deadlines
  readonly #exchange: Exchange
  readonly #begin: StreamBegin | null
  readonly #resolve: (outcome: Outcome) => void
  #watchdog: Deadline
  /** Monotonic ms: of the last sign of life. */
  #quietSince: number
  #call: Call | null = null
  #over = false
  #status = 0
  #contentType = ''
  #stream: AnswerStream | null = null
  /** Of a plain answer, so far. */
  #text = ''
  #paused = false

  constructor(parts: AttemptParts, exchange: Exchange, begin: StreamBegin | null, resolve: (outcome: Outcome) => void) {
    this.#limits = parts.limits
    this.#clock = parts.clock
    this.#deadlines = parts.deadlines
    this.#exchange = exchange
    this.#begin = begin
    this.#resolve = resolve
    this.#watchdog = parts.deadlines.add(this.#nextLookMs(this.#firstByteMs), this.#late)
    this.#quietSince = parts.deadlines.now
    exchange.interrupted = this.#interrupted
  }

  get #firstByteMs(): number {
    return this.#begin === null ? this.#limits.answerMs : this.#limits.firstByteMs
  }

  /** Nothing of the answer is there yet: some engines send the head of a stream at once, and think then. */
  get #isThinking(): boolean {
    return this.#status === 0 || this.#stream?.contentSeen === false
  }

  get #patienceMs(): number {
    return this.#isThinking ? this.#firstByteMs : this.#limits.chunkMs
  }

  /** The client of a begun stream hears in between that the connection is alive. */
  #nextLookMs(leftMs: number): number {
    return this.#exchange.streaming ? Math.min(leftMs, this.#limits.commentMs) : leftMs
  }

  #alive(): void {
    const { now } = this.#deadlines
    this.#quietSince = now
    this.#watchdog.at = now + Math.min(this.#limits.chunkMs, this.#limits.commentMs)
  }

  sends(call: Call): boolean {
    this.#call = call
    // Nobody waits for it any more.
    if (this.#over) this.#deadlines.cancel(this.#watchdog)
    return !this.#over
  }

  began({ status, contentType }: Answer): void {
    if (this.#over) return
    this.#status = status
    this.#contentType = contentType
    const begin = this.#begin
    if (begin === null || status !== 200 || !this.#contentType.startsWith('text/event-stream')) return
    this.#stream = begin.begin()
    this.#exchange.response.on('drain', this.#drained)
    this.#alive()
  }

  data(bytes: Buffer, from: number, to: number): void {
    if (this.#over) return
    const text = bytes.toString('latin1', from, to)
    const stream = this.#stream
    if (stream === null) {
      this.#collect(text)
      return
    }
    let out: string
    try {
      out = stream.push(text)
    } catch (error) {
      this.#fail(new Fault('engine_failed', 'The engine sent an event that is too large.', { cause: error }))
      return
    }
    if (stream.contentSeen) this.#exchange.contentCame(this.#clock.monotonicMs())
    if (out.length > 0) this.#write(out)
    if (stream.done) this.#end({ kind: 'streamed' })
    else if (!this.#paused) this.#alive()
  }

  ended(): void {
    this.#deadlines.cancel(this.#watchdog)
    // The connection belongs to others from here on.
    this.#call = null
    if (this.#over) return
    if (this.#stream !== null) {
      this.#end({ kind: 'streamed' })
      return
    }
    this.#end({ kind: 'whole', status: this.#status, contentType: this.#contentType, text: this.#text })
  }

  failed(error: Error): void {
    this.#deadlines.cancel(this.#watchdog)
    const sent = this.#call !== null
    this.#call = null
    if (this.#over) return
    const why = describe(error)
    if (!sent) this.#end({ kind: 'unsent', why })
    else if (this.#status === 0) this.#end({ kind: 'lost', why })
    else this.#end({ kind: 'failed', fault: broken(why) })
  }

  #collect(text: string): void {
    this.#text += text
    if (this.#text.length > this.#limits.maxAnswerBytes) {
      this.#fail(new Fault('engine_failed', 'The answer is larger than this server takes.'))
      return
    }
    this.#watchdog.at = this.#deadlines.now + this.#limits.chunkMs
  }

  #write(out: string): void {
    const exchange = this.#exchange
    if (exchange.gone) return
    exchange.bytesOut += out.length
    if (exchange.response.write(out, 'latin1') || this.#paused) return
    this.#paused = true
    this.#call?.pause()
    // From here on the watchdog watches the client, which must take what it asked for.
    this.#watchdog.at = this.#deadlines.now + this.#limits.chunkMs
  }

  readonly #drained = (): void => {
    if (!this.#paused) return
    this.#paused = false
    this.#alive()
    this.#call?.resume()
  }

  readonly #late = (): void => {
    if (this.#over) {
      this.#call?.abort(abandoned)
      return
    }
    if (this.#paused) {
      this.#exchange.response.destroy()
      return
    }
    const leftMs = this.#quietSince + this.#patienceMs - this.#deadlines.now
    if (leftMs > 0) {
      this.#comment()
      this.#watchdog = this.#deadlines.add(this.#nextLookMs(leftMs), this.#late)
      return
    }
    if (this.#isThinking) {
      const seconds = this.#firstByteMs / 1000
      this.#fail(new Fault('upstream_timeout', `The engine did not begin to answer within ${seconds} s.`))
      return
    }
    this.#fail(broken(`silent for ${this.#limits.chunkMs / 1000} s`))
  }

  /** Between events: what goes out ends with one. */
  #comment(): void {
    const exchange = this.#exchange
    if (!exchange.streaming || exchange.gone) return
    exchange.bytesOut += silence.length
    exchange.response.write(silence)
  }

  /** A plain answer is paid for in full whoever leaves, so it is waited for; a stream ends here and now, or drains. */
  readonly #interrupted = (why: ClientGone | Fault): void => {
    if (!(why instanceof ClientGone)) {
      this.#fail(why)
      return
    }
    const runsOn = this.#begin === null || this.#limits.drainStreams
    if (runsOn && this.#call !== null) {
      this.#exchange.interrupted = this.#interrupted
      this.#drained()
      return
    }
    this.#end({ kind: 'gone' })
    this.#call?.abort(abandoned)
  }

  #fail(fault: Fault): void {
    this.#end({ kind: 'failed', fault })
    this.#call?.abort(abandoned)
  }

  #end(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    this.#exchange.interrupted = null
    this.#exchange.response.off('drain', this.#drained)
    if (this.#paused) this.#call?.resume()
    if (outcome.kind === 'unsent' || outcome.kind === 'lost') this.#deadlines.cancel(this.#watchdog)
    this.#resolve(outcome)
  }
}

const silence = ': the engine is at work\n\n'
const abandoned = new Error('the answer is not needed any more')

function broken(why: string): Fault {
  return new Fault('engine_failed', 'The engine broke off its answer.', { internal: why })
}

/** Short words for the log. */
function describe(error: Error & { code?: string }): string {
  return error.code ?? error.message
}
