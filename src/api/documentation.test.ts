/** The reference: valid, complete, and without anything from elsewhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultTable } from '../kernel/fault-table.ts'
import { reasonTable } from '../kernel/phase.ts'
import { loadCatalogue } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import { systemClock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { makeApi } from './app.ts'
import { faultsOf } from './openapi.ts'
import { endpoints } from './table.ts'
import type { OpenApi } from './testing.ts'

// The pages need neither keys nor deployments: anything that asks for them here would fail.
const app = makeApi({
  access: null as never,
  deployments: null as never,
  lifecycle: null as never,
  adapters: null as never,
  limits: null as never,
  scaling: null as never,
  quotas: null as never,
  hubTokens: null as never,
  schedules: null as never,
  metrics: null as never,
  uploads: null as never,
  resumable: null as never,
  catalogue: null as never,
  engines: new Map(),
  models: loadCatalogue({ allowPaths: [], starterStandsIn: false }),
  hardware: loadHardware({}),
  config: { publicUrl: 'http://paddock.test' },
  ready: async () => ({ ok: true, problems: [] }),
  clock: systemClock,
  log: silentLog,
  version: '0.0.0-test',
})
const get = async (path: string) => {
  const answer = await app.request(path)
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}
const document = JSON.parse((await get('/openapi.json')).text) as OpenApi & {
  openapi: string
  info: object
  tags: object[]
}

function routesShown(): Set<string> {
  const shown = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace('/api/v1/public', '')}`),
  )
  return new Set(shown)
}

test('every route of the contract that exists now is in the document', () => {
  assert.deepEqual(
    routesShown(),
    new Set([
      'DELETE /models/{model}',
      'POST /deployments',
      'GET /deployments',
      'GET /deployments/{id}',
      'DELETE /deployments/{id}',
      'PATCH /deployments/{id}',
      'POST /deployments/{id}/stop',
      'POST /deployments/{id}/start',
      'POST /deployments/{id}/restart',
      'POST /deployments/{id}/wake',
      'POST /deployments/{id}/sleep',
      'POST /deployments/{id}/rollback',
      'GET /deployments/{id}/revisions',
      'GET /deployments/{id}/scaling',
      'PATCH /deployments/{id}/scaling',
      'GET /deployments/{id}/scaling/decisions',
      'GET /deployments/{id}/limits',
      'PATCH /deployments/{id}/limits',
      'GET /deployments/{id}/sla',
      'PATCH /deployments/{id}/sla',
      'GET /deployments/{id}/metrics',
      ...['POST', 'GET'].map((method) => `${method} /deployments/{id}/adapters`),
      ...['PATCH', 'DELETE'].map((method) => `${method} /deployments/{id}/adapters/{adapter}`),
      ...['GET', 'PUT', 'DELETE'].map((method) => `${method} /deployments/{id}/schedule`),
      'PATCH /deployments/{id}/preset',
      'GET /presets',
      'GET /deployments/{id}/explain',
      'GET /deployments/{id}/replicas',
      'GET /deployments/{id}/events',
      'GET /deployments/{id}/logs',
      'POST /deployments/{id}/chat/completions',
      'POST /orgs/{org_id}/deployments/{id}/chat/completions',
      'GET /gpu-model-configs',
      'GET /gpu-types',
      'POST /models/upload',
      ...['OPTIONS', 'POST'].map((method) => `${method} /models/uploads`),
      ...['OPTIONS', 'HEAD', 'PATCH', 'DELETE', 'POST'].map((method) => `${method} /models/uploads/{id}`),
      ...['GET', 'DELETE'].map((method) => `${method} /models/byom/{id}`),
      'GET /models',
      'POST /models',
      'POST /api-keys',
      'GET /api-keys',
      'GET /api-keys/{id}',
      'PATCH /api-keys/{id}',
      'DELETE /api-keys/{id}',
      'POST /orgs',
      'GET /orgs',
      'PATCH /orgs/{id}/quota',
      'GET /orgs/{id}/hf-token',
      'PUT /orgs/{id}/hf-token',
      'DELETE /orgs/{id}/hf-token',
      'POST /v1/chat/completions',
      'POST /v1/completions',
      'POST /v1/embeddings',
      'POST /v1/rerank',
      'POST /v1/responses',
      'POST /v1/messages',
      'POST /v1/messages/count_tokens',
      'GET /v1/models/{id}',
      'GET /v1/models',
    ]),
  )
})

test('the document is sound: ids once, references resolve, path parameters are declared, answers described', () => {
  assert.equal(document.openapi, '3.1.0')
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, ...(operation as unknown as FullOperation) })),
  )
  const ids = operations.map((operation) => operation.operationId)
  assert.equal(new Set(ids).size, ids.length)
  for (const operation of operations) {
    const declared = (operation.parameters ?? []).filter((p) => p.in === 'path' && p.required).map((p) => p.name)
    const used = [...operation.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    assert.deepEqual(declared, used, operation.operationId)
    assert.ok(operation.summary && operation.tags.length === 1, operation.operationId)
    for (const [status, response] of Object.entries(operation.responses)) {
      assert.match(status, /^[2-5]\d\d$/)
      assert.ok(response.description.length > 0, `${operation.operationId} ${status}`)
    }
  }
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
    (m) => m[1]!,
  )
  assert.ok(references.length > 50)
  for (const name of references) assert.ok(name in document.components.schemas, name)
})

test('every code that a route may answer is in the fault table, under its status', () => {
  for (const route of endpoints) {
    const responses = document.paths[`/api/v1/public${route.path}`]![route.method]!
      .responses as FullOperation['responses']
    for (const code of faultsOf(route))
      assert.match(responses[faultTable[code].status]!.description, new RegExp(`\`${code}\``))
  }
})

test('the errors page lists every code and every reason', async () => {
  const { text } = await get('/docs/errors')
  for (const code of Object.keys(faultTable)) assert.ok(text.includes(`id="${code}"`), code)
  for (const code of Object.keys(reasonTable)) assert.ok(text.includes(`id="reason-${code}"`), code)
})

test('pages: plain, linked to each other, escaped, with a strict policy and nothing from elsewhere', async () => {
  for (const path of ['/', '/docs', '/docs/errors', '/docs/api']) {
    const { status, headers, text } = await get(path)
    assert.equal(status, 200, path)
    assert.match(headers.get('content-type')!, /^text\/html/)
    const policy = headers.get('content-security-policy')!
    assert.match(policy, /^default-src 'none';/)
    assert.doesNotMatch(policy, /script-src[^;]*unsafe|https?:|\*/)
    assert.match(policy, /frame-ancestors 'none'/)
    assert.doesNotMatch(text, /<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:/i, 'nothing inline')
    for (const [, url] of text.matchAll(/(?:src|href|action)="([^"]*)"/g)) {
      assert.match(url!, /^(\/(?!\/)|data:,|#)/, `${path} loads ${url}`)
      if (url!.startsWith('/') && !['/healthz', '/readyz'].includes(url!))
        assert.equal((await get(url!)).status, 200, `${path} links to ${url}`)
    }
  }
})

