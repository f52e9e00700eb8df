/**
 * The authorisation matrix: every route × {no key, a key of another org, a key without a grant, a key that may only read}.
 * A route that is missing here fails.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { uploadForm } from '../models/uploads/testing.ts'
import type { Endpoint } from './endpoint.ts'
import { endpoint } from './endpoint.ts'
import { endpoints } from './table.ts'
import { type Answer, makeWorld, type World, wish } from './testing.ts'
import { resumableRoutes } from './tus.ts'

/** `hidden`: 200, and nothing of org A in it. `own`: it works, on the caller's own org only. */
type Outcome = 401 | 403 | 404 | 200 | 201 | 204 | 'hidden' | 'own'
interface Line {
  stranger: Outcome
  scoped: Outcome
  viewer: Outcome
  body?: (name: string) => unknown
  headers?: (name: string) => Record<string, string>
}

const ofOneDeployment = { stranger: 404, scoped: 403, viewer: 200 } as const
const writesOneDeployment = { stranger: 404, scoped: 403, viewer: 403 } as const
const catalogue = { stranger: 200, scoped: 200, viewer: 200 } as const
const name = (text: string) => ({ name: text })

const matrix: Record<string, Line> = {
  createDeployment: { stranger: 'own', scoped: 403, viewer: 403, body: wish },
  listDeployments: { stranger: 'hidden', scoped: 'hidden', viewer: 200 },
  getDeployment: ofOneDeployment,
  deleteDeployment: writesOneDeployment,
  changeDeployment: { ...writesOneDeployment, body: () => ({ engine: { max_num_seqs: 3 } }) },
  stopDeployment: writesOneDeployment,
  startDeployment: writesOneDeployment,
  restartDeployment: writesOneDeployment,
  rollbackDeployment: writesOneDeployment,
  listRevisions: ofOneDeployment,
  getScaling: ofOneDeployment,
  changeScaling: { ...writesOneDeployment, body: () => ({ max_replicas: 5 }) },
  listDecisions: ofOneDeployment,
  getLimits: ofOneDeployment,
  changeLimits: { ...writesOneDeployment, body: () => ({ rpm: 60 }) },
  getSla: ofOneDeployment,
  changeSla: { ...writesOneDeployment, body: () => ({ concurrency_limit: 5 }) },
  getMetrics: ofOneDeployment,
  getSchedule: ofOneDeployment,
  putSchedule: { ...writesOneDeployment, body: () => ({ windows: [] }) },
  deleteSchedule: writesOneDeployment,
  applyPreset: { ...writesOneDeployment, body: () => ({ preset: 'speed', keep_hardware: true }) },
  listPresets: catalogue,
  addAdapter: { ...writesOneDeployment, body: () => ({ source: '/nowhere/a.gguf' }) },
  listAdapters: ofOneDeployment,
  changeAdapter: { ...writesOneDeployment, body: () => ({ limits: { rpm: 60 } }) },
  removeAdapter: writesOneDeployment,
  wakeDeployment: writesOneDeployment,
  sleepDeployment: writesOneDeployment,
  explainDeployment: ofOneDeployment,
  listReplicas: ofOneDeployment,
  listEvents: ofOneDeployment,
  readLogs: writesOneDeployment,
  listGpuTypes: catalogue,
  listModels: catalogue,
  addModel: {
    stranger: 403,
    scoped: 403,
    viewer: 403,
    body: (id) => ({ id, source_repo: 'x/y', context_size: 1, tensor_type: 'BF16' }),
  },
  removeModel: { stranger: 403, scoped: 403, viewer: 403 },
  listGpuModelConfigs: catalogue,
  uploadModel: { stranger: 'own', scoped: 403, viewer: 403, body: uploadForm },
  getUploadedModel: { stranger: 404, scoped: 403, viewer: 200 },
  deleteUploadedModel: { stranger: 404, scoped: 403, viewer: 403 },
  createApiKey: { stranger: 'own', scoped: 403, viewer: 403, body: name },
  listApiKeys: { stranger: 'hidden', scoped: 403, viewer: 403 },
  getApiKey: { stranger: 404, scoped: 403, viewer: 403 },
  changeApiKey: { ...writesOneDeployment, body: () => ({ limits: { rpm: 60 } }) },
  revokeApiKey: writesOneDeployment,
  createOrg: { stranger: 403, scoped: 403, viewer: 403, body: name },
  changeQuota: { stranger: 404, scoped: 403, viewer: 403, body: () => ({ gpus: 16 }) },
  getHubToken: { stranger: 404, scoped: 403, viewer: 200 },
  putHubToken: { stranger: 404, scoped: 403, viewer: 403, body: () => ({ token: 'hf_0123456789' }) },
  deleteHubToken: { stranger: 404, scoped: 403, viewer: 403 },
  listOrgs: { stranger: 'hidden', scoped: 403, viewer: 200 },
}

const isDescribed = { stranger: 204, scoped: 204, viewer: 204 } as const
const writesUpload = { stranger: 404, scoped: 403, viewer: 403 } as const
const pieceHeaders = { 'content-type': 'application/offset+octet-stream', 'upload-offset': '0' }
const piece = { ...writesUpload, body: () => Buffer.from('GGUF'), headers: () => pieceHeaders }

/** The resumable upload, whose routes are in a table of their own. */
const resumableMatrix: Record<string, Line> = {
  describeResumable: isDescribed,
  describeResumableUpload: isDescribed,
  createResumable: {
    ...{ stranger: 'own', scoped: 403, viewer: 403 },
    headers: (text) => ({ 'upload-length': '100', 'upload-metadata': `name ${btoa(`resumed-${text}`)}` }),
  },
  showResumable: writesUpload,
  appendResumable: piece,
  deleteResumable: writesUpload,
  overrideResumable: { ...piece, headers: () => ({ ...pieceHeaders, 'x-http-method-override': 'PATCH' }) },
}

