/**
 * The resumable upload: tus 1.0.0 with creation, termination, checksum and expiration (https://tus.io/protocols/resumable-upload).
 * Its answers are statuses and headers; failures have the body of all failures. Routes of their own beside the table,
 * because nothing of theirs is JSON.
 */
import type { Hono } from 'hono'
import { Fault } from '../kernel/fault.ts'
import {
  type Checksum,
  checksumAlgorithms,
  type Piece,
  type ResumableState,
  WrongChecksum,
} from '../models/uploads/resumable.ts'
import { renderError } from '../wire/native/error.ts'
import { bodyHash } from './body.ts'
import { type ApiParts, basePath } from './endpoint.ts'
import { type ApiContext, incomingOf, onceOf, type Variables } from './request.ts'

const version = '1.0.0'
const path = `${basePath}/models/uploads`
const metadataBytesMaximum = 8 * 1024

export function addResumable(app: Hono<{ Variables: Variables }>, parts: ApiParts): void {
  const serve = (method: string, at: string, operation: string, answer: (c: ApiContext) => Promise<Response>) =>
    app.on(method, at, async (c) => {
      c.set('operation', operation)
      c.header('tus-resumable', version)
      const asked = c.req.header('tus-resumable')
      // Proxies and people may leave it out of a question; not out of what changes something.
      if (method !== 'OPTIONS' && asked !== version) return refuseVersion(c)
      return answer(c)
    })
  for (const at of [path, `${path}/:id`])
    serve('OPTIONS', at, 'describeResumable', async (c) => {
      c.header('tus-version', version)
      c.header('tus-max-size', String(parts.uploads.limits.fileBytes))
      c.header('tus-extension', 'creation,termination,checksum,expiration')
      c.header('tus-checksum-algorithm', checksumAlgorithms.join(','))
      return c.body(null, 204)
    })
  serve('POST', path, 'createResumable', (c) => create(c, parts))
  serve('PATCH', `${path}/:id`, 'appendResumable', (c) => append(c, parts))
  serve('DELETE', `${path}/:id`, 'deleteResumable', async (c) => {
    await parts.uploads.delete(c.get('principal'), c.req.param('id') ?? '')
    return c.body(null, 204)
  })
  // Hono answers HEAD with what GET says, without its body.
  serve('GET', `${path}/:id`, 'showResumable', async (c) => {
    const state = await parts.resumable.state(c.get('principal'), c.req.param('id') ?? '')
    tell(c, state)
    c.header('upload-length', String(state.length))
    return c.body(null, 200)
  })
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
  const once = onceOf(c, `POST ${path.slice(basePath.length)}`, bodyHash(wish))
  const state = await resumable.create(c.get('principal'), wish, once)
  tell(c, state)
  c.header('location', `${path}/${state.id}`)
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
    tell(c, await resumable.append(c.get('principal'), c.req.param('id') ?? '', piece))
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
