/** The resumable upload: tus 1.0.0 as its clients speak it, interruptions, and what is wrong with a request. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, beforeEach, test } from 'node:test'
import { starterFile, tinyGguf } from '../models/uploads/testing.ts'
import { basePath } from './endpoint.ts'
import { makeWorld, type World } from './testing.ts'

const limits = { fileBytes: 8_000_000, orgBytes: 16_000_000, keptMs: 3_600_000 }
const base = `${basePath}/models/uploads`
let world: World
before(async () => {
  world = await makeWorld({}, { uploads: { limits } })
})
after(() => world.close())
beforeEach(async () => {
  const principal = await world.options.access.authenticate(`Bearer ${world.keys.ownerA}`, undefined)
  for (const { id } of await world.options.uploads.list(principal)) await send('DELETE', `${base}/${id}`)
  await world.uploads.loop.settle()
})

type Body = Buffer | ReadableStream | null

function send(method: string, path: string, headers: Record<string, string> = {}, body: Body = null, key?: string) {
  const all = { authorization: `Bearer ${key ?? world.keys.ownerA}`, 'tus-resumable': '1.0.0', ...headers }
  const init = { method, headers: all, ...(body === null ? {} : { body: body as never, duplex: 'half' as const }) }
  return Promise.resolve(world.app.request(path, init))
}

const metadata = (name: string) => ({ 'upload-metadata': `name ${Buffer.from(name).toString('base64')},filename eA==` })

async function begin(name: string, length: number): Promise<string> {
  const answer = await send('POST', base, { 'upload-length': String(length), ...metadata(name) })
  assert.equal(answer.status, 201, await answer.text())
  assert.equal(answer.headers.get('tus-resumable'), '1.0.0')
  const location = answer.headers.get('location')
  assert.match(String(location), /\/models\/uploads\/mdl_/)
  return location!
}

function patch(location: string, offset: number, body: Body, headers: Record<string, string> = {}) {
  const type = { 'content-type': 'application/offset+octet-stream' }
  return send('PATCH', location, { 'upload-offset': String(offset), ...type, ...headers }, body)
}

async function offsetOf(location: string): Promise<number> {
  const answer = await send('HEAD', location)
  assert.equal(answer.status, 200)
  return Number(answer.headers.get('upload-offset'))
}

async function codeOf(answer: Response): Promise<string> {
  return `${answer.status} ${((await answer.json()) as { error: { code: string } }).error.code}`
}

const modelOf = async (location: string) => (await world.call('GET', `/models/byom/${location.split('/').at(-1)}`)).json

test('in pieces, each by another request: ready with the right hash', async () => {
  const file = starterFile()
  const location = await begin('pieces', file.length)
  assert.equal((await modelOf(location)).status, 'uploading')
  for (let at = 0; at < file.length; at += 200_000) {
    assert.equal(await offsetOf(location), at)
    const piece = file.subarray(at, at + 200_000)
    const checksum = { 'upload-checksum': `sha1 ${createHash('sha1').update(piece).digest('base64')}` }
    const answer = await patch(location, at, piece, at % 400_000 === 0 ? checksum : {})
    assert.equal(answer.status, 204, await answer.text())
    assert.equal(answer.headers.get('upload-offset'), String(at + piece.length))
  }
  await world.uploads.loop.settle()
  const model = await modelOf(location)
  assert.equal(model.status, 'ready')
  assert.equal(model.sha256, createHash('sha256').update(file).digest('hex'))
  assert.equal(await offsetOf(location), file.length)
  assert.equal(await codeOf(await patch(location, file.length, Buffer.from('x'))), '409 conflict')
})

test('a process that knows nothing of what came before reads it again', async () => {
  const file = starterFile()
  const location = await begin('forgotten', file.length)
  await patch(location, 0, file.subarray(0, 300_000))
  world.uploads.context.receiving.forget(location.split('/').at(-1)!)
  assert.equal((await patch(location, 300_000, file.subarray(300_000))).status, 204)
  await world.uploads.loop.settle()
  assert.equal((await modelOf(location)).sha256, createHash('sha256').update(file).digest('hex'))
})

test('whoever stored the last byte died before it said so: asked where it stands, it goes on to ready', async () => {
  const file = starterFile()
  const location = await begin('unsaid', file.length)
  const writer = await world.uploads.context.storage.append(location.split('/').at(-1)!)
  await writer.write(file)
  await writer.close()
  assert.equal(await offsetOf(location), file.length)
  await world.uploads.loop.settle()
  const { status, sha256 } = await modelOf(location)
  assert.deepEqual([status, sha256], ['ready', createHash('sha256').update(file).digest('hex')])
})

test('what came before an interruption is kept, and a new connection ends the old one', async () => {
  const file = starterFile()
  const location = await begin('broken', file.length)
  let more: ReadableStreamDefaultController | null = null
  const hanging = new ReadableStream({
    start: (controller) => {
      more = controller
      controller.enqueue(file.subarray(0, 100_000))
    },
  })
  const first = patch(location, 0, hanging)
  let offset = 0
  while (offset === 0) offset = await offsetOf(location)
  assert.equal(offset, 100_000)
  assert.equal(await codeOf(await first), '409 conflict')
  more!.error(new Error('gone'))
  assert.equal((await patch(location, offset, file.subarray(offset))).status, 204)
  await world.uploads.loop.settle()
  assert.equal((await modelOf(location)).status, 'ready')
})

test('a client that leaves in the middle of a piece goes on where it was', async () => {
  const file = starterFile()
  const location = await begin('left', file.length)
  let pulls = 0
  const leaving = new ReadableStream({
    pull: (controller) =>
      pulls++ < 3
        ? controller.enqueue(file.subarray((pulls - 1) * 1000, pulls * 1000))
        : controller.error(new Error('gone')),
  })
  assert.equal(await codeOf(await patch(location, 0, leaving)), '499 client_closed')
  const offset = await offsetOf(location)
  assert.ok(offset > 0 && offset <= 3000, String(offset))
  assert.equal((await patch(location, offset, file.subarray(offset))).status, 204)
  await world.uploads.loop.settle()
  assert.equal((await modelOf(location)).sha256, createHash('sha256').update(file).digest('hex'))
})

test('a piece that is not as its checksum says leaves nothing', async () => {
  const file = tinyGguf({}, 4096)
  const location = await begin('sums', file.length)
  const wrong = { 'upload-checksum': `sha256 ${createHash('sha256').update('other').digest('base64')}` }
  assert.equal((await patch(location, 0, file.subarray(0, 1000), wrong)).status, 460)
  assert.equal(await offsetOf(location), 0)
  assert.equal((await patch(location, 0, file)).status, 204)
})

test('a bad header fails the upload at once, and its bytes go', async () => {
  const location = await begin('bad', 1_000_000)
  assert.equal(await codeOf(await patch(location, 0, Buffer.from('this is no model'))), '422 model_file_unreadable')
  const model = await modelOf(location)
  assert.equal(model.status, 'failed')
  assert.match(model.reason.message, /does not begin with GGUF/)
  assert.deepEqual(world.uploads.stored(), [])
  assert.equal(await codeOf(await patch(location, 16, Buffer.from('more'))), '409 conflict')
  // The name of what failed is free.
  await begin('bad', 100)
})

test('a file shorter than its header says fails when it is whole', async () => {
  const file = tinyGguf({}, 4096).subarray(0, -32)
  const location = await begin('short', file.length)
  assert.equal(await codeOf(await patch(location, 0, file)), '422 model_file_unreadable')
  assert.match((await modelOf(location)).reason.message, /cut off/)
})

test('terminated: gone, and its bytes too; another organisation sees nothing', async () => {
  const file = tinyGguf({}, 4096)
  const location = await begin('ended', file.length)
  await patch(location, 0, file.subarray(0, 500))
  for (const method of ['HEAD', 'PATCH', 'DELETE']) {
    const headers = { 'upload-offset': '500', 'content-type': 'application/offset+octet-stream' }
    const body = method === 'PATCH' ? file.subarray(500) : null
    assert.equal((await send(method, location, headers, body, world.keys.ownerB)).status, 404, method)
  }
  assert.equal((await send('HEAD', location, {}, null, world.keys.viewerA)).status, 403)
  assert.equal((await send('DELETE', location)).status, 204)
  assert.equal((await send('HEAD', location)).status, 404)
  await world.uploads.loop.settle()
  assert.deepEqual(world.uploads.stored(), [])
})

test('what is wrong with a request is said by name', async () => {
  const length = { 'upload-length': '100' }
  for (const [headers, expected] of [
    [{ ...metadata('x') }, '400 invalid_request'],
    [{ 'upload-length': '-1', ...metadata('x') }, '400 invalid_request'],
    [{ 'upload-length': '0', ...metadata('x') }, '400 invalid_request'],
    [{ 'upload-length': '99999999999999999999', ...metadata('x') }, '400 invalid_request'],
    [{ 'upload-length': '8000001', ...metadata('x') }, '413 body_too_large'],
    [{ 'upload-defer-length': '1', ...metadata('x') }, '400 invalid_request'],
    [length, '400 invalid_request'],
    [{ ...length, 'upload-metadata': 'name' }, '400 invalid_request'],
    [{ ...length, 'upload-metadata': 'name ***' }, '400 invalid_request'],
    [{ ...length, 'upload-metadata': 'name YQ==,name Yg==' }, '400 invalid_request'],
    [{ ...length, ...metadata('Ümlaut') }, '400 invalid_request'],
    [{ ...length, 'upload-metadata': 'name YQ==,deployment_id bm93aGVyZQ==' }, '404 not_found'],
    [{ ...length, ...metadata('x'), 'tus-resumable': '0.2.2' }, '412 invalid_request'],
  ] as const)
    assert.equal(await codeOf(await send('POST', base, headers)), expected, JSON.stringify(headers))
  const file = tinyGguf()
  const location = await begin('asked', file.length)
  assert.equal(await codeOf(await patch(location, 7, file)), '409 conflict')
  assert.equal(await codeOf(await patch(location, 0, Buffer.concat([file, file]))), '413 body_too_large')
  assert.equal(await offsetOf(location), 0)
  assert.equal(
    await codeOf(await patch(location, 0, file, { 'content-type': 'text/plain' })),
    '415 unsupported_media_type',
  )
  assert.equal(await codeOf(await patch(location, 0, file, { 'upload-checksum': 'crc32 AAAA' })), '400 invalid_request')
  assert.equal((await send('POST', base, { 'upload-length': '100', ...metadata('asked') })).status, 409)
})

test('OPTIONS says what there is; without a key nothing', async () => {
  const answer = await send('OPTIONS', base)
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('tus-version'), '1.0.0')
  assert.equal(answer.headers.get('tus-extension'), 'creation,termination,checksum,expiration')
  assert.equal(answer.headers.get('tus-max-size'), String(limits.fileBytes))
  for (const method of ['POST', 'OPTIONS']) assert.equal((await world.app.request(base, { method })).status, 401)
})
