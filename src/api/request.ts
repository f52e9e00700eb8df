/** What is known of a request before a route looks at it, and how it becomes a checked ask. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { Context } from 'hono'
import type { Once } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import { Fault } from '../kernel/fault.ts'
import { newId } from '../runtime/ids.ts'
import { check, type Problem, problemsFault } from '../wire/native/check.ts'
import { bodyHash, readJsonBody } from './body.ts'
import { openCursor } from './cursor.ts'
import { type ApiParts, type Ask, basePath, type Endpoint, type Incoming, takesKey } from './endpoint.ts'

export interface Variables {
  requestId: string
  principal: Principal
  /** Operation id of the route that answers, for metrics and the log. */
  operation: string
}
export type ApiContext = Context<{ Variables: Variables }>

/** Who really asked, as the gateway saw it. It alone reaches the socket that control listens on. */
export interface Forwarded {
  client?: string
  proto?: string
  host?: string
}

export function forwarded(header: string | undefined): Forwarded {
  try {
    const value: unknown = JSON.parse(header ?? '{}')
    return value !== null && typeof value === 'object' ? value : {}
  } catch {
    return {}
  }
}

/** The gateway's or the client's own id when it is harmless in a log, else a new one. */
export function requestIdOf(header: string | undefined): string {
  return header !== undefined && /^[\w.:-]{1,128}$/.test(header) ? header : newId('req')
}

/** Checks path, query, headers and body together, so that everything wrong is told at once. Throws Faults. */
export async function askFrom(c: ApiContext, route: Endpoint, parts: ApiParts): Promise<Ask> {
  const params = pathParameters(c)
  const sent = route.body === null ? undefined : await readJsonBody(c.req.raw, parts.config.maxBodyBytes)
  const query = check(route.query, singles(c.req.queries()), 'query')
  // An empty body reads as an empty object: the answer then names the fields that are missing.
  const body = route.body === null ? { value: undefined, problems: [] } : check(route.body, sent ?? {}, 'body')
  const problems: Problem[] = [...query.problems, ...body.problems]
  if (problems.length > 0) throw problemsFault(problems)
  return {
    principal: c.get('principal'),
    param: (name) => params[name]!,
    query: withCursor(route, query.value as Record<string, unknown>),
    body: body.value,
    // With the id that is in the path: the same key on another deployment is another request.
    once: takesKey(route)
      ? onceOf(c, `${route.method.toUpperCase()} ${c.req.path.slice(basePath.length)}`, bodyHash(sent ?? {}))
      : null,
    parts,
    incoming: () => incomingOf(c),
  }
}

/** On a socket Node's own request: a body that is refused halfway must stay open, so that the answer gets through. */
export function incomingOf(c: ApiContext): Incoming {
  const { incoming } = (c.env ?? {}) as { incoming?: IncomingMessage }
  if (incoming !== undefined) return { headers: incoming.headers, body: incoming }
  const headers: IncomingHttpHeaders = Object.fromEntries(c.req.raw.headers)
  const body = c.req.raw.body as ReadableStream | null
  return { headers, body: body === null ? Readable.from([]) : Readable.fromWeb(body) }
}

const anyId = /^[\w.-]{1,100}$/
/** Of the catalogue: alone or below an owner. */
const modelId = /^(?=.{1,128}$)[\w.-]+(\/[\w.-]+)?$/

function pathParameters(c: ApiContext): Record<string, string> {
  const params = c.req.param() as Record<string, string>
  for (const [name, value] of Object.entries(params))
    if (!(name === 'model' ? modelId : anyId).test(value))
      throw new Fault('not_found', `There is nothing with this ${name}.`)
  return params
}

/** A parameter given more than once stays a list, which no schema accepts. */
function singles(queries: Record<string, string[]>): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(queries).map(([name, all]) => [name, all.length === 1 ? all[0]! : all]))
}

function withCursor(route: Endpoint, query: Record<string, unknown>): Record<string, unknown> {
  if (typeof query.cursor !== 'string') return query
  return { ...query, cursor: openCursor(route.id, query.cursor) }
}

export function onceOf(c: ApiContext, route: string, requestHash: string): Once | null {
  const key = c.req.header('idempotency-key')
  if (key === undefined) return null
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw new Fault('invalid_request', 'Idempotency-Key: must be 1 to 255 visible ASCII characters.')
  return { key, route, requestHash }
}
