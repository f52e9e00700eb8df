/**
 * Control's HTTP side as one app: the native API behind a key; health, documentation and the landing page without one.
 * Answers on a socket in production and through `app.request()` in tests. It decides nothing: each route is one command.
 */
import { Hono } from 'hono'
import { Fault, toFault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Points } from '../usage/metrics/families.ts'
import { renderError } from '../wire/native/error.ts'
import { inferenceRoutes } from '../wire/openai/reference.ts'
import { sealCursor } from './cursor.ts'
import { type ApiParts, basePath, type Endpoint } from './endpoint.ts'
import { type ApiMetrics, type GaugeSource, makeMetrics } from './metrics.ts'
import { openApiDocument } from './openapi.ts'
import { docsPage, errorsPage, landingPage, pageHeaders, stylesheet } from './pages.ts'
import { referenceAsset, referenceHeaders, referencePage } from './reference-page.ts'
import { type ApiContext, askFrom, forwarded, requestIdOf, type Variables } from './request.ts'
import { endpoints } from './table.ts'
import { addResumable } from './tus.ts'

export interface ApiOptions extends ApiParts {
  /** Can the server serve? Each problem is a sentence. */
  ready(): Promise<{ ok: boolean; problems: string[] }>
  clock: Clock
  log: Log
  version: string
  gauges?: readonly GaugeSource[]
  /** What the gateways have measured, for /metrics. */
  measured?: () => Promise<Points>
  /** Default: every route there is. */
  routes?: readonly Endpoint[]
}

export type ApiApp = Hono<{ Variables: Variables }>

/** Seconds in Retry-After where a fault that passes by itself names none. */
const retryAfterSecondsDefault = 5

export function makeApi(options: ApiOptions): ApiApp {
  const app: ApiApp = new Hono()
  const routes = options.routes ?? endpoints
  const metrics = makeMetrics(options.version, options.gauges ?? [], options.measured ?? null)
  app.use('*', (c, next) => around(c, next, options, metrics))
  app.use(`${basePath}/*`, async (c, next) => {
    c.set('principal', await options.access.authenticate(c.req.header('authorization'), c.req.header('x-paddock-org')))
    c.header('cache-control', 'no-store')
    await next()
  })
  for (const route of routes) serve(app, route, options, routes)
  addResumable(app, options)
  addHealth(app, options, metrics)
  addDocumentation(app, options, routes)
  const methodsOf = methodTable(app)
  app.notFound((c) => refuseUnknown(c, methodsOf))
  app.onError((thrown, c) => answerFault(c, toFault(thrown), options.log))
  return app
}

async function around(c: ApiContext, next: () => Promise<void>, options: ApiOptions, metrics: ApiMetrics) {
  const { clock, log } = options
  const begun = clock.monotonicMs()
  c.set('requestId', requestIdOf(c.req.header('x-request-id')))
  c.header('x-request-id', c.get('requestId'))
  c.header('x-content-type-options', 'nosniff')
  c.header('referrer-policy', 'no-referrer')
  await next()
  const took = clock.monotonicMs() - begun
  const operation = c.get('operation') ?? 'other'
  const { client } = forwarded(c.req.header('x-paddock-forwarded'))
  metrics.observe(operation, c.res.status, took / 1000)
  log.debug(
    { request_id: c.get('requestId'), operation, status: c.res.status, ms: Math.round(took), client },
    'answered',
  )
}

function serve(app: ApiApp, route: Endpoint, parts: ApiParts, routes: readonly Endpoint[]): void {
  const readable = routes.some(({ method, path }) => method === 'get' && path === `${route.path}/{id}`)
  const pattern = basePath + route.path.replace(/\{(\w+)\}/g, ':$1')
  app.on(route.method.toUpperCase(), pattern, async (c) => {
    c.set('operation', route.id)
    const answer = (await route.run(await askFrom(c, route, parts))) as {
      id?: string
      next_cursor?: string | null
      dry_run?: true
    }
    const { next_cursor } = answer
    const made = route.creates && !(route.preview !== null && answer.dry_run)
    if (made && readable) c.header('location', `${basePath}${route.path}/${answer.id}`)
    const sealed = next_cursor ? { ...answer, next_cursor: sealCursor(route.id, next_cursor) } : answer
    return c.json(sealed, made ? 201 : 200)
  })
}

