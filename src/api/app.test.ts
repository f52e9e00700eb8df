/** What goes in right: every route's answer, as the reference shows it (the test world compares each with the document). */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { tinyGguf } from '../models/uploads/testing.ts'
import type { Log } from '../runtime/log.ts'
import { ApiError, NativeClient } from '../wire/native/client.ts'
import { makeApi } from './app.ts'
import { endpoint } from './endpoint.ts'
import { endpoints } from './table.ts'
import { assertDocumented, makeWorld, type OpenApi, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

test('a deployment from create to delete', async () => {
  const engine = { type: 'llamacpp', max_model_len: 4096, max_num_seqs: 2 }
  const made = await world.call('POST', '/deployments', { body: { ...wish('life'), engine } })
  assert.equal(made.status, 201)
  const { id } = made.json
  assert.match(id, /^dep_/)
  assert.equal(made.json.org_id, world.orgA)
  assert.equal(made.json.status, 'provisioning')
  assert.equal(made.json.phase, 'starting')
  assert.equal(made.json.reason.code, 'starting')
  assert.equal(made.json.endpoint_url, `http://paddock.test/api/v1/public/deployments/${id}`)
  assert.equal(made.json.engine.max_model_len, 4096)
  assert.equal(made.headers.get('cache-control'), 'no-store')
  assert.deepEqual((await world.call('GET', `/deployments/${id}`)).json, made.json)
  assert.deepEqual((await world.call('GET', '/deployments/life')).json, made.json)
  const explained = await world.call('GET', '/deployments/life/explain')
  assert.deepEqual(explained.json.deployment, made.json)
  assert.deepEqual(
    explained.json.events.map((one: { type: string }) => one.type),
    ['deployment.created'],
  )
  const events = await world.call('GET', '/deployments/life/events')
  assert.equal(events.json.data[0].data.model_id, 'paddock/starter')
  await world.call('DELETE', '/deployments/life')
  const deleted = await world.call('GET', '/deployments?deleted=true')
  assert.deepEqual(
    deleted.json.data.map((one: { id: string }) => one.id),
    [id],
  )
})

test('replicas, with their start phases and their end; logs keep the last lines', async () => {
  const { id } = (await world.call('POST', '/deployments', { body: wish('replicated') })).json
  await plantReplica(id)
  const { data } = (await world.call('GET', `/deployments/${id}/replicas`)).json
  assert.deepEqual(data[0].start_phases, { hardware: '2026-01-01T00:00:00.000Z', load: '2026-01-01T00:00:01.000Z' })
  assert.equal(data[0].exit.why, 'It was killed.')
  assert.equal(data[0].exit.at, '2026-01-01T01:00:00.000Z')
  assert.equal(data[0].revision, 1)
  const logs = await world.call('GET', `/deployments/${id}/logs?lines=5`)
  assert.deepEqual(logs.json.data, [{ replica_id: 'rep_planted', lines: ['the last line'] }])
  assert.equal((await world.call('GET', `/deployments/${id}/explain`)).json.replicas.length, 1)
})

test('lists have pages', async () => {
  for (const name of ['p1', 'p2', 'p3', 'p4', 'p5']) await world.call('POST', '/deployments', { body: wish(name) })
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: { json: { data: { name: string }[]; next_cursor: string | null } } = await world.call(
      'GET',
      `/deployments?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
    )
    seen.push(...page.json.data.map((one) => one.name))
    cursor = page.json.next_cursor
  }
  assert.deepEqual(
    seen.filter((name) => /^p\d$/.test(name)),
    ['p5', 'p4', 'p3', 'p2', 'p1'],
  )
  assert.equal(new Set(seen).size, seen.length)
})

test('Idempotency-Key: the same request again gives the same answer and makes nothing new', async () => {
  const headers = { 'idempotency-key': 'once' }
  const first = await world.call('POST', '/api-keys', { body: { name: 'one', role: 'viewer' }, headers })
  const again = await world.call('POST', '/api-keys', { body: '{ "role": "viewer", "name": "one" }', headers })
  assert.equal(first.status, 201)
  assert.deepEqual(again.json, first.json)
  assert.match(first.json.secret, /^sk_/)
  assert.equal(first.json.hint, first.json.secret.slice(-4))
  const all = await Promise.all(
    Array.from({ length: 8 }, () =>
      world.call('POST', '/deployments', { body: wish('at-once'), headers: { 'idempotency-key': 'race' } }),
    ),
  )
  assert.deepEqual(new Set(all.map((answer) => answer.status)), new Set([201]))
  assert.equal(new Set(all.map((answer) => answer.json.id)).size, 1)
})

test('the secret of a key is shown once', async () => {
  const made = await world.call('POST', '/api-keys', {
    body: { name: 'shown once', expires_at: '2099-01-01T00:00:00Z' },
  })
  assert.equal(made.json.expires_at, '2099-01-01T00:00:00.000Z')
  const listed = await world.call('GET', '/api-keys')
  const mine = listed.json.data.find((key: { id: string }) => key.id === made.json.id)
  assert.equal(mine.role, 'developer')
  assert.doesNotMatch(listed.text, new RegExp(made.json.secret))
})

test('what can be deployed', async () => {
  const types = await world.call('GET', '/gpu-types')
  const h100 = types.json.data.find((type: { gpu_type: string }) => type.gpu_type === 'h100')
  assert.equal(h100.hourly_cost_usd, 4.41)
  assert.deepEqual(h100.gpu_counts, [1, 2, 4])
  const h200 = types.json.data.find((type: { gpu_type: string }) => type.gpu_type === 'h200')
  assert.equal(h200.hourly_cost_usd, null)
  assert.equal(h200.deployable, false)
  const models = await world.call('GET', '/models')
  const llama = models.json.data.find((model: { id: string }) => model.id === 'llama-3.3-70b-instruct')
  assert.deepEqual([llama.deployable, llama.emulated, llama.served_by], [true, true, 'paddock/starter'])
})

test('gpu-model-configs lists exactly what a create accepts', async () => {
  const valid = await world.call('GET', '/gpu-model-configs')
  const all = await world.call('GET', '/gpu-model-configs?all=true')
  assert.equal(all.json.data.length, 8 * world.options.models.all().length)
  assert.deepEqual(
    all.json.data.filter((row: { valid: boolean }) => row.valid),
    valid.json.data,
  )
  let made = 0
  for (const row of all.json.data) {
    const name = `config-${(made += 1)}`
    const { gpu_type, model_id } = row
    const gpu_count = row.gpu_counts[0] ?? 1
    const answer = await world.call('POST', '/deployments', { body: { name, gpu_type, gpu_count, model_id } })
    assert.equal(answer.status === 201, row.valid, `${gpu_type} with ${model_id}: ${answer.text}`)
    if (answer.status === 422) assert.ok(answer.json.error.message.startsWith(row.reason), answer.text)
    if (answer.status === 201) await world.call('DELETE', `/deployments/${name}`)
  }
})

test('the client: every method against the real app', async () => {
  const client = clientFor(world, world.keys.ownerA)
  const made = await client.createDeployment(wish('by-client'), { idempotencyKey: 'c1' })
  assert.equal((await client.getDeployment('by-client')).id, made.id)
  assert.ok((await client.listDeployments({ limit: 200 })).data.some((one) => one.id === made.id))
  assert.equal((await client.explainDeployment(made.id)).deployment.name, 'by-client')
  assert.deepEqual((await client.listReplicas(made.id)).data, [])
  assert.equal((await client.listEvents(made.id, { limit: 1 })).data.length, 1)
  assert.deepEqual((await client.readLogs(made.id, { lines: 3 })).data, [])
  const key = await client.createKey({ name: 'by client' })
  assert.ok((await client.listKeys()).data.some((one) => one.id === key.id))
  assert.equal((await client.changeKey(key.id, { limits: { rpm: 9 } })).limits.rpm, 9)
  assert.equal((await client.getKey(key.id)).limits.rpm, 9)
  const file = new Uint8Array(tinyGguf())
  const { id } = await client.beginUpload({ name: 'by-client', bytes: file.length, deploymentId: made.id })
  assert.equal(await client.sendPiece(id, 0, file.subarray(0, 50)), 50)
  assert.equal(await client.uploadOffset(id), 50)
  assert.equal(await client.sendPiece(id, 50, file.subarray(50)), file.length)
  assert.equal((await client.uploadedModel('by-client')).status, 'validating')
  assert.equal((await client.deleteUploadedModel(id)).id, id)
  assert.equal((await client.changeLimits(made.id, { tpm: 900 })).tpm, 900)
  assert.equal((await client.getLimits(made.id)).tpm, 900)
  assert.equal((await client.changeSla(made.id, { concurrency_limit: 2 })).concurrency_limit, 2)
  assert.equal((await client.getSla(made.id)).concurrency_limit, 2)
  assert.equal((await client.revokeKey(key.id)).revoked, true)
  assert.deepEqual((await client.listOrgs()).data, [await orgA()])
  assert.equal((await client.listGpuTypes()).data.length, 8)
  assert.ok((await client.listModels()).data.length > 0)
  assert.ok((await client.listGpuModelConfigs({ all: true })).data.length > 0)
  assert.equal((await client.deleteDeployment('by-client', { onlyIfStopped: false })).status, 'teardown')
  assert.deepEqual(await client.health(), { ok: true, version: '0.0.0-test' })
  assert.deepEqual(await client.ready(), { ok: true, problems: [] })
  const operator = clientFor(world, world.keys.operator)
  assert.equal((await operator.createOrg({ name: 'C' })).name, 'C')
})

test('the client: failures are ApiErrors with what the server said', async () => {
  const client = clientFor(world, world.keys.ownerA)
  await assert.rejects(client.getDeployment('nope'), (error: ApiError) => {
    assert.ok(error instanceof ApiError)
    assert.deepEqual([error.status, error.code], [404, 'not_found'])
    assert.match(error.action, /list/)
    assert.match(error.requestId!, /^req_/)
    return true
  })
  const nobody = new NativeClient({ url: 'http://127.0.0.1:1', key: 'sk_x' })
  await assert.rejects(nobody.listModels(), { status: 0, code: 'unreachable' })
  const page = async () => new Response('<html>hello</html>', { status: 200 })
  const stranger = new NativeClient({ url: 'http://x', fetch: page })
  await assert.rejects(stranger.listModels(), { status: 200, code: 'not_paddock' })
  const openai = async () =>
    Response.json({ error: { message: 'No.', type: 't', param: null, code: null } }, { status: 429 })
  const other = new NativeClient({ url: 'http://x', fetch: openai })
  await assert.rejects(other.chatCompletions('x', {}), { status: 429, message: 'No.' })
})

test('what is thrown and has no meaning: 500, logged with the request id, and nothing of it shown', async () => {
  const lines: object[] = []
  const log = { ...world.options.log, error: (fields: object) => lines.push(fields) } as Log
  const deployments = { list: async () => Promise.reject(new Error('password=hunter2')) } as never
  const app = makeApi({ ...world.options, deployments, log })
  const headers = { authorization: `Bearer ${world.keys.ownerA}`, 'x-request-id': 'given-by-the-gateway' }
  const answer = await app.request('/api/v1/public/deployments', { headers })
  const text = await answer.text()
  assert.equal(answer.status, 500)
  assert.doesNotMatch(text, /hunter2/)
  assert.equal(JSON.parse(text).error.request_id, 'given-by-the-gateway')
  assert.match(JSON.stringify(lines), /given-by-the-gateway.*hunter2/)
})

test('without its database: 503 to try again, and what needs no database still answers', async () => {
  const alone = await makeWorld()
  await alone.close()
  const answer = await alone.call('GET', '/deployments')
  assert.equal(answer.status, 503)
  assert.equal(answer.json.error.code, 'unavailable')
  assert.ok(Number(answer.headers.get('retry-after')) > 0)
  assert.equal((await alone.call('GET', '//healthz')).status, 200)
})

test('request ids: kept when harmless, made when not', async () => {
  const kept = await world.call('GET', '//healthz', { headers: { 'x-request-id': 'abc-1.2:3' } })
  assert.equal(kept.headers.get('x-request-id'), 'abc-1.2:3')
  const made = await world.call('GET', '//healthz', { headers: { 'x-request-id': 'a b"c' } })
  assert.match(made.headers.get('x-request-id')!, /^req_/)
})

test('readyz says what is missing', async () => {
  const app = makeApi({
    ...world.options,
    ready: async () => ({ ok: false, problems: ['The database does not answer.'] }),
  })
  const answer = await app.request('/readyz')
  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('retry-after'), '1')
  assert.deepEqual(await answer.json(), { ok: false, problems: ['The database does not answer.'] })
})

test('gauges of others appear among the metrics', async () => {
  const read = async () => [{ labels: { phase: 'serving' }, value: 3 }]
  const gauges = [{ name: 'paddock_deployments', help: 'Deployments.', labelNames: ['phase'], read }]
  const app = makeApi({ ...world.options, gauges })
  const headers = { authorization: `Bearer ${world.keys.operator}` }
  const text = await (await app.request('/metrics', { headers })).text()
  assert.match(text, /paddock_deployments\{phase="serving"\} 3/)
  assert.match(text, /process_cpu_user_seconds_total/)
})

test('an answer that is not as documented is found by this test world', async () => {
  const answer = z.object({ id: z.string() })
  const run = async () => ({ id: 'x', secret: 'not documented' })
  const planted = endpoint({ id: 'planted', method: 'get', path: '/planted', tag: 'X', summary: 'X', answer, run })
  const app = makeApi({ ...world.options, routes: [...endpoints, planted] })
  const document = (await (await app.request('/openapi.json')).json()) as OpenApi
  const path = '/api/v1/public/planted'
  const body = await (await app.request(path, { headers: { authorization: `Bearer ${world.keys.ownerA}` } })).json()
  assert.throws(() => assertDocumented(document, 'GET', path, 200, body), /not documented/)
  assert.throws(() => assertDocumented(document, 'GET', path, 418, {}), /status 418 is not documented/)
  assertDocumented(document, 'GET', path, 200, { id: 'x' })
})

function clientFor(of: World, key: string): NativeClient {
  const send = (async (url: string, init: RequestInit) => of.app.request(url, init)) as typeof fetch
  return new NativeClient({ url: 'http://paddock.test/', key, fetch: send })
}

async function orgA() {
  return (await clientFor(world, world.keys.operator).listOrgs()).data.find((one) => one.id === world.orgA)
}

/** A replica that started and was killed, as the reconciler would have left it. */
async function plantReplica(deploymentId: string): Promise<void> {
  const exit = {
    at: Date.UTC(2026, 0, 1, 1),
    code: null,
    signal: 'SIGKILL',
    lastLines: ['the last line'],
    why: 'It was killed.',
  }
  const start = { hardware: Date.UTC(2026, 0, 1), load: Date.UTC(2026, 0, 1, 0, 0, 1) }
  await world.db.run(
    `insert into replicas (id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region, emulated,
       price_micro_usd_per_unit_hour, start_phases, created_at, ended_at, gone_at, exit)
     select 'rep_planted', d.id, r.id, d.org_id, 'gone', 'local', 'cpu', 1, 'local', false, 0, $2, $3, $4, $4, $5
     from deployments d join revisions r on r.deployment_id = d.id where d.id = $1`,
    [deploymentId, JSON.stringify(start), new Date(start.hardware), new Date(exit.at), JSON.stringify(exit)],
  )
}