let world: World
/** Things of org A that the requests name. */
let ids: { deployment: string; key: string; model: string; resumable: string }

before(async () => {
  world = await makeWorld()
  const deployment = await world.call('POST', '/deployments', { body: wish('of-a') })
  const key = await world.call('POST', '/api-keys', { body: { name: 'of A' } })
  const model = await world.call('POST', '/models/upload', { body: uploadForm('of-a') })
  const headers = resumableMatrix.createResumable!.headers!('resumed')
  const begun = await world.call('POST', '/models/uploads', { headers: { ...tus, ...headers } })
  const resumable = begun.headers.get('location')!.split('/').at(-1)!
  ids = { deployment: deployment.json.id, key: key.json.id, model: model.json.id, resumable }
})
after(() => world.close())

const tus = { 'tus-resumable': '1.0.0' }
type Route = Pick<Endpoint, 'id' | 'path'> & { method: string }
const lines = { ...matrix, ...resumableMatrix }
const routes: readonly Route[] = [...endpoints, ...resumableRoutes]

const missing = (routes: readonly Route[]) => routes.map((route) => route.id).filter((id) => !(id in lines))

test('every route of the table is in the matrix, and nothing else is', () => {
  assert.deepEqual(missing(routes), [])
  assert.equal(new Set(routes.map((route) => route.id)).size, Object.keys(lines).length)
})

test('a new route that nobody put in the matrix is found', () => {
  const answer = z.object({})
  const planted = endpoint({
    id: 'planted',
    method: 'get',
    path: '/x',
    tag: 'X',
    summary: '',
    answer,
    run: async () => ({}),
  })
  assert.deepEqual(missing([...routes, planted]), ['planted'])
})

for (const route of routes) {
  const line = lines[route.id]
  if (line === undefined) continue
  const title = `${route.method.toUpperCase()} ${route.path}`
  test(`${title} without a key: 401`, async () => {
    const answer = await ask(route, line, null, 'none')
    assert.equal(answer.status, 401)
    const other = await ask(route, line, 'sk_made_up', 'made-up')
    assert.equal(other.status, 401)
    // Answers to HEAD have no body.
    if (route.method === 'head') return
    assert.deepEqual([answer.json.error.code, other.json.error.code], ['missing_key', 'invalid_key'])
  })
  test(`${title} with a key of another org: ${line.stranger}`, async () =>
    judge(await ask(route, line, world.keys.ownerB, 'stranger'), line.stranger))
  test(`${title} with a key that was granted nothing: ${line.scoped}`, async () =>
    judge(await ask(route, line, world.keys.scopedA, 'scoped'), line.scoped))
  test(`${title} with a viewer's key: ${line.viewer}`, async () =>
    judge(await ask(route, line, world.keys.viewerA, 'viewer'), line.viewer))
}

test('nobody of the above changed anything of org A', async () => {
  assert.equal((await world.call('GET', `/deployments/${ids.deployment}`)).json.status, 'provisioning')
  const keys = await world.call('GET', '/api-keys')
  assert.ok(keys.json.data.some((key: { id: string }) => key.id === ids.key))
  const deployments = await world.call('GET', '/deployments')
  assert.deepEqual(
    deployments.json.data.map((one: { name: string }) => one.name),
    ['of-a'],
  )
  assert.deepEqual((await world.call('GET', `/models/byom/${ids.resumable}`)).json.received_bytes, 0)
})

test('X-Paddock-Org moves the operator only, and only to an org that exists', async () => {
  const headers = { 'x-paddock-org': world.orgA }
  const path = `/deployments/${ids.deployment}`
  assert.equal((await world.call('GET', path, { key: world.keys.operator, headers })).status, 200)
  assert.equal((await world.call('GET', path, { key: world.keys.operator })).status, 404)
  assert.equal((await world.call('GET', path, { key: world.keys.ownerB, headers })).status, 404)
  const nowhere = { 'x-paddock-org': 'org_nowhere' }
  assert.equal((await world.call('GET', path, { key: world.keys.operator, headers: nowhere })).status, 404)
})

test('metrics are for the operator', async () => {
  assert.equal((await world.call('GET', '//metrics', { key: null })).status, 401)
  assert.equal((await world.call('GET', '//metrics')).status, 403)
  const answer = await world.call('GET', '//metrics', { key: world.keys.operator })
  assert.equal(answer.status, 200)
  assert.match(answer.text, /paddock_api_requests_total\{operation="createDeployment",status="201"\} \d/)
})

function ask(route: Route, line: Line, key: string | null, who: string): Promise<Answer> {
  const of = { 'api-keys': ids.key, orgs: world.orgA, models: ids.model }
  const isResumable = route.id in resumableMatrix
  const id = isResumable ? ids.resumable : (of[route.path.split('/')[1] as keyof typeof of] ?? ids.deployment)
  const body = line.body?.(`by-${who}`)
  const path = route.path.replace('{id}', id).replace(/\{(adapter|model)\}/, 'none')
  return world.call(route.method.toUpperCase(), path, {
    key,
    ...(body === undefined ? {} : { body }),
    headers: { ...(isResumable ? tus : {}), ...line.headers?.(`by-${who}`) },
  })
}

function judge(answer: Answer, expected: Outcome): void {
  if (typeof expected === 'number') {
    assert.equal(answer.status, expected, answer.text)
    return
  }
  assert.ok(answer.status === 200 || answer.status === 201, answer.text)
  for (const theirs of [ids.deployment, ids.key, ids.resumable, world.orgA])
    assert.doesNotMatch(answer.text, new RegExp(theirs))
}
