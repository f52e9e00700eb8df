/**
 * For tests: the real app over a real database with two organisations and a key of every kind. Every answer is compared
 * with the OpenAPI document: a status or a field that the reference does not show fails the test that met it. So does a
 * deployment that is not serving and does not say why.
 */

import assert from 'node:assert/strict'
import { z } from 'zod'
import { Access } from '../access/commands.ts'
import { Scaling } from '../autoscaling/commands.ts'
import type { ComputeDriver } from '../compute/contract.ts'
import { Adapters } from '../deployments/adapters/commands.ts'
import { Deployments } from '../deployments/commands.ts'
import type { DeploymentContext } from '../deployments/context.ts'
import { Lifecycle } from '../deployments/lifecycle.ts'
import { DeploymentLimits } from '../deployments/limits.ts'
import { DeploymentMetrics } from '../deployments/metrics.ts'
import { modelUsers } from '../deployments/model-users.ts'
import { Quotas } from '../deployments/quotas.ts'
import { Schedules } from '../deployments/schedules.ts'
import { testLimits } from '../deployments/testing/limits.ts'
import { UploadUsers } from '../deployments/uploads.ts'
import type { EngineDriver, EngineType } from '../engines/contract.ts'
import { availableEngines } from '../engines/registry.ts'
import { type Reason, reasonTable } from '../kernel/phase.ts'
import { Secret } from '../kernel/secret.ts'
import { loadCatalogue, type ModelPolicy } from '../models/catalogue.ts'
import { Models } from '../models/commands.ts'
import { loadHardware } from '../models/hardware.ts'
import type { Hub } from '../models/hub/setup.ts'
import { HubTokens } from '../models/hub/tokens.ts'
import { type TestUploadOptions, type TestUploads, testUploads } from '../models/uploads/testing.ts'
import { type Clock, systemClock } from '../runtime/clock.ts'
import { randomToken } from '../runtime/ids.ts'
import { type Log, silentLog } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import { type TestDatabase, testDatabase } from '../store/testing.ts'
import { type ApiApp, type ApiOptions, makeApi } from './app.ts'
import { basePath } from './endpoint.ts'

export interface Answer {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the answer holds
  json: any
}

export interface CallOptions {
  /** Bearer key; null = none. Default: the owner of org A. */
  key?: string | null
  body?: unknown
  headers?: Record<string, string>
}

export interface World {
  app: ApiApp
  db: TestDatabase
  options: ApiOptions
  /** What the use cases stand on. */
  context: DeploymentContext
  uploads: TestUploads
  /** Secrets by who holds them. */
  keys: { operator: string; ownerA: string; viewerA: string; scopedA: string; developerA: string; ownerB: string }
  orgA: string
  orgB: string
  /** A path below the base path, or any other from the root when it begins with "//". */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  close(): Promise<void>
}

/** What a test puts in the place of nothing: hardware, engines, a clock, and whoever is woken. */
export interface WorldParts {
  computes?: ReadonlyMap<string, ComputeDriver>
  engines?: ReadonlyMap<EngineType, EngineDriver>
  clock?: Clock
  /** Folders from which adapters may be loaded. */
  modelPaths?: readonly string[]
  uploads?: TestUploadOptions
  wake?(): void
  /** A Hub, made on the world's own database. */
  hub?: (parts: { db: TestDatabase; seal: Seal; clock: Clock }) => Hub
  models?: Partial<ModelPolicy>
  /** Default: not known. */
  cpuMemoryGib?: number
}

export async function makeWorld(changes: Partial<ApiOptions> = {}, own: WorldParts = {}): Promise<World> {
  const db = await testDatabase()
  const seal = new Seal(new Secret(randomToken()))
  const clock = own.clock ?? systemClock
  const operator = `sk_${randomToken()}`
  const parts = {
    db,
    seal,
    clock,
    computes: own.computes ?? new Map(),
    engines: own.engines ?? availableEngines(),
    models: loadCatalogue({ allowPaths: [], starterStandsIn: true, ...own.models }),
    hardware: loadHardware({}, own.cpuMemoryGib),
  }
  const access = new Access(db, seal, clock)
  await access.ensureOperator(operator)
  const hub = own.hub?.({ db, seal, clock })
  const pin = hub?.pin ?? undefined
  if (hub?.adapters) parts.models.adapters.add(hub.adapters)
  const adapterLimits = { adaptersMaximum: 4, adapterSets: 3, modelPaths: own.modelPaths ?? [] }
  const context: DeploymentContext = { ...parts, ...testLimits, ...adapterLimits, pin, wake: own.wake ?? (() => {}) }
  const lifecycle = new Lifecycle(context)
  const uploads = testUploads({ ...parts, ...own.uploads }, new UploadUsers(context))
  const options: ApiOptions = {
    ...parts,
    access,
    deployments: new Deployments(context),
    lifecycle,
    adapters: new Adapters({ ...context, lifecycle, look: () => {} }),
    limits: new DeploymentLimits(context),
    scaling: new Scaling(context),
    quotas: new Quotas(context),
    hubTokens: hub?.tokens ?? new HubTokens({ db, seal, clock, whoAmI: null }),
    schedules: new Schedules(context),
    metrics: new DeploymentMetrics(context),
    uploads: uploads.uploads,
    resumable: uploads.resumable,
    catalogue: new Models({ ...context, users: modelUsers }),
    config: { publicUrl: 'http://paddock.test' },
    ready: async () => ({ ok: true, problems: [] }),
    log: loud,
    version: '0.0.0-test',
    ...changes,
  }
  const app = makeApi(options)
  const document = (await (await app.request('/openapi.json')).json()) as OpenApi
  const call = (method: string, path: string, how?: CallOptions) => ask(app, document, keys, method, path, how)
  const keys = { operator, ownerA: '', viewerA: '', scopedA: '', developerA: '', ownerB: '' }
  const orgA = (await call('POST', '/orgs', { key: operator, body: { name: 'A' } })).json.id as string
  const orgB = (await call('POST', '/orgs', { key: operator, body: { name: 'B' } })).json.id as string
  const key = async (org: string, role: string) => {
    const headers = { 'x-paddock-org': org }
    return (await call('POST', '/api-keys', { key: operator, body: { name: role, role }, headers })).json
      .secret as string
  }
  keys.ownerA = await key(orgA, 'owner')
  keys.viewerA = await key(orgA, 'viewer')
  keys.scopedA = await key(orgA, 'scoped')
  keys.developerA = await key(orgA, 'developer')
  keys.ownerB = await key(orgB, 'owner')
  const close = async () => {
    await uploads.close()
    await db.close()
  }
  return { app, db, options, context, uploads, keys, orgA, orgB, call, close }
}

