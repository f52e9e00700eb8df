/**
 * One gateway with everything that is real of it between a parsed request and an answered one: route table, outlook and
 * pick, holding, connections, forwarding, the feed and its reports. Its network and its database are paper. What it
 * remembers cannot be copied, but what happened to it can be told again: a gateway is made from its story.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { GatewayReport } from '../../src/access/gateways.ts'
import { Keyring } from '../../src/access/keyring.ts'
import { type Route, RouteTable } from '../../src/deployments/routes.ts'
import type { EngineDialect } from '../../src/gateway/admit.ts'
import { makeCounterBoard } from '../../src/gateway/counter-board.ts'
import { LaneCounters } from '../../src/gateway/counters.ts'
import { Exchange } from '../../src/gateway/exchange.ts'
import { forward } from '../../src/gateway/forward.ts'
import { Holding } from '../../src/gateway/hold.ts'
import type { InferenceParts } from '../../src/gateway/inference.ts'
import { Limiter } from '../../src/gateway/limits/limiter.ts'
import { parseAsk } from '../../src/gateway/parse.ts'
import { Replicas, type Way } from '../../src/gateway/replicas.ts'
import { AnswerLengths } from '../../src/gateway/routing/answer-length.ts'
import { makeRecentMemory } from '../../src/gateway/routing/recent.ts'
import { RetryBudget } from '../../src/gateway/routing/retry-budget.ts'
import { Router } from '../../src/gateway/routing/router.ts'
import type { Call, Caller } from '../../src/gateway/upstream/connections.ts'
import { Roster } from '../../src/kernel/roster.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import { Deadlines } from '../../src/runtime/deadlines.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Feed } from '../../src/server-feed.ts'

/** One thing that happened to it. `up`: the replicas that take connections then. */
export type Happening = { up: string[] } & (
  | { do: 'arrive'; request: string }
  /** It reads what is newer, applies it, and says what is so now. */
  | { do: 'look'; news: Route[]; version: number; at: number }
  /** The engine has its answer ready. */
  | { do: 'answer'; request: string }
  /** The machine goes, and takes its connections along. */
  | { do: 'cut'; replica: string }
)

/** What can be seen of a gateway from outside. */
export interface View {
  /** By request: waiting, with a replica, or answered with this status. */
  requests: Record<string, 'held' | `with ${string}` | number>
  /** What it said last, and how often it said something. */
  report: GatewayReport | null
  reports: number
  /** Somebody began to wait: who decides was told to look. */
  announced: number
  /** Replicas that a request was sent to, in the order in which it was. */
  sentTo: string[]
  /** Replicas that refused or lost a connection. */
  ejected: string[]
}
export const noView: View = { requests: {}, report: null, reports: 0, announced: 0, sentTo: [], ejected: [] }

export const deploymentId = 'dep_1'
const ask = parseAsk(Buffer.from('{"model":"mine","messages":[]}'))
const dialect: EngineDialect = {
  routes: new Set(['chat/completions']),
  usage: { streamOptions: {}, extraBody: {} },
  healthPath: '/health',
  readiness: (status) => (status === 200 ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: '' }),
  refusedField: () => null,
}
const answer = Buffer.from('{"model":"model","usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}')
const limits = {
  maxBytes: 1_000,
  stallMs: 1_000,
  firstByteMs: 1e9,
  answerMs: 1e9,
  chunkMs: 1e9,
  commentMs: 1e9,
  maxAnswerBytes: 10_000,
  drainStreams: false,
  mediaDomains: [],
}
/** Promises that may have to be kept one after the other until nothing moves any more. */
const turnsOfThePen = 40

class OneGateway {
  readonly view: View = structuredClone(noView)
  readonly #clock: Clock
  readonly #tables = { keyring: new Keyring(), routes: new RouteTable() }
  readonly #parts: InferenceParts
  readonly #feed: Feed
  readonly #connections = new Map<string, PaperConnections>()
  #now = 0
  up: string[] = []
  #news: Route[] = []
  #version = 0

  constructor(id: string) {
    // Time stands still for it: no deadline passes.
    this.#clock = { now: () => this.#now, monotonicMs: () => 0, sleep: () => new Promise(() => {}) }
    const deadlines = new Deadlines(this.#clock)
    const { routes } = this.#tables
    const counters = new LaneCounters(makeCounterBoard({ lanes: 1, places: 16 }), 0)
    const replicas = new Replicas({
      routes,
      engines: new Map([['llamacpp', dialect]]),
      limits: { maxConnections: 100, connectTimeoutMs: 1 },
      clock: this.#clock,
      deadlines,
      log: silentLog,
      counters,
      connect: ({ host }) => this.#connect(host),
    })
    const holding = new Holding({
      routes,
      stateOf: replicas.stateOf,
      limits: { maxSeconds: 1e6, maxRequests: 100, maxBytes: 1e6, commentSeconds: 1e6 },
      deadlines,
      onHold: (held) => this.#feed.holds(held),
      counters,
    })
    replicas.onRoom = holding.wake
    this.#feed = this.#makeFeed(id)
    this.#feed.inFlight = () => replicas.inFlight()
    this.#feed.held = () => holding.counts()
    this.#parts = {
      ...this.#tables,
      engines: new Map(),
      replicas,
      router: new Router(makeRecentMemory(8)),
      lengths: new AnswerLengths(),
      retries: new RetryBudget({ share: 1, saved: 100, perSecond: 1 }),
      active: new Roster<Exchange>(),
      holding,
      limits,
      limiter: new Limiter({
        counters,
        clock: this.#clock,
        deadlines,
        limits: { maxMs: 0, maxRequests: 0, maxBytes: 0 },
      }),
      clock: this.#clock,
      deadlines,
      log: silentLog,
      metering: null,
      onSettle: (settled) => {
        const before = this.view.requests[settled.requestId]
        if (typeof before === 'number') throw new Error(`${settled.requestId} is answered twice`)
        this.view.requests[settled.requestId] = settled.status
        this.#feed.settled(settled)
      },
      trust: () => null,
    }
  }

