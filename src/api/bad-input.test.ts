/** What goes in wrong: each case gets its own code and a sentence, and changes nothing. */
import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createAdaptorServer } from '@hono/node-server'
import { type CallOptions, makeWorld, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

/** `method path` → status, code and what the message must hold. */
async function refused(line: string, options: CallOptions, status: number, code: string, says?: RegExp) {
  const [method, path] = line.split(' ') as [string, string]
  const answer = await world.call(method, path, options)
  assert.equal(answer.status, status, answer.text)
  const { error } = answer.json
  assert.equal(error.code, code)
  if (says) assert.match(error.message, says)
  assert.ok(error.action.length > 5)
  assert.equal(error.request_id, answer.headers.get('x-request-id'))
  return answer
}

test('malformed JSON says where it breaks, and repeats nothing of it', async () => {
  const at = (body: string, says: RegExp) => refused('POST /deployments', { body }, 400, 'invalid_json', says)
  await at('{"name": prod}', /line 1, column 10 \(position 9\)/)
  await at('{"name": "a",\n "x": }', /line 2, column 7 \(position 20\)/)
  await at('{"name": "a"', /ends too early, after 12 characters/)
  await at('{"a": 1}}', /position 8/)
  await at('nul', /ends too early/)
  const secret = await at('{"name": sk_Hello}', /position 9/)
  assert.doesNotMatch(secret.text, /Hello/)
  await refused('POST /deployments', { body: Uint8Array.of(0x22, 0xff, 0x22) }, 400, 'invalid_json', /UTF-8/)
})

test('a body that is not JSON: 415; the charset does not matter; an empty body names what is missing', async () => {
  const typed = (type: string) => ({ body: JSON.stringify(wish('typed')), headers: { 'content-type': type } })
  await refused('POST /deployments', typed('text/plain'), 415, 'unsupported_media_type')
  await refused('POST /deployments', typed('application/jsonp'), 415, 'unsupported_media_type')
  assert.equal((await world.call('POST', '/deployments', typed('application/json; charset=utf-8'))).status, 201)
  await refused('POST /deployments', {}, 400, 'invalid_request', /name: is required\. model_id: is required/)
})

test('an 11 MB body: 413, with and without a length', async () => {
  const big = `{"name":"${'x'.repeat(11 * 1024 * 1024)}"}`
  await refused('POST /deployments', { body: big }, 413, 'body_too_large', /10485760 bytes/)
  const stream = new Blob([big]).stream()
  await refused('POST /deployments', { body: stream }, 413, 'body_too_large')
})

test('over a socket, too, the sender of 11 MB sees the answer rather than a broken connection', async () => {
  const server = createAdaptorServer({ fetch: world.app.fetch })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1/public/deployments`
    const headers = { authorization: `Bearer ${world.keys.ownerA}`, 'content-type': 'application/json' }
    const body = Buffer.alloc(11 * 1024 * 1024, 'x')
    assert.equal((await fetch(url, { method: 'POST', headers, body })).status, 413)
    const stream = new Blob([body]).stream()
    const chunked = { method: 'POST', headers, body: stream, duplex: 'half' } as RequestInit
    assert.equal((await fetch(url, chunked)).status, 413)
  } finally {
    server.close()
  }
})

test('wrong types, unknown fields and unknown query parameters are named, all at once', async () => {
  const body = { ...wish('x'), gpu_count: 'two', replicas: 0 }
  await refused(
    'POST /deployments',
    { body },
    400,
    'invalid_request',
    /gpu_count: must be a number; .*replicas: must be/,
  )
  await refused(
    'POST /deployments',
    { body: { ...wish('x'), foo: 1 } },
    400,
    'unknown_field',
    /^Unknown field "foo"\.$/,
  )
  await refused('GET /deployments?limit=201', {}, 400, 'invalid_request', /limit: must be at most 200; seen: "201"/)
  await refused('GET /deployments?limit=all', {}, 400, 'invalid_request', /limit: must be a number/)
  await refused('GET /deployments?limit=1&limit=2', {}, 400, 'invalid_request', /limit: .*seen: a list/)
  await refused('GET /deployments?page=2', {}, 400, 'unknown_field', /Unknown query parameter "page"/)
  await refused('GET /gpu-types?page=2', {}, 400, 'unknown_field', /Unknown query parameter "page"/)
})

test('names: unicode, capitals, length', async () => {
  for (const name of ['größe', '日本', 'Prod', 'a b', 'a'.repeat(64), 'a/../b', "a'; drop table orgs; --", 'a\u0000b'])
    await refused(
      'POST /deployments',
      { body: wish(name) },
      400,
      'invalid_request',
      /must be 1 to 63 of a-z, 0-9 and "-"/,
    )
  const path = `/deployments/${encodeURIComponent('日本')}`
  await refused(`GET ${path}`, {}, 404, 'not_found')
  await refused('GET /deployments/a%00b', {}, 404, 'not_found')
  await refused('GET /deployments/%ZZ', {}, 404, 'not_found')
  await refused('GET /deployments/..%2f..%2fetc%2fpasswd', {}, 404, 'not_found')
})

test('an unknown model: 422 with what there is', async () => {
  const answer = await refused(
    'POST /deployments',
    { body: { ...wish('m'), model_id: 'gpt-9' } },
    422,
    'model_not_supported',
  )
  assert.ok(answer.json.error.detail.supported.includes('paddock/starter'))
  await refused('POST /deployments', { body: { ...wish('m'), gpu_type: 'tpu' } }, 422, 'gpu_type_unknown')
  await refused('POST /deployments', { body: { ...wish('m'), gpu_count: 3 } }, 422, 'gpu_count_unsupported')
  await refused('POST /deployments', { body: { ...wish('m'), region: 'mars' } }, 422, 'region_unknown')
  await refused('POST /deployments', { body: { ...wish('m'), gpu_type: 'h200' } }, 422, 'price_not_set')
})

test('model paths outside the allowed folders are refused alike, whether they exist or not', async () => {
  for (const path of [
    '/etc/passwd',
    '/nowhere/x.gguf',
    '../../etc/passwd.gguf',
    'file:///etc/shadow',
    '/proc/self/mem',
  ])
    await refused(
      'POST /deployments',
      { body: { ...wish('path'), model_id: path } },
      400,
      'model_path_not_allowed',
      /is not inside a folder/,
    )
  await refused('POST /deployments', { body: { ...wish('path'), model_id: '/a\0b' } }, 400, 'invalid_request', /NUL/)
})

test('a name that is taken: 409; once deleted the name is free and the old id still answers', async () => {
  const first = await world.call('POST', '/deployments', { body: wish('taken') })
  assert.equal(first.status, 201)
  assert.equal(first.headers.get('location'), `/api/v1/public/deployments/${first.json.id}`)
  await refused('POST /deployments', { body: wish('taken') }, 409, 'name_taken', /"taken"/)
  const gone = await world.call('DELETE', `/deployments/${first.json.id}`)
  assert.equal(gone.status, 200)
  assert.equal(gone.json.status, 'teardown')
  assert.equal(gone.json.endpoint_url, null)
  assert.notEqual(gone.json.deleted_at, null)
  await refused('GET /deployments/taken', {}, 404, 'not_found')
  assert.equal((await world.call('GET', `/deployments/${first.json.id}`)).json.hourly_cost_usd, 0)
  assert.equal((await world.call('DELETE', `/deployments/${first.json.id}`)).status, 200, 'deleting twice')
  assert.equal((await world.call('POST', '/deployments', { body: wish('taken') })).status, 201)
})

test('only_if_stopped refuses while it runs', async () => {
  await world.call('POST', '/deployments', { body: wish('running') })
  await refused('DELETE /deployments/running?only_if_stopped=true', {}, 409, 'conflict', /only a stopped deployment/)
  await refused(
    'DELETE /deployments/running?only_if_stopped=yes',
    {},
    400,
    'invalid_request',
    /must be one of true, false/,
  )
  assert.equal((await world.call('GET', '/deployments/running')).json.phase, 'starting')
})

test('more GPUs than the quota: 409 with used, asked and limit', async () => {
  const body = { ...wish('many'), model_id: 'llama-3.3-70b-instruct', gpu_type: 'h100', gpu_count: 4, replicas: 3 }
  const answer = await refused('POST /deployments', { body }, 409, 'quota_exceeded')
  assert.deepEqual(answer.json.error.detail, { used: 0, asked: 12, limit: 8 })
})

test('keys: wrong, malformed, revoked, expired', async () => {
  await refused('GET /deployments', { key: 'sk_wrong' }, 401, 'invalid_key')
  await refused('GET /deployments', { key: null, headers: { authorization: 'Basic eDp5' } }, 401, 'missing_key')
  const made = await world.call('POST', '/api-keys', { body: { name: 'short-lived' } })
  assert.equal((await world.call('GET', '/deployments', { key: made.json.secret })).status, 200)
  const revoked = await world.call('DELETE', `/api-keys/${made.json.id}`)
  assert.deepEqual(revoked.json, { id: made.json.id, revoked: true, propagated: true })
  await refused('GET /deployments', { key: made.json.secret }, 401, 'invalid_key', /revoked/)
  await refused('DELETE /api-keys/key_nothere', {}, 404, 'not_found')
  const past = { name: 'late', expires_at: '2001-01-01T00:00:00Z' }
  await refused('POST /api-keys', { body: past }, 400, 'invalid_request', /past/)
  await refused(
    'POST /api-keys',
    { body: { name: 'mighty', role: 'owner' }, key: world.keys.developerA },
    403,
    'forbidden',
  )
})

test('unknown routes and methods', async () => {
  await refused('GET /nothing', {}, 404, 'route_not_found', /GET \/api\/v1\/public\/nothing/)
  await refused('GET //nothing', { key: null }, 404, 'route_not_found')
  await refused('GET /nothing', { key: null }, 401, 'missing_key')
  const patched = await refused('PUT /deployments/x', {}, 405, 'method_not_allowed', /GET, DELETE, PATCH/)
  assert.equal(patched.headers.get('allow'), 'GET, DELETE, PATCH')
  await refused('GET /deployments/x/chat/completions', {}, 405, 'method_not_allowed', /POST/)
  await refused('POST //healthz', {}, 405, 'method_not_allowed')
})

test('a cursor that was damaged, made up, or belongs to another list', async () => {
  for (const name of ['one', 'two', 'three']) await world.call('POST', '/deployments', { body: wish(`page-${name}`) })
  const first = await world.call('GET', '/deployments?limit=1')
  const cursor = first.json.next_cursor as string
  const next = await world.call('GET', `/deployments?limit=1&cursor=${cursor}`)
  assert.notEqual(next.json.data[0].id, first.json.data[0].id)
  const damaged = cursor.slice(0, -3) + cursor.slice(-2)
  for (const wrong of [damaged, 'x', 'MTIz', encodeURIComponent("' or 1=1")])
    await refused(
      `GET /deployments?cursor=${wrong}`,
      {},
      400,
      'invalid_request',
      /cursor: is not one that this list gave/,
    )
  await refused(`GET /api-keys?cursor=${cursor}`, {}, 400, 'invalid_request', /cursor/)
  await refused('GET /deployments?cursor=', {}, 400, 'invalid_request', /cursor: must have at least 1/)
})

test('Idempotency-Key: its form, and another body under the same key', async () => {
  const named = (key: string) => ({ body: wish('idem'), headers: { 'idempotency-key': key } })
  await refused('POST /deployments', named('x'.repeat(256)), 400, 'invalid_request', /1 to 255/)
  await refused('POST /deployments', named('a b'), 400, 'invalid_request', /Idempotency-Key/)
  assert.equal((await world.call('POST', '/deployments', named('k1'))).status, 201)
  const other = { ...named('k1'), body: wish('other') }
  await refused('POST /deployments', other, 409, 'idempotency_conflict')
})
