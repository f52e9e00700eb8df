/** The OpenAPI document, made from the same table and schemas that serve. */
import { OpenAPIHono } from '@hono/zod-openapi'
import { z } from 'zod'
import { type FaultCode, faultTable } from '../kernel/fault-table.ts'
import { errorBody } from '../wire/native/error.ts'
import { resumable } from '../wire/native/uploads.ts'
import { type InferenceRoute, inferenceError, inferenceRoutes } from '../wire/openai/reference.ts'
import { basePath, type Endpoint, takesKey } from './endpoint.ts'
import { type ResumableRoute, resumableRoutes } from './tus.ts'

/** Also a stray query parameter, a right that the key lacks, and an X-Paddock-Org that does not exist. */
const everyRoute: FaultCode[] = [
  'unknown_field',
  'missing_key',
  'invalid_key',
  'forbidden',
  'not_found',
  'internal',
  'unavailable',
]
const withBody: FaultCode[] = [
  'invalid_json',
  'invalid_request',
  'unknown_field',
  'body_too_large',
  'unsupported_media_type',
]
const reading: FaultCode[] = ['missing_key', 'invalid_key', 'internal', 'unavailable']
const inferring: FaultCode[] = [
  ...reading,
  'invalid_json',
  'invalid_request',
  'context_length_exceeded',
  'engine_parameter_refused',
  'forbidden',
  'model_not_found',
  'conflict',
  'body_too_large',
  'rate_limited',
  'concurrency_limited',
  'hold_full',
  'engine_failed',
  'starting',
  'capacity_short',
  'quota_short',
  'stopping',
  'stopped',
  'failed',
  'upstream_timeout',
]

/** OpenAPI 3.1, as an object. `publicUrl`: shown as a second server; the first is wherever the document came from. */
export function openApiDocument(endpoints: readonly Endpoint[], about: { version: string; publicUrl: string }): object {
  const { openAPIRegistry: registry, getOpenAPI31Document } = new OpenAPIHono()
  registry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key: `Authorization: Bearer sk_…`',
  })
  for (const route of endpoints) registry.registerPath(nativePath(route))
  for (const route of resumableRoutes) registry.registerPath(resumablePath(route))
  for (const route of inferenceRoutes) registry.registerPath(inferencePath(route))
  const tags = [...new Set([...endpoints.map((route) => route.tag), 'Inference'])].map((name) => ({ name }))
  return getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Paddock',
      version: about.version,
      description:
        'Dedicated LLM inference endpoints that you host yourself. [Errors](/docs/errors), [all documentation](/docs).',
    },
    servers: [
      { url: '/', description: 'This server' },
      { url: about.publicUrl, description: 'Its public address' },
    ],
    security: [{ apiKey: [] }],
    tags,
  })
}

function nativePath(route: Endpoint) {
  const { id, method, path, tag, summary, description, query, body, form } = route
  const headers = z.object({
    ...(takesKey(route) ? { 'idempotency-key': idempotencyKey } : {}),
    'x-paddock-org': actAs,
  })
  const asJson = body === null ? {} : { body: { content: json(body), required: !body.safeParse({}).success } }
  const sent =
    form === null ? asJson : { body: { content: { 'multipart/form-data': { schema: form } }, required: true } }
  return {
    method,
    path: basePath + path,
    operationId: id,
    tags: [tag],
    summary,
    ...(description === '' ? {} : { description }),
    request: { params: pathParameters(path), query, headers, ...sent },
    responses: {
      [route.creates ? 201 : 200]: {
        description: route.creates ? 'Created.' : route.method === 'get' ? 'Found.' : 'Done.',
        content: json(route.answer),
      },
      ...(route.preview === null
        ? {}
        : { 200: { description: 'A dry run: nothing was made.', content: json(route.preview) } }),
      ...errors(faultsOf(route), errorBody),
    },
  }
}

/** Every code that a route can answer with, the common ones included. */
export function faultsOf(route: Endpoint): FaultCode[] {
  const hasQuery = Object.keys(route.query.shape).length > 0
  return [
    ...everyRoute,
    ...(hasQuery ? (['invalid_request'] as const) : []),
    ...(route.body === null ? [] : withBody),
    ...(takesKey(route) ? (['idempotency_conflict'] as const) : []),
    ...route.faults,
  ]
}

/** Headers instead of bodies, but for what fails. */
function resumablePath({ id, method, path, summary, description, asks, sends, status, tells, faults }: ResumableRoute) {
  const bytes = { 'application/offset+octet-stream': { schema: z.string().meta({ format: 'binary' }) } }
  const isQuestion = method === 'options'
  const headers = asks.extend({
    ...(isQuestion ? {} : { 'tus-resumable': resumable.version }),
    ...(id === 'createResumable' ? { 'idempotency-key': idempotencyKey } : {}),
    'x-paddock-org': actAs,
  })
  const said = (what: string) => ({ description: what, content: json(errorBody) })
  return {
    method,
    path: basePath + path,
    operationId: id,
    tags: ['Models'],
    summary,
    ...(description === '' ? {} : { description }),
    request: { params: pathParameters(path), headers, ...(sends ? { body: { content: bytes } } : {}) },
    responses: {
      [status]: { description: 'Done.', headers: tells.extend({ 'tus-resumable': resumable.version }) },
      ...errors([...everyRoute, ...faults], errorBody),
      ...(isQuestion ? {} : { 412: said('`invalid_request`: another version of tus was asked for.') }),
      ...(sends
        ? { 460: said('`invalid_request`: the piece is not as its checksum says; nothing of it was kept.') }
        : {}),
    },
  }
}

function inferencePath({ id, method, path, summary, request, answer }: InferenceRoute) {
  const streamed = { 'text/event-stream': { schema: z.string().meta({ description: 'With `stream: true`.' }) } }
  const sent = request === null ? {} : { body: { content: json(request), required: true } }
  return {
    method,
    path,
    operationId: id,
    tags: ['Inference'],
    summary,
    request: { params: pathParameters(path), ...sent },
    responses: {
      200: { description: 'Answered.', content: { ...json(answer), ...(request === null ? {} : streamed) } },
      ...errors(request === null ? reading : inferring, inferenceError),
    },
  }
}

const idempotencyKey = z
  .string()
  .min(1)
  .max(255)
  .optional()
  .meta({ description: 'The same key with the same body does the thing once, however often it is sent.' })
const actAs = z.string().optional().meta({ description: 'The operator only: act in this organisation.' })

function json(schema: z.ZodType) {
  return { 'application/json': { schema } }
}

function pathParameters(path: string) {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!)
  return z.object(Object.fromEntries(names.map((name) => [name, z.string()])))
}

function errors(codes: readonly FaultCode[], schema: z.ZodType) {
  const byStatus = Map.groupBy(new Set(codes), (code) => faultTable[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      status,
      {
        description: group.map((code) => `\`${code}\`: ${faultTable[code].action}`).join('\n\n'),
        content: json(schema),
      },
    ]),
  )
}