  async happen(one: Happening): Promise<void> {
    this.up = one.up
    if (one.do === 'arrive') this.#arrive(one.request)
    if (one.do === 'answer') for (const connections of this.#connections.values()) connections.answer(one.request)
    if (one.do === 'cut') this.#connections.get(one.replica)?.cut()
    if (one.do === 'look') await this.#look(one)
    for (let i = 0; i < turnsOfThePen; i += 1) await undefined
  }

  async #look({ news, version, at }: Extract<Happening, { do: 'look' }>): Promise<void> {
    this.#now = at
    this.#news = [...news]
    this.#version = version
    await this.#feed.refresh()
    await this.#feed.report()
  }

  #arrive(request: string): void {
    const response = new PaperResponse() as unknown as ServerResponse
    const ids = { requestId: request, clientRequestId: null }
    const meant = { route: 'chat/completions' as const, orgId: null, deploymentId }
    const exchange = new Exchange(ids, {} as IncomingMessage, response, meant, { receivedAt: 0, startedAt: 0 })
    exchange.ask = ask
    const route = this.#tables.routes.byId(deploymentId)!
    exchange.deployment = route
    this.view.requests[request] = 'held'
    forward(this.#parts, exchange, ask, route, dialect).catch((error: Error & { status?: number }) => {
      this.view.requests[request] = error.status ?? 500
    })
  }

  #connect(replica: string): Way {
    const connections = new PaperConnections(replica, this)
    this.#connections.set(replica, connections)
    return connections
  }

  #makeFeed(id: string): Feed {
    return new Feed({
      id,
      source: {
        versions: async () => ({ keyring: 0, routes: this.#version }),
        keyringSince: async () => [],
        routesSince: async () => this.#news.splice(0),
        onPublished: () => () => {},
        report: async (state) => {
          this.view.report = state
          this.view.reports += 1
        },
        announce: async () => {
          this.view.announced += 1
        },
        markUsed: async () => {},
        unregister: async () => {},
      },
      tables: this.#tables,
      clock: this.#clock,
      log: silentLog,
      snapshotPath: '',
      pollMs: 0,
      maxStaleSeconds: 1,
    })
  }
}

/** The way to one replica. */
class PaperConnections implements Way {
  readonly #replica: string
  readonly #gateway: OneGateway
  readonly #open = new Map<string, Caller>()

  constructor(replica: string, gateway: OneGateway) {
    this.#replica = replica
    this.#gateway = gateway
  }

  send(head: string, body: string | Buffer | null, caller: Caller): void {
    // Probes are not told apart from a machine that is away.
    const request = body === null ? undefined : /\r\nx-request-id: (\S+)/.exec(head)?.[1]
    if (request === undefined) {
      caller.failed(new Error('refused'))
      return
    }
    this.#gateway.view.sentTo.push(this.#replica)
    if (this.#gateway.up.includes(this.#replica)) {
      this.#gateway.view.requests[request] = `with ${this.#replica}`
      this.#open.set(request, caller)
      caller.sends(call)
    } else {
      this.#gateway.view.requests[request] = 'held'
      this.#gateway.view.ejected.push(this.#replica)
      caller.failed(new Error('refused'))
    }
  }

  answer(request: string): void {
    const caller = this.#open.get(request)
    this.#open.delete(request)
    caller?.began({ status: 200, contentType: 'application/json' })
    caller?.data(answer, 0, answer.length)
    caller?.ended()
  }

  cut(): void {
    if (this.#open.size > 0) this.#gateway.view.ejected.push(this.#replica)
    for (const [request, caller] of this.#open) {
      this.#gateway.view.requests[request] = 'held'
      caller.failed(new Error('reset'))
    }
    this.#open.clear()
  }

  destroy(): void {}
}

const call: Call = { abort: () => {}, pause: () => {}, resume: () => {} }

class PaperResponse {
  writableEnded = false
  on = () => this
  off = () => this
  writeHead = () => this
  write = () => true
  end(): this {
    this.writableEnded = true
    return this
  }
}

const told = new Map<string, Promise<View>>()
/** A story's words, by the story. */
const words = new WeakMap<readonly Happening[], string>()

/** The story with one thing more. */
export function goOn(story: readonly Happening[], one: Happening): readonly Happening[] {
  const longer = [...story, one]
  words.set(longer, `${words.get(story) ?? ''}; ${wordsOf(one)}`)
  return longer
}

/** What a gateway of this id is like after all this. Told once, whoever asks. */
export function afterAll(id: string, story: readonly Happening[]): Promise<View> {
  const key = id + words.get(story)
  let view = told.get(key)
  if (view === undefined) told.set(key, (view = tell(id, story)))
  return view
}

function wordsOf({ up, ...one }: Happening): string {
  if (one.do !== 'look') return `${Object.values(one).join(' ')} (${up})`
  const routes = one.news.map(({ version, phase, replicas }) => [version, phase, replicas.map((r) => r.id + r.state)])
  return `look ${one.at} ${one.version} ${routes} (${up})`
}

async function tell(id: string, story: readonly Happening[]): Promise<View> {
  const gateway = new OneGateway(id)
  for (const one of story) await gateway.happen(one)
  return gateway.view
}

/** Forgets the stories told. */
export function forget(): void {
  told.clear()
}
