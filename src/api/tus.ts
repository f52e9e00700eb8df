/**
 * The resumable upload: tus 1.0.0 with creation, termination, checksum and expiration (https://tus.io/protocols/resumable-upload).
 * Its answers are statuses and headers; failures have the body of all failures. Routes beside the table of endpoints,
 * because nothing of theirs is JSON; the reference and the authorisation matrix read this one as they read that.
 */
import type { Hono } from 'hono'
import type { z } from 'zod'
import { Fault } from '../kernel/fault.ts'
import type { FaultCode } from '../kernel/fault-table.ts'
import {
  type Checksum,
  checksumAlgorithms,
  type Piece,
  type ResumableState,
  WrongChecksum,
} from '../models/uploads/resumable.ts'
import { renderError } from '../wire/native/error.ts'
import { resumable as headers } from '../wire/native/uploads.ts'
import { bodyHash } from './body.ts'
import { type ApiParts, basePath } from './endpoint.ts'
import { type ApiContext, incomingOf, onceOf, type Variables } from './request.ts'

const version = '1.0.0'
const path = '/models/uploads'
const metadataBytesMaximum = 8 * 1024

export interface ResumableRoute {
  /** Operation id in the reference. */
  id: string
  method: 'options' | 'post' | 'head' | 'patch' | 'delete'
  /** Below `basePath`. */
  path: string
  summary: string
  description: string
  /** Headers of the request, beside the version. */
  asks: z.ZodObject
  /** Its body is bytes of the file. */
  sends: boolean
  status: 200 | 201 | 204
  /** Headers of the answer, which has no body. */
  tells: z.ZodObject
  faults: readonly FaultCode[]
  run(c: ApiContext, parts: ApiParts): Promise<Response>
}

const creationFaults = ['invalid_request', 'name_taken', 'quota_exceeded', 'body_too_large'] as const
const pieceFaults = [
  'unsupported_media_type',
  'invalid_request',
  'conflict',
  'body_too_large',
  'model_file_unreadable',
  'model_not_supported',
  'concurrency_limited',
  'client_closed',
] as const
const plain = { description: '', asks: headers.nothing, sends: false, faults: [] }
const described = { ...plain, method: 'options', status: 204, tells: headers.server, run: describe } as const
const one = `${path}/{id}`

export const resumableRoutes: readonly ResumableRoute[] = [
  { ...described, id: 'describeResumable', path, summary: 'What the resumable upload can do' },
  { ...described, id: 'describeResumableUpload', path: one, summary: 'The same, asked of one upload' },
  {
    ...plain,
    id: 'createResumable',
    method: 'post',
    path,
    summary: 'Begin a resumable upload (tus 1.0.0)',
    description: 'For large files over bad lines, with any tus client. Its id is that of the model.',
    asks: headers.creation,
    status: 201,
    tells: headers.created,
    faults: [...creationFaults, 'engine_unsupported', 'idempotency_conflict', 'conflict'],
    run: create,
  },
  {
    ...plain,
    id: 'showResumable',
    method: 'head',
    path: one,
    summary: 'Where a resumable upload stands',
    description: 'A connection that still sends to it is ended: whoever asks is about to go on.',
    status: 200,
    tells: headers.state,
    run: show,
  },
  {
    ...plain,
    id: 'appendResumable',
    method: 'patch',
    path: one,
    summary: 'Send the next piece of a resumable upload',
    description: 'Of any length. What arrived before a connection broke is kept.',
    asks: headers.piece,
    sends: true,
    status: 204,
    tells: headers.appended,
    faults: pieceFaults,
    run: append,
  },
  {
    ...plain,
    id: 'deleteResumable',
    method: 'delete',
    path: one,
    summary: 'Give up a resumable upload',
    status: 204,
    tells: headers.nothing,
    faults: ['conflict'],
    run: terminate,
  },
  {
    ...plain,
    id: 'overrideResumable',
    method: 'post',
    path: one,
    summary: 'PATCH, DELETE or HEAD of a resumable upload, for clients that can only POST',
    asks: headers.override,
    sends: true,
    status: 204,
    tells: headers.nothing,
    faults: pieceFaults,
    run: overridden,
  },
]

export function addResumable(app: Hono<{ Variables: Variables }>, parts: ApiParts): void {
  for (const route of resumableRoutes) {
    // Hono answers HEAD with what GET says, without its body.
    const method = route.method === 'head' ? 'GET' : route.method.toUpperCase()
    app.on(method, basePath + route.path.replace('{id}', ':id'), async (c) => {
      c.set('operation', route.id)
      c.header('tus-resumable', version)
      if (method !== 'OPTIONS' && c.req.header('tus-resumable') !== version) return refuseVersion(c)
      return route.run(c, parts)
    })
  }
}

async function describe(c: ApiContext, { uploads }: ApiParts): Promise<Response> {
  c.header('tus-version', version)
  c.header('tus-max-size', String(uploads.limits.fileBytes))
  c.header('tus-extension', 'creation,termination,checksum,expiration')
  c.header('tus-checksum-algorithm', checksumAlgorithms.join(','))
  return c.body(null, 204)
}

