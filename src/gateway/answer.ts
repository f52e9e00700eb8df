/** Writes answers to the client: heads, plain bodies, and the ends of streams. */
import { isSimulated, type Route } from '../deployments/routes.ts'
import type { Fault } from '../kernel/fault.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import { answerEarly, hasUnreadBody } from './body.ts'
import type { Exchange } from './exchange.ts'
import { errorEvent, faultBody, faultHeaders } from './fault-body.ts'
import { byteText } from './json-members.ts'
import { routeWords } from './route-words.ts'

/**
 * What stands where the engine wrote its model's name: the name the client used, and that another model answers where
 * that is so. null when the engine's own answer says just that.
 */
export function shownModel(asked: string, route: Route): string | null {
  if (!route.emulated && !route.servedBy) return asked === route.servedName ? null : byteText(asked)
  const servedBy = route.servedBy ? `,"served_by":${byteText(route.servedBy)}` : ''
  const simulated = isSimulated(route) ? ',"simulated":true' : ''
  return `${byteText(asked)},"emulated":true${simulated}${servedBy}`
}

/** The head of an event stream; only the first call writes. */
export function beginStream(exchange: Exchange, now: number): void {
  if (exchange.streaming || exchange.gone) return
  exchange.streaming = true
  const { response } = exchange
  const headers = ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache']
  // For proxies that would collect the events.
  headers.push('x-accel-buffering', 'no')
  addCommon(headers, exchange, now)
  response.writeHead(200, headers)
  response.flushHeaders()
}

/** `text` has one character per byte. */
export function sendPlain(exchange: Exchange, contentType: string, text: string, now: number): void {
  const { response } = exchange
  const headers = ['content-type', contentType || 'application/json', 'content-length', String(text.length)]
  addCommon(headers, exchange, now)
  response.writeHead(200, headers).end(text, 'latin1')
}

/** The refusal, wherever the answer stands: a status, or the last event of a stream that has begun. */
export function refuse(exchange: Exchange, fault: Fault, deadlines: Deadlines): void {
  const { response, request, shownId } = exchange
  const { errors, streamEnd } = routeWords[exchange.meant.route]
  if (exchange.gone) return
  if (exchange.streaming) {
    response.end(errorEvent(errors, fault, shownId) + streamEnd)
    return
  }
  const body = faultBody(errors, fault, shownId)
  const headers = [...faultHeaders(fault, shownId), 'content-length', String(Buffer.byteLength(body))]
  headers.push('server-timing', timingOf(exchange))
  if (exchange.replicaId !== null) headers.push('x-paddock-replica', exchange.replicaId)
  if (exchange.rateHeaders !== null) headers.push(...exchange.rateHeaders)
  if (hasUnreadBody(request)) {
    answerEarly(request, response, deadlines, () => response.writeHead(fault.status, headers).write(body))
  } else {
    response.writeHead(fault.status, headers).end(body)
  }
}

function addCommon(headers: string[], exchange: Exchange, now: number): void {
  let timing = timingOf(exchange)
  // A stream that is kept alive while it waits has no first byte yet.
  if (exchange.replicaId !== null) timing += `, ttft;dur=${ms(now - exchange.startedAt)}`
  headers.push('x-request-id', exchange.shownId, 'server-timing', timing)
  if (exchange.rateHeaders !== null) headers.push(...exchange.rateHeaders)
  if (exchange.replicaId !== null) headers.push('x-paddock-replica', exchange.replicaId)
}

function timingOf({ authMs, heldMs, routeMs }: Exchange): string {
  return `auth;dur=${ms(authMs)}, queue;dur=${ms(heldMs)}, route;dur=${ms(routeMs)}`
}

/** With hundredths of a millisecond; whole numbers throughout, which is what makes it cheap. */
function ms(value: number): string {
  const hundredths = Math.round(value * 100) | 0
  const whole = (hundredths / 100) | 0
  const rest = hundredths - whole * 100
  return `${whole}.${rest < 10 ? '0' : ''}${rest}`
}