/** A 500 is a bug: its cause belongs in the test's output. */
const loud: Log = { ...silentLog, error: (fields) => console.error(fields) }

export const wish = (name: string) => ({ name, model_id: 'paddock/starter', gpu_type: 'cpu' })

async function ask(
  app: ApiApp,
  document: OpenApi,
  keys: World['keys'],
  method: string,
  path: string,
  options: CallOptions = {},
): Promise<Answer> {
  const { key = keys.ownerA, body, headers = {} } = options
  const raw = typeof body === 'string' || body instanceof Uint8Array || body instanceof ReadableStream
  const form = body instanceof FormData ? new Response(body) : null
  const init: RequestInit & { duplex?: 'half' } = {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': form?.headers.get('content-type') ?? 'application/json' }),
      ...(form === null ? {} : { 'content-length': String((await form.clone().arrayBuffer()).byteLength) }),
      ...headers,
    },
    ...(body === undefined
      ? {}
      : { body: (form?.body ?? (raw ? body : JSON.stringify(body))) as never, duplex: 'half' }),
  }
  const full = path.startsWith('//') ? path.slice(1) : basePath + path
  const answer = await app.request(full, init)
  const text = await answer.text()
  const isJson = answer.headers.get('content-type')?.startsWith('application/json') ?? false
  const json = isJson && text !== '' ? JSON.parse(text) : null
  if (full.startsWith(basePath)) assertDocumented(document, method, full, answer.status, json)
  assertExplained(json)
  return { status: answer.status, headers: answer.headers, text, json }
}

interface Operation {
  responses: Record<string, { content?: Record<string, { schema: JsonSchema }> }>
}
export interface OpenApi {
  paths: Record<string, Record<string, Operation & { operationId: string; tags: string[] }>>
  components: { schemas: Record<string, JsonSchema> }
}
type JsonSchema = { [name: string]: unknown }

/** Fails unless the reference shows this status for the route, and the body has exactly the fields that it shows. */
export function assertDocumented(document: OpenApi, method: string, path: string, status: number, body: unknown): void {
  const bare = path.split('?')[0]!
  const named = Object.hasOwn(document.paths, bare) ? bare : undefined
  const matches = (known: string) => new RegExp(`^${known.replace(/\{\w+\}/g, '[^/]+')}$`).test(bare)
  const pattern = named ?? Object.keys(document.paths).find(matches)
  const operation = pattern === undefined ? undefined : document.paths[pattern]![method.toLowerCase()]
  if (!operation) {
    assert.ok([401, 404, 405].includes(status), `${method} ${bare} is not documented: ${status}`)
    return
  }
  const response = operation.responses[status]
  assert.ok(response, `${method} ${pattern}: status ${status} is not documented: ${JSON.stringify(body)}`)
  if (body === null && (response.content === undefined || method === 'HEAD')) return
  const result = schemaOf(document, response.content!['application/json']!.schema).safeParse(body)
  const said = result.success ? '' : z.prettifyError(result.error)
  assert.ok(result.success, `${method} ${pattern} ${status} answers what is not documented:\n${said}`)
}

/** Fails when a deployment anywhere in the answer is not serving without a reason of its phase (X2). */
export function assertExplained(answer: unknown): void {
  if (answer === null || typeof answer !== 'object') return
  const { id, phase, reason } = answer as { id?: unknown; phase?: unknown; reason?: Reason | null }
  if (String(id).startsWith('dep_') && typeof phase === 'string' && !(phase === 'serving' && reason === null)) {
    assert.ok(reason, `${phase} without a reason`)
    assert.ok(Object.hasOwn(reasonTable, reason.code), `the reason ${reason.code} is not in the table`)
    const given: readonly string[] = reasonTable[reason.code].phases
    assert.ok(given.includes(phase), `the reason ${reason.code} while ${phase}`)
    assert.ok(reason.message.endsWith('.') && reason.since.endsWith('Z'), JSON.stringify(reason))
  }
  for (const part of Object.values(answer)) assertExplained(part)
}

const compiled = new WeakMap<JsonSchema, z.ZodType>()

function schemaOf(document: OpenApi, schema: JsonSchema): z.ZodType {
  const known = compiled.get(schema)
  if (known) return known
  const whole = closed({ ...schema, $defs: document.components.schemas })
  const made = z.fromJSONSchema(whole as Parameters<typeof z.fromJSONSchema>[0])
  compiled.set(schema, made)
  return made
}

/** The same schema, refusing fields that it does not name. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (schema === null || typeof schema !== 'object') return schema
  const map = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)])) as JsonSchema
  if (typeof map.$ref === 'string') map.$ref = map.$ref.replace('#/components/schemas/', '#/$defs/')
  if (map.type === 'object' && map.properties !== undefined) map.additionalProperties ??= false
  return map
}