async function show(c: ApiContext, { resumable }: ApiParts): Promise<Response> {
  const state = await resumable.state(c.get('principal'), idOf(c))
  tell(c, state)
  c.header('upload-length', String(state.length))
  return c.body(null, 200)
}

async function terminate(c: ApiContext, { uploads }: ApiParts): Promise<Response> {
  await uploads.delete(c.get('principal'), idOf(c))
  return c.body(null, 204)
}

/** What is in the header goes before the method that was sent. */
async function overridden(c: ApiContext, parts: ApiParts): Promise<Response> {
  const asked = c.req.header('x-http-method-override')
  if (asked === 'PATCH') return append(c, parts)
  if (asked === 'DELETE') return terminate(c, parts)
  if (asked === 'HEAD') return show(c, parts)
  throw invalid('X-HTTP-Method-Override', 'must be PATCH, DELETE or HEAD')
}

function idOf(c: ApiContext): string {
  return c.req.param('id') ?? ''
}

async function create(c: ApiContext, { resumable }: ApiParts): Promise<Response> {
  if (c.req.header('upload-defer-length') !== undefined)
    throw invalid('Upload-Length', 'must be known when the upload begins')
  const bytes = number(c, 'upload-length')
  if (bytes === 0) throw invalid('Upload-Length', 'must be at least 1')
  const metadata = metadataOf(c.req.header('upload-metadata') ?? '')
  const name = metadata.get('name')
  if (name === undefined) throw invalid('Upload-Metadata', 'must hold the name of the model, as "name BASE64"')
  const wish = { name, bytes, deployment: metadata.get('deployment_id') ?? null }
  const once = onceOf(c, `POST ${path}`, bodyHash(wish))
  const state = await resumable.create(c.get('principal'), wish, once)
  tell(c, state)
  c.header('location', `${basePath}${path}/${state.id}`)
  return c.body(null, 201)
}

async function append(c: ApiContext, { resumable }: ApiParts): Promise<Response> {
  if (c.req.header('content-type') !== 'application/offset+octet-stream')
    throw new Fault('unsupported_media_type', 'A piece is sent as application/offset+octet-stream.', {
      action: 'Send Content-Type: application/offset+octet-stream.',
    })
  const { body } = incomingOf(c)
  const length = c.req.header('content-length')
  const piece: Piece = {
    offset: number(c, 'upload-offset'),
    bytes: length === undefined ? null : Number(length),
    checksum: checksumOf(c.req.header('upload-checksum')),
    body,
  }
  try {
    tell(c, await resumable.append(c.get('principal'), idOf(c), piece))
  } catch (thrown) {
    if (!(thrown instanceof WrongChecksum)) throw thrown
    return c.json(renderError(thrown, c.get('requestId')), 460 as 400)
  }
  return c.body(null, 204)
}

function tell(c: ApiContext, { offset, expiresAt }: ResumableState): void {
  c.header('upload-offset', String(offset))
  if (expiresAt !== null) c.header('upload-expires', expiresAt.toUTCString())
}

function refuseVersion(c: ApiContext): Response {
  c.header('tus-version', version)
  const fault = new Fault('invalid_request', `Tus-Resumable: this server speaks ${version}.`, {
    action: `Send Tus-Resumable: ${version}.`,
  })
  return c.json(renderError(fault, c.get('requestId')), 412)
}

function number(c: ApiContext, header: string): number {
  const text = c.req.header(header) ?? ''
  const value = Number(text)
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(value)) return value
  throw invalid(
    header.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()),
    'must be a whole number of bytes',
  )
}

/** `key BASE64,key BASE64`; a key alone has an empty value. What we do not know is left alone. */
function metadataOf(header: string): Map<string, string> {
  if (header.length > metadataBytesMaximum) throw invalid('Upload-Metadata', `is longer than ${metadataBytesMaximum}`)
  const pairs = new Map<string, string>()
  for (const pair of header.split(',')) {
    const [key = '', value = '', ...more] = pair.trim().split(' ')
    if (key === '') continue
    if (more.length > 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
      throw invalid('Upload-Metadata', `${key} is not base64`)
    if (pairs.has(key)) throw invalid('Upload-Metadata', `${key} is there more than once`)
    pairs.set(key, Buffer.from(value, 'base64').toString('utf8'))
  }
  return pairs
}

function checksumOf(header: string | undefined): Checksum | null {
  if (header === undefined) return null
  const [name = '', digest = ''] = header.split(' ')
  const algorithm = checksumAlgorithms.find((one) => one === name)
  if (algorithm === undefined)
    throw invalid('Upload-Checksum', `must begin with one of ${checksumAlgorithms.join(', ')}`)
  return { algorithm, digest: Buffer.from(digest, 'base64') }
}

function invalid(field: string, problem: string): Fault {
  return new Fault('invalid_request', `${field}: ${problem}.`, { detail: { fields: [{ field, problem }] } })
}
