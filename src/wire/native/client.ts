/**
 * A small client of the native API over `fetch`: one method per route, the same in Node and in a browser. It neither
 * retries nor polls; every failure is an ApiError with what the server said.
 */
import type {
  ApiKey,
  ChangedKey,
  ChangeKey,
  ChangeQuota,
  CreatedKey,
  CreateKey,
  CreateOrg,
  Org,
  OrgQuota,
  RevokedKey,
} from './account.ts'
import type { Adapter, AddAdapter, ChangeAdapter } from './adapters.ts'
import type { AddModel, GpuModelConfig, GpuType, Model } from './catalogue.ts'
import type { CreateDeployment, Deployment, Starting } from './deployment.ts'
import type { Event, Explanation, Replica, ReplicaLog } from './explanation.ts'
import type { ListOf } from './fields.ts'
import type { HubToken, PutHubToken } from './hub.ts'
import type { ChangeLimits, ChangeSla, Limits, Sla } from './limits.ts'
import type { DeploymentMetrics, metricsWindows } from './metrics.ts'
import type { Prediction } from './prediction.ts'
import type { AppliedPreset, ApplyPreset, Preset } from './presets.ts'
import type { ChangeDeployment, Restart, Revision, Rollback } from './revision.ts'
import type { ChangeScaling, Decision, Scaling } from './scaling.ts'
import type { ChangeSchedule, Schedule } from './schedule.ts'
import type { UploadedModel } from './uploads.ts'

export interface ClientOptions {
  /** Address of the server, e.g. `http://127.0.0.1:8080`. */
  url: string
  /** API key; absent for routes that need none. */
  key?: string
  /** The operator only: act in this organisation. */
  org?: string
  fetch?: typeof fetch
}

export interface Page {
  limit?: number
  cursor?: string
}

export interface Creating {
  idempotencyKey?: string
  signal?: AbortSignal
}

export interface Health {
  ok: boolean
  version?: string
  problems?: string[]
}

interface Call {
  query?: object
  body?: unknown
  idempotencyKey?: string
  signal?: AbortSignal
  headers?: Record<string, string>
  /** In place of JSON. */
  raw?: Uint8Array<ArrayBuffer>
}

const tus = { 'tus-resumable': '1.0.0' }
const uploads = '/api/v1/public/models/uploads'

