/** For tests: engines as HTTP servers that behave and misbehave on demand, and a gateway in front of them. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hashKey, Keyring, type KeyringEntry } from '../access/keyring.ts'
import { type Route, type RouteReplica, RouteTable } from '../deployments/routes.ts'
import type { EngineType } from '../engines/contract.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { type Config, settings } from '../runtime/settings.ts'
import type { SettledRequest } from '../usage/request.ts'
import type { EngineDialect } from './admit.ts'
import type { Counters } from './counters.ts'
import type { TablesTrust } from './inference.ts'
import type { Shares } from './limits/limiter.ts'
import { type Gateway, startGateway } from './server.ts'
import type { Metering } from './settle.ts'

export interface Asked {
  path: string
  headers: IncomingMessage['headers']
  body: Record<string, unknown>
  /** The connection went away before the answer was complete. */
  aborted: boolean
}
export type Behaviour = (asked: Asked, response: ServerResponse, request: IncomingMessage) => void | Promise<void>

/** An engine in the wire dialect of the real ones; `behave` may be replaced at any time. */
export class MockEngine {
  readonly asked: Asked[] = []
  healthy = true
  /** Times it was asked for its health. */
  probed = 0
  behave: Behaviour = answerWell
  readonly #server: Server
  #port = 0

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  get port(): number {
    return this.#port
  }

  listen(port = 0): Promise<this> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, '127.0.0.1', () => {
        this.#port = (this.#server.address() as AddressInfo).port
        resolve(this)
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === '/health') {
      this.probed += 1
      response.writeHead(this.healthy ? 200 : 503).end('{"status":"ok"}')
      return
    }
    let text = ''
    for await (const chunk of request.setEncoding('utf8')) text += chunk
    const asked: Asked = { path: request.url ?? '', headers: request.headers, body: JSON.parse(text), aborted: false }
    this.asked.push(asked)
    response.on('close', () => {
      asked.aborted = !response.writableFinished
    })
    await this.behave(asked, response, request)
  }
}

export const usageOf = (tokens: number) => ({
  prompt_tokens: 5,
  completion_tokens: tokens,
  total_tokens: 5 + tokens,
})

/** One chunk of a chat stream; usage as an engine sends it that was asked for it with every chunk. */
export function chunkEvent(asked: Asked, text: string, tokens: number): string {
  const every = (asked.body.stream_options as { continuous_usage_stats?: boolean })?.continuous_usage_stats
  return `data: ${JSON.stringify({
    id: 'chatcmpl-7',
    object: 'chat.completion.chunk',
    created: 1,
    model: asked.body.model,
    choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
    ...(every ? { usage: usageOf(tokens) } : {}),
  })}\n\n`
}

export function lastEvents(asked: Asked, tokens: number): string {
  const wanted = (asked.body.stream_options as { include_usage?: boolean })?.include_usage
  const head = { id: 'chatcmpl-7', object: 'chat.completion.chunk', created: 1, model: asked.body.model }
  const finish = { ...head, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }
  const usage = { ...head, choices: [], usage: usageOf(tokens) }
  return `data: ${JSON.stringify(finish)}\n\n${wanted ? `data: ${JSON.stringify(usage)}\n\n` : ''}`
}

export const streamHead = { 'content-type': 'text/event-stream' }

export function plainAnswer(asked: Asked, text = 'Hello'): string {
  return JSON.stringify({
    id: 'chatcmpl-7',
    object: 'chat.completion',
    created: 1,
    model: asked.body.model,
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: usageOf(3),
  })
}

export const answerWell: Behaviour = (asked, response) => {
  if (asked.body.stream !== true) {
    response.writeHead(200, { 'content-type': 'application/json' }).end(plainAnswer(asked))
    return
  }
  response.writeHead(200, streamHead)
  for (const [i, word] of ['Hel', 'lo ', 'you'].entries()) response.write(chunkEvent(asked, word, i + 1))
  response.end(`${lastEvents(asked, 3)}data: [DONE]\n\n`)
}