function addHealth(app: ApiApp, options: ApiOptions, metrics: ApiMetrics): void {
  app.get('/healthz', (c) => c.json({ ok: true, version: options.version }))
  app.get('/readyz', async (c) => {
    const state = await options.ready()
    if (state.ok) return c.json(state)
    c.header('retry-after', '1')
    return c.json(state, 503)
  })
  app.get('/metrics', async (c) => {
    const principal = await options.access.authenticate(c.req.header('authorization'), undefined)
    if (!principal.operator) throw new Fault('forbidden', 'Only the operator may read metrics.')
    return c.body(await metrics.text(), 200, { 'content-type': metrics.contentType })
  })
}

function addDocumentation(app: ApiApp, options: ApiOptions, routes: readonly Endpoint[]): void {
  const about = { version: options.version, publicUrl: options.config.publicUrl }
  let document: string | undefined
  app.get('/openapi.json', (c) => {
    document ??= JSON.stringify(openApiDocument(routes, about))
    return c.body(document, 200, { 'content-type': 'application/json', 'cache-control': 'no-cache' })
  })
  app.get('/', (c) => c.html(landingPage(about), 200, pageHeaders))
  app.get('/docs', (c) => c.html(docsPage(about.publicUrl), 200, pageHeaders))
  app.get('/docs/errors', (c) => c.html(errorsPage(), 200, pageHeaders))
  app.get('/docs/style.css', (c) => c.body(stylesheet, 200, { 'content-type': 'text/css; charset=utf-8' }))
  app.get('/docs/api', (c) => c.html(referencePage, 200, referenceHeaders))
  app.get('/docs/api/:file', async (c) => {
    const asset = await referenceAsset(c.req.param('file'))
    if (asset === null) return c.notFound()
    const headers = { etag: asset.etag, 'cache-control': 'no-cache', 'content-type': asset.contentType }
    if (c.req.header('if-none-match') === asset.etag) return c.body(null, 304, headers)
    return c.body(new Uint8Array(asset.content), 200, headers)
  })
}

type MethodsOf = (path: string) => string[]

/** Which methods a path has, the gateway's inference routes included. */
function methodTable(app: ApiApp): MethodsOf {
  const own = app.routes.filter((route) => route.method !== 'ALL')
  const known = [
    ...own.map(({ method, path }) => ({ method, path })),
    ...inferenceRoutes.map(({ method, path }) => ({
      method: method.toUpperCase(),
      path: path.replace(/\{\w+\}/g, ':x'),
    })),
  ].map(({ method, path }) => ({ method, pattern: new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`) }))
  return (path) => [...new Set(known.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))]
}

function refuseUnknown(c: ApiContext, methodsOf: MethodsOf): never {
  const methods = methodsOf(c.req.path)
  if (methods.length === 0 || methods.includes(c.req.method))
    throw new Fault('route_not_found', `There is no route ${c.req.method} ${c.req.path.slice(0, 200)}.`)
  c.header('allow', methods.join(', '))
  throw new Fault('method_not_allowed', `This route has ${methods.join(', ')}, not ${c.req.method}.`)
}

function answerFault(c: ApiContext, fault: Fault, log: Log): Response {
  const requestId = c.get('requestId')
  if (fault.code === 'internal') log.error({ request_id: requestId, error: described(fault) }, 'a request failed')
  const passes = fault.status === 503 || fault.status === 429
  const seconds = fault.retryAfterSeconds ?? (passes ? retryAfterSecondsDefault : undefined)
  if (seconds !== undefined) c.header('retry-after', String(Math.ceil(seconds)))
  if (fault.status === 401) c.header('www-authenticate', 'Bearer')
  const json = JSON.stringify(renderError(fault, requestId))
  return c.body(json, fault.status as 400, { 'content-type': 'application/json' })
}

/** For the log: what was thrown and where, without request data. */
function described(fault: Fault): { message: string; stack?: string } {
  const { cause } = fault
  return cause instanceof Error ? { message: cause.message, stack: cause.stack } : { message: fault.internal ?? '' }
}