/** What the server answered instead. `status` 0 and code `unreachable`: no answer at all. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly action: string
  readonly requestId: string | null
  readonly detail: unknown
  readonly retryAfterSeconds: number | null
  constructor(
    status: number,
    said: { code: string; message: string; action: string; request_id?: string | null; detail?: unknown },
    options: { retryAfterSeconds?: number | null; cause?: unknown } = {},
  ) {
    super(said.message, { cause: options.cause })
    this.name = 'ApiError'
    this.status = status
    this.code = said.code
    this.action = said.action
    this.requestId = said.request_id ?? null
    this.detail = said.detail
    this.retryAfterSeconds = options.retryAfterSeconds ?? null
  }
}

export class NativeClient {
  readonly #options: ClientOptions
  readonly #root: string
  constructor(options: ClientOptions) {
    this.#options = options
    this.#root = options.url.replace(/\/+$/, '')
  }

  createDeployment(body: CreateDeployment, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', '/deployments', { body, ...creating })
  }
  /** What creating it would do: nothing is created. */
  predictDeployment(body: CreateDeployment): Promise<Prediction> {
    return this.#json('POST', '/deployments', { body: { ...body, dry_run: true } })
  }
  listDeployments(query: Page & { deleted?: boolean } = {}): Promise<ListOf<Deployment>> {
    return this.#json('GET', '/deployments', { query })
  }
  getDeployment(idOrName: string, signal?: AbortSignal): Promise<Deployment> {
    return this.#json('GET', deploymentPath(idOrName), { signal })
  }
  deleteDeployment(idOrName: string, options: { onlyIfStopped?: boolean } = {}): Promise<Deployment> {
    return this.#json('DELETE', deploymentPath(idOrName), { query: { only_if_stopped: options.onlyIfStopped } })
  }
  changeDeployment(idOrName: string, body: ChangeDeployment, creating: Creating = {}): Promise<Deployment> {
    return this.#json('PATCH', deploymentPath(idOrName), { body, ...creating })
  }
  stopDeployment(idOrName: string, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', deploymentPath(idOrName, '/stop'), creating)
  }
  startDeployment(idOrName: string, body: Starting = {}, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', deploymentPath(idOrName, '/start'), { body, ...creating })
  }
  restartDeployment(idOrName: string, body: Restart = {}, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', deploymentPath(idOrName, '/restart'), { body, ...creating })
  }
  wakeDeployment(idOrName: string, body: Starting = {}, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', deploymentPath(idOrName, '/wake'), { body, ...creating })
  }
  sleepDeployment(idOrName: string, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', deploymentPath(idOrName, '/sleep'), creating)
  }
  /** Default: to the newest before the current one that did not fail. */
  rollbackDeployment(idOrName: string, body: Rollback = {}, creating: Creating = {}): Promise<Deployment> {
    return this.#json('POST', deploymentPath(idOrName, '/rollback'), { body, ...creating })
  }
  listRevisions(idOrName: string): Promise<ListOf<Revision>> {
    return this.#json('GET', deploymentPath(idOrName, '/revisions'))
  }
  getScaling(idOrName: string): Promise<Scaling> {
    return this.#json('GET', deploymentPath(idOrName, '/scaling'))
  }
  changeScaling(idOrName: string, body: ChangeScaling, creating: Creating = {}): Promise<Scaling> {
    return this.#json('PATCH', deploymentPath(idOrName, '/scaling'), { body, ...creating })
  }
  /** `window`: 60s (default), 5m or 1h. */
  getMetrics(
    idOrName: string,
    query: { window?: (typeof metricsWindows)[number] } = {},
    signal?: AbortSignal,
  ): Promise<DeploymentMetrics> {
    return this.#json('GET', deploymentPath(idOrName, '/metrics'), { query, signal })
  }
  listDecisions(idOrName: string, query: Page = {}): Promise<ListOf<Decision>> {
    return this.#json('GET', deploymentPath(idOrName, '/scaling/decisions'), { query })
  }
  applyPreset(idOrName: string, body: ApplyPreset, creating: Creating = {}): Promise<AppliedPreset> {
    return this.#json('PATCH', deploymentPath(idOrName, '/preset'), { body, ...creating })
  }
  getLimits(idOrName: string): Promise<Limits> {
    return this.#json('GET', deploymentPath(idOrName, '/limits'))
  }
  changeLimits(idOrName: string, body: ChangeLimits, creating: Creating = {}): Promise<Limits> {
    return this.#json('PATCH', deploymentPath(idOrName, '/limits'), { body, ...creating })
  }
  getSla(idOrName: string): Promise<Sla> {
    return this.#json('GET', deploymentPath(idOrName, '/sla'))
  }
  changeSla(idOrName: string, body: ChangeSla, creating: Creating = {}): Promise<Sla> {
    return this.#json('PATCH', deploymentPath(idOrName, '/sla'), { body, ...creating })
  }
  listAdapters(idOrName: string): Promise<ListOf<Adapter>> {
    return this.#json('GET', deploymentPath(idOrName, '/adapters'))
  }
  /** Answers at once; `state` says when it can be called. */
  addAdapter(idOrName: string, body: AddAdapter, creating: Creating = {}): Promise<Adapter> {
    return this.#json('POST', deploymentPath(idOrName, '/adapters'), { body, ...creating })
  }
  changeAdapter(idOrName: string, adapter: string, body: ChangeAdapter, creating: Creating = {}): Promise<Adapter> {
    return this.#json('PATCH', deploymentPath(idOrName, `/adapters/${encodeURIComponent(adapter)}`), {
      body,
      ...creating,
    })
  }
  removeAdapter(idOrName: string, adapter: string, options: { allowDowntime?: boolean } = {}): Promise<Adapter> {
    const query = { allow_downtime: options.allowDowntime }
    return this.#json('DELETE', deploymentPath(idOrName, `/adapters/${encodeURIComponent(adapter)}`), { query })
  }
  listPresets(): Promise<ListOf<Preset>> {
    return this.#json('GET', '/presets')
  }
  getSchedule(idOrName: string): Promise<Schedule> {
    return this.#json('GET', deploymentPath(idOrName, '/schedule'))
  }
  putSchedule(idOrName: string, body: ChangeSchedule): Promise<Schedule> {
    return this.#json('PUT', deploymentPath(idOrName, '/schedule'), { body })
  }
  deleteSchedule(idOrName: string): Promise<Schedule> {
    return this.#json('DELETE', deploymentPath(idOrName, '/schedule'))
  }
  explainDeployment(idOrName: string): Promise<Explanation> {
    return this.#json('GET', deploymentPath(idOrName, '/explain'))
  }
  listReplicas(idOrName: string): Promise<ListOf<Replica>> {
    return this.#json('GET', deploymentPath(idOrName, '/replicas'))
  }
  /** `since`, `until`: ISO 8601. */
  listEvents(
    idOrName: string,
    query: Page & { type?: string; since?: string; until?: string } = {},
  ): Promise<ListOf<Event>> {
    return this.#json('GET', deploymentPath(idOrName, '/events'), { query })
  }
  /** `lines` per replica, newest; default 200. */
  readLogs(idOrName: string, query: { lines?: number } = {}): Promise<ListOf<ReplicaLog>> {
    return this.#json('GET', deploymentPath(idOrName, '/logs'), { query })
  }
  createKey(body: CreateKey, creating: Creating = {}): Promise<CreatedKey> {
    return this.#json('POST', '/api-keys', { body, ...creating })
  }
  listKeys(query: Page = {}): Promise<ListOf<ApiKey>> {
    return this.#json('GET', '/api-keys', { query })
  }
  getKey(id: string): Promise<ApiKey> {
    return this.#json('GET', `/api-keys/${encodeURIComponent(id)}`)
  }
  changeKey(id: string, body: ChangeKey, creating: Creating = {}): Promise<ChangedKey> {
    return this.#json('PATCH', `/api-keys/${encodeURIComponent(id)}`, { body, ...creating })
  }
  revokeKey(id: string): Promise<RevokedKey> {
    return this.#json('DELETE', `/api-keys/${encodeURIComponent(id)}`)
  }
  createOrg(body: CreateOrg, creating: Creating = {}): Promise<Org> {
    return this.#json('POST', '/orgs', { body, ...creating })
  }
  listOrgs(): Promise<ListOf<Org>> {
    return this.#json('GET', '/orgs')
  }
  /** The operator only. */
  changeQuota(orgId: string, body: ChangeQuota): Promise<OrgQuota> {
    return this.#json('PATCH', `/orgs/${encodeURIComponent(orgId)}/quota`, { body })
  }
  getHubToken(orgId: string): Promise<HubToken> {
    return this.#json('GET', `/orgs/${encodeURIComponent(orgId)}/hf-token`)
  }
  putHubToken(orgId: string, body: PutHubToken): Promise<HubToken> {
    return this.#json('PUT', `/orgs/${encodeURIComponent(orgId)}/hf-token`, { body })
  }
  deleteHubToken(orgId: string): Promise<HubToken> {
    return this.#json('DELETE', `/orgs/${encodeURIComponent(orgId)}/hf-token`)
  }
  listGpuTypes(): Promise<ListOf<GpuType>> {
    return this.#json('GET', '/gpu-types')
  }
  listModels(query: { deployable?: boolean } = {}): Promise<ListOf<Model>> {
    return this.#json('GET', '/models', { query })
  }
  /** The operator only. */
  addModel(body: AddModel, creating: Creating = {}): Promise<Model> {
    return this.#json('POST', '/models', { body, ...creating })
  }
  /** The operator only. */
  removeModel(id: string): Promise<Model> {
    return this.#json('DELETE', `/models/${encodeURIComponent(id)}`)
  }
  uploadedModel(idOrName: string): Promise<UploadedModel> {
    return this.#json('GET', `/models/byom/${encodeURIComponent(idOrName)}`)
  }
  deleteUploadedModel(idOrName: string): Promise<UploadedModel> {
    return this.#json('DELETE', `/models/byom/${encodeURIComponent(idOrName)}`)
  }
  /** A resumable upload; the next piece begins at 0. */
  async beginUpload(wish: { name: string; bytes: number; deploymentId?: string }): Promise<{ id: string }> {
    const pairs = [`name ${base64(wish.name)}`]
    if (wish.deploymentId !== undefined) pairs.push(`deployment_id ${base64(wish.deploymentId)}`)
    const headers = { ...tus, 'upload-length': String(wish.bytes), 'upload-metadata': pairs.join(',') }
    const answer = await this.#send('POST', uploads, { headers })
    return { id: answer.headers.get('location')?.split('/').at(-1) ?? '' }
  }
  /** Where the next piece begins. */
  async uploadOffset(id: string, signal?: AbortSignal): Promise<number> {
    return offsetOf(await this.#send('HEAD', `${uploads}/${id}`, { headers: tus, signal }))
  }
  /** Returns where the next piece begins. */
  async sendPiece(id: string, offset: number, piece: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<number> {
    const headers = { ...tus, 'upload-offset': String(offset), 'content-type': 'application/offset+octet-stream' }
    return offsetOf(await this.#send('PATCH', `${uploads}/${id}`, { headers, raw: piece, signal }))
  }
  /** `all`: also what cannot be deployed, with the reason. */
  listGpuModelConfigs(query: { all?: boolean } = {}): Promise<ListOf<GpuModelConfig>> {
    return this.#json('GET', '/gpu-model-configs', { query })
  }

  /** The raw answer of an inference route, for streaming; throws ApiError unless it is 2xx. Body as OpenAI's. */
  chatCompletions(idOrName: string, body: Record<string, unknown>, signal?: AbortSignal): Promise<Response> {
    return this.#send('POST', `/api/v1/public${deploymentPath(idOrName, '/chat/completions')}`, { body, signal })
  }

  /** Is the process up? */
  async health(): Promise<Health> {
    return (await this.#send('GET', '/healthz', {})).json() as Promise<Health>
  }
  /** Can it serve? A 503 is an answer here, not an error. */
  async ready(): Promise<Health> {
    const answer = await this.#exchange('GET', '/readyz', {})
    if (answer.status === 200 || answer.status === 503) return answer.json() as Promise<Health>
    throw await errorFrom(answer)
  }

  async #json<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const answer = await this.#send(method, `/api/v1/public${path}`, call)
    try {
      return (await answer.json()) as T
    } catch (cause) {
      throw notOurs(answer.status, cause)
    }
  }

  async #send(method: string, path: string, call: Call): Promise<Response> {
    const answer = await this.#exchange(method, path, call)
    if (!answer.ok) throw await errorFrom(answer)
    return answer
  }

  async #exchange(method: string, path: string, call: Call): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json, text/event-stream' }
    if (this.#options.key !== undefined) headers.authorization = `Bearer ${this.#options.key}`
    if (this.#options.org !== undefined) headers['x-paddock-org'] = this.#options.org
    if (call.idempotencyKey !== undefined) headers['idempotency-key'] = call.idempotencyKey
    if (call.body !== undefined) headers['content-type'] = 'application/json'
    Object.assign(headers, call.headers)
    const body = call.raw ?? (call.body === undefined ? undefined : JSON.stringify(call.body))
    try {
      const send = this.#options.fetch ?? fetch
      return await send(this.#root + path + queryText(call.query), { method, headers, body, signal: call.signal })
    } catch (cause) {
      if (call.signal?.aborted) throw cause
      const message = `${this.#root} does not answer.`
      throw new ApiError(
        0,
        { code: 'unreachable', message, action: 'Check the address and that the server runs.' },
        { cause },
      )
    }
  }
}

function offsetOf(answer: Response): number {
  return Number(answer.headers.get('upload-offset') ?? Number.NaN)
}

/** Of UTF-8, also in a browser. */
function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)))
}