export const dialect: EngineDialect = {
  routes: new Set(['chat/completions', 'completions']),
  usage: { streamOptions: { include_usage: true, continuous_usage_stats: true }, extraBody: {} },
  healthPath: '/health',
  readiness: (status) => (status === 200 ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: '' }),
  refusedField: (_route, body) => ('id_slot' in body ? 'id_slot' : null),
}

let version = 0
export const keyOf = (over: Partial<KeyringEntry> & { secret: string }): KeyringEntry => {
  const { secret, ...rest } = over
  return {
    keyId: `key_${secret}`,
    hash: hashKey(secret),
    orgId: 'org_a',
    role: 'developer',
    grants: {},
    operator: false,
    expiresAt: null,
    removed: false,
    version: ++version,
    ...rest,
  }
}

export const replicaOf = (port: number, over: Partial<RouteReplica> = {}): RouteReplica => ({
  id: `rep_${port}`,
  address: '127.0.0.1',
  port,
  key: 'engine-secret',
  state: 'ready',
  weight: 100,
  ...over,
})

export const routeOf = (over: Partial<Route> = {}): Route => ({
  deploymentId: 'dep_1',
  orgId: 'org_a',
  name: 'mine',
  modelId: 'paddock/starter',
  servedName: 'served-1',
  engine: 'llamacpp',
  phase: 'serving',
  reason: null,
  replicas: [],
  contextTokens: 4096,
  emulated: false,
  created: 1,
  removed: false,
  version: ++version,
  ...over,
})

export interface Bench {
  gateway: Gateway
  url: string
  keyring: Keyring
  routes: RouteTable
  settled: SettledRequest[]
  /** Resolves when as many requests are settled. */
  settledUntil(count: number): Promise<SettledRequest[]>
  /** fetch with the key of org a. */
  send(path: string, init?: RequestInit & { key?: string | null }): Promise<Response>
  chat(body: object, init?: RequestInit & { key?: string | null }): Promise<Response>
}

const defaults = Object.fromEntries(Object.entries(settings).map(([name, one]) => [name, one.default])) as Config

/** A gateway with keys for two orgs, closed by `await using`-less tests through `gateway.close`. */
export async function startBench(options: {
  routes?: Route[]
  over?: Partial<Config>
  control?: string
  trust?: TablesTrust
  metering?: Metering
  counters?: Counters
  shares?: Shares
  /** Engines of other types than `llamacpp`, or in other words. */
  engines?: ReadonlyMap<EngineType, EngineDialect>
}): Promise<Bench> {
  const keyring = new Keyring()
  keyring.apply([
    keyOf({ secret: 'a' }),
    keyOf({ secret: 'b', orgId: 'org_b' }),
    keyOf({ secret: 'viewer', role: 'viewer' }),
    keyOf({ secret: 'revoked', removed: true }),
    keyOf({ secret: 'operator', operator: true, orgId: 'org_default' }),
  ])
  const routes = new RouteTable()
  routes.apply(options.routes ?? [])
  const settled: SettledRequest[] = []
  const gateway = await startGateway({
    host: '127.0.0.1',
    port: 0,
    tables: { keyring, routes },
    engines: new Map<EngineType, EngineDialect>([['llamacpp', dialect], ...(options.engines ?? [])]),
    control: options.control === undefined ? null : { socketPath: options.control },
    settings: { ...defaults, ...options.over },
    clock: systemClock,
    log: silentLog,
    onSettle: (record) => settled.push(record),
    trust: options.trust,
    metering: options.metering,
    shares: options.shares,
    counters: options.counters,
  })
  const url = `http://127.0.0.1:${gateway.port}`
  const send: Bench['send'] = (path, init = {}) => {
    const { key = 'a', ...rest } = init
    const headers = { ...(key === null ? {} : { authorization: `Bearer ${key}` }), ...rest.headers }
    return fetch(url + path, { ...rest, headers })
  }
  return {
    gateway,
    url,
    keyring,
    routes,
    settled,
    send,
    chat: (body, init = {}) =>
      send('/v1/chat/completions', { method: 'POST', body: JSON.stringify({ model: 'mine', ...body }), ...init }),
    settledUntil: async (count) => {
      await until(systemClock, `${count} settlements`, 5_000, () => settled.length >= count)
      return settled
    },
  }
}
