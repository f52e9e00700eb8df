/**
 * Renders faults for clients: our own shape on management paths; on inference paths OpenAI's error object, within
 * Anthropic's where that is the language of the route.
 */
import type { ServerResponse } from 'node:http'
import type { Fault } from '../kernel/fault.ts'

export type Dialect = 'openai' | 'responses' | 'anthropic' | 'native'

/** Longest Retry-After we ever send, in seconds. */
export const retryAfterMaximumSeconds = 60

export function faultBody(dialect: Dialect, fault: Fault, requestId: string): string {
  if (dialect === 'native') return JSON.stringify({ error: native(fault, requestId) })
  const error = openAi(fault, requestId)
  if (dialect !== 'anthropic') return JSON.stringify({ error })
  return JSON.stringify({
    type: 'error',
    error: { ...error, type: anthropicType(fault.status) },
    request_id: requestId,
  })
}

/** `retry_after` and, where it matters, whether the official SDKs should try again by themselves. */
export function faultHeaders(fault: Fault, requestId: string): string[] {
  const headers = ['content-type', 'application/json', 'x-request-id', requestId]
  if (fault.status === 401) headers.push('www-authenticate', 'Bearer')
  if (fault.retryAfterSeconds !== undefined) headers.push('retry-after', String(retryAfter(fault)))
  if (fault.status === 503) headers.push('x-should-retry', String(isRetryable(fault)))
  return headers
}

export function sendFault(response: ServerResponse, dialect: Dialect, fault: Fault, requestId: string): void {
  const body = faultBody(dialect, fault, requestId)
  response.writeHead(fault.status, [
    ...faultHeaders(fault, requestId),
    'content-length',
    String(Buffer.byteLength(body)),
  ])
  response.end(body)
}

/** The event that ends a stream which cannot go on. */
export function errorEvent(dialect: Exclude<Dialect, 'native'>, fault: Fault, requestId: string): string {
  if (dialect === 'openai') return `data: ${faultBody('openai', fault, requestId)}\n\n`
  if (dialect === 'anthropic') return `event: error\ndata: ${faultBody('anthropic', fault, requestId)}\n\n`
  const { type: kind, ...error } = openAi(fault, requestId)
  return `event: error\ndata: ${JSON.stringify({ type: 'error', ...error, kind })}\n\n`
}

/** Stopped and failed stay so until somebody acts; everything else that is 503 passes. */
function isRetryable(fault: Fault): boolean {
  return fault.code !== 'stopped' && fault.code !== 'failed'
}

function retryAfter(fault: Fault): number {
  return Math.min(retryAfterMaximumSeconds, Math.max(1, Math.ceil(fault.retryAfterSeconds ?? 1)))
}

function native(fault: Fault, requestId: string): object {
  return {
    code: fault.code,
    message: fault.message,
    action: fault.action,
    ...(fault.detail === undefined ? {} : { detail: fault.detail }),
    request_id: requestId,
  }
}

function openAi(fault: Fault, requestId: string) {
  const detail = fault.detail as { param?: unknown } | undefined
  return {
    // SDKs show the message alone, so it also says what to do.
    message: fault.action === '' ? fault.message : `${fault.message} ${fault.action}`,
    type: errorType(fault.status),
    param: typeof detail?.param === 'string' ? detail.param : null,
    code: fault.code,
    action: fault.action,
    ...(fault.retryAfterSeconds === undefined ? {} : { retry_after: retryAfter(fault) }),
    request_id: requestId,
  }
}

function errorType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 404) return 'not_found_error'
  if (status === 409) return 'conflict_error'
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

/** The names that Anthropic's clients know. */
function anthropicType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 404) return 'not_found_error'
  if (status === 413) return 'request_too_large'
  if (status === 429) return 'rate_limit_error'
  if (status === 503) return 'overloaded_error'
  if (status === 504) return 'timeout_error'
  return status >= 500 ? 'api_error' : 'invalid_request_error'
}