test('the files of the reference page are served from here, and load nothing from elsewhere', async () => {
  const css = await get('/docs/api/swagger-ui.css')
  assert.match(css.headers.get('content-type')!, /^text\/css/)
  assert.doesNotMatch(css.text, /@import|url\(\s*["']?(?!data:|["']?data:)/)
  const bundle = await get('/docs/api/swagger-ui-bundle.js')
  assert.ok(bundle.text.length > 1_000_000)
  assert.match(bundle.headers.get('content-type')!, /^text\/javascript/)
  const start = await get('/docs/api/start.js')
  assert.match(start.text, /url: '\/openapi\.json'/)
  assert.match(start.text, /validatorUrl: null/, 'else the document is sent to a validator elsewhere')
  assert.doesNotMatch(start.text, /https?:/)
  const again = await app.request('/docs/api/start.js', { headers: { 'if-none-match': start.headers.get('etag')! } })
  assert.equal(again.status, 304)
})

test('only the files of the reference page are served', async () => {
  for (const path of ['package.json', '..%2fpackage.json', '..%2f..%2fpackage.json', 'index.html', 'swagger-ui.js.map'])
    assert.equal((await get(`/docs/api/${path}`)).status, 404, path)
})

interface FullOperation {
  operationId: string
  summary: string
  tags: string[]
  parameters?: { name: string; in: string; required: boolean }[]
  responses: Record<string, { description: string }>
}
