/** What one attempt means: an answer for the client and its settlement, a reason to try elsewhere, or a Fault. */
import type { Route } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import { never } from '../kernel/never.ts'
import type { Usage } from '../usage/request.ts'
import { beginStream, sendPlain, shownModel } from './answer.ts'
import { edited, findUsage } from './answer-edit.ts'
import type { AnswerStream } from './answer-stream.ts'
import type { Outcome, StreamBegin } from './attempt.ts'
import { engineFault } from './engine-error.ts'
import { EventStream } from './event-stream.ts'
import type { Exchange } from './exchange.ts'
import { errorEvent } from './fault-body.ts'
import { givenUpWhy, isGivenUp } from './given-up.ts'
import type { InferenceParts } from './inference.ts'
import { NamedStream } from './named-stream.ts'
import type { Ask } from './parse.ts'
import { type RouteWords, routeWords } from './route-words.ts'
import { type Ending, settle } from './settle.ts'
import { estimatedUsage, noUsage, readUsage, tokensOf } from './usage.ts'

/**
 * `seen`: the engine may have seen the request. `busy`: it said that it takes nothing now. `fault`: what the client is told when nobody else can
 * answer.
 */
export interface Again {
  why: string
  seen: boolean
  busy: boolean
  fault: Fault
}

/** Largest event of a stream. */
const eventMaximumBytes = 8 * 1024 * 1024
const retryAfterSeconds = 2

export class Sending implements StreamBegin {
  readonly #parts: InferenceParts
  readonly #exchange: Exchange
  readonly #ask: Ask
  readonly #route: Route
  readonly #model: string | null
  readonly #words: RouteWords
  #stream: AnswerStream | null = null
  /** What is still to be sent when the answer is settled. */
  #last: string | null = null
  #contentType = ''

  constructor(parts: InferenceParts, exchange: Exchange, ask: Ask, route: Route) {
    this.#parts = parts
    this.#exchange = exchange
    this.#ask = ask
    this.#route = route
    this.#model = shownModel(ask.model ?? route.name, route)
    this.#words = routeWords[exchange.meant.route]
  }

  begin(): AnswerStream {
    const { meant } = this.#exchange
    beginStream(this.#exchange, this.#parts.clock.monotonicMs())
    const { route } = meant
    this.#stream =
      route === 'responses' || route === 'messages'
        ? new NamedStream(route, {
            model: this.#model,
            maxEventBytes: eventMaximumBytes,
            errorEvent: (message) => this.#errorEvent(message),
          })
        : new EventStream({
            model: this.#model,
            usage: this.#ask.usage,
            timings: this.#parts.engines.get(this.#route.engine)?.usage.timings ?? false,
            maxEventBytes: eventMaximumBytes,
          })
    return this.#stream
  }

  /** null when the request is settled and only to be finished, else why it must be sent again. Throws Faults. */
  conclude(outcome: Outcome): Again | null {
    switch (outcome.kind) {
      case 'unsent':
        return { why: outcome.why, seen: false, busy: false, fault: unavailable() }
      case 'lost':
        return { why: outcome.why, seen: true, busy: false, fault: lost(outcome.why) }
      case 'whole':
        // It takes nothing now; that is no answer, and waiting for it is what holding is for.
        if (outcome.status === 503) return { why: 'status 503', seen: false, busy: true, fault: unavailable() }
        if (outcome.status !== 200) {
          const { route } = this.#exchange.meant
          throw engineFault(outcome.status, Buffer.from(outcome.text, 'latin1').toString('utf8'), {
            engine: this.#route.engine,
            route,
          })
        }
        return this.#endPlain(outcome)
      case 'streamed':
        return this.#endStream(this.#stream!)
      case 'failed':
        this.#settle({ status: outcome.fault.status, code: outcome.fault.code, usage: this.#usageSoFar() })
        throw outcome.fault
      case 'gone':
        return this.#settle({ status: 499, code: 'client_closed', usage: this.#usageSoFar() })
      default:
        return never(outcome, 'outcome of an attempt')
    }
  }

  #endPlain({ contentType, text }: { contentType: string; text: string }): Again | null {
    const exchange = this.#exchange
    if (this.#words.generates && isGivenUp(exchange.meant.route, text))
      return { why: givenUpWhy, seen: true, busy: false, fault: lost(givenUpWhy) }
    // The client has been told `200` and waits for events; this is none.
    if (exchange.streaming) throw new Fault('engine_failed', 'The engine did not answer with a stream.')
    const found = findUsage(text)
    const told = found === null ? null : readUsage(text.slice(found.valueStart, found.valueEnd))
    const made = this.#words.generates ? tokensOf(text.length) : 0
    const usage = this.#words.free ? noUsage : (told ?? estimatedUsage(exchange.bytesIn, made))
    const now = this.#parts.clock.monotonicMs()
    exchange.contentCame(now)
    if (exchange.gone) return this.#settle({ status: 499, code: 'client_closed', usage })
    this.#last = this.#model === null ? text : edited(text, this.#model, null, 'keep')
    this.#contentType = contentType
    exchange.bytesOut += this.#last.length
    return this.#settle({ status: 200, code: null, usage })
  }

  #endStream(stream: AnswerStream): null {
    const rest = stream.end()
    const exchange = this.#exchange
    const { streamEnd, generates } = this.#words
    exchange.bytesOut += rest.length + streamEnd.length
    const usage = this.#usageSoFar()
    const givenUp = generates && stream.givenUp
    // Others would meet the same there until it answers its probe: told to stop, it takes requests and gives them up.
    if (givenUp) this.#parts.replicas.eject(exchange.link!, givenUpWhy)
    if (stream.errorText === null && (givenUp || !stream.complete) && generates) {
      // It closed in good order in the middle of its answer. For the client that is no end.
      exchange.response.write(rest, 'latin1')
      const fault = lost(givenUp ? givenUpWhy : 'its stream ended without a reason')
      this.#settle({ status: fault.status, code: fault.code, usage })
      throw fault
    }
    // The engine's own error event has passed already.
    if (stream.errorText !== null) this.#settle({ status: 500, code: 'engine_failed', usage })
    else if (exchange.gone) return this.#settle({ status: 499, code: 'client_closed', usage })
    else this.#settle({ status: 200, code: null, usage })
    this.#last = rest + streamEnd
    return null
  }

  /** The last bytes of a settled answer go out. */
  finish(): void {
    const exchange = this.#exchange
    const last = this.#last
    if (last === null) return
    if (this.#stream === null) sendPlain(exchange, this.#contentType, last, this.#parts.clock.monotonicMs())
    else exchange.response.end(last, 'latin1')
  }

  #settle(ending: Ending): null {
    settle(this.#exchange, ending, this.#parts)
    return null
  }

  #usageSoFar(): Usage | null {
    const stream = this.#stream
    if (stream === null) return null
    const { events, uncounted = 0 } = stream
    const told = readUsage(stream.usageText)
    if (told === null) return events === 0 ? null : estimatedUsage(this.#exchange.bytesIn, events)
    if (uncounted === 0) return told
    return { ...told, completionTokens: Math.max(told.completionTokens, uncounted), estimated: true }
  }

  #errorEvent(message: string): string {
    const event = errorEvent(this.#words.errors, new Fault('engine_failed', message), this.#exchange.shownId)
    return Buffer.from(event, 'utf8').toString('latin1')
  }
}

function unavailable(): Fault {
  return new Fault('unavailable', 'The engine does not answer.', { retryAfterSeconds })
}

function lost(why: string): Fault {
  return new Fault('engine_failed', 'The engine broke off its answer.', { internal: why })
}