function deploymentPath(idOrName: string, rest = ''): string {
  return `/deployments/${encodeURIComponent(idOrName)}${rest}`
}

function queryText(query: object = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined)
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()
  return text === '' ? '' : `?${text}`
}

async function errorFrom(answer: Response): Promise<ApiError> {
  const text = await answer.text().catch(() => '')
  const seconds = Number(answer.headers.get('retry-after') ?? Number.NaN)
  const retryAfterSeconds = Number.isFinite(seconds) ? seconds : null
  const requestId = answer.headers.get('x-request-id')
  try {
    // Inference routes answer OpenAI's error object; another server's has neither action nor request_id.
    const said = (JSON.parse(text) as { error: { code: string | null; message: string; action?: string } }).error
    if (typeof said.message !== 'string') return notOurs(answer.status)
    const { action = '' } = said
    const known = { ...said, message: withoutAction(said.message, action), action, code: said.code ?? 'error' }
    return new ApiError(answer.status, { ...known, request_id: requestId }, { retryAfterSeconds })
  } catch {
    // Not ours: a proxy in between, or another server at that address.
  }
  return notOurs(answer.status)
}

/** On inference routes the message says at its end what to do, for those who show nothing else. */
export function withoutAction(message: string, action: string): string {
  return action !== '' && message.endsWith(` ${action}`) ? message.slice(0, -action.length - 1) : message
}

function notOurs(status: number, cause?: unknown): ApiError {
  const message = `The answer (status ${status}) is not one of Paddock's.`
  return new ApiError(status, { code: 'not_paddock', message, action: 'Check the address.' }, { cause })
}
