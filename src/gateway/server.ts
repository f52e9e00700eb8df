/**
 * The front door: one HTTP server that answers inference from tables in memory, passes everything else to control, and
 * never needs the database on the way of a request.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Keyring } from '../access/keyring.ts'
import type { RouteTable } from '../deployments/routes.ts'
import { Fault, toFault } from '../kernel/fault.ts'
import { never } from '../kernel/never.ts'
import { Roster } from '../kernel/roster.ts'
import type { Clock } from '../runtime/clock.ts'
import { Deadlines } from '../runtime/deadlines.ts'
import { newId } from '../runtime/ids.ts'
import type { Log } from '../runtime/log.ts'
import type { Config } from '../runtime/settings.ts'
import type { Engines } from './admit.ts'
import { ControlProxy } from './control.ts'
import { type Counters, soloCounters } from './counters.ts'
import type { ClientRequest, ClientResponse } from './door/client.ts'
import { Door } from './door/door.ts'
import type { InferenceTarget } from './door/request-head.ts'
import { clientRequestId, Exchange } from './exchange.ts'
import { type Dialect, sendFault } from './fault-body.ts'
import { makeWhoAsks } from './forwarded.ts'
import { type Objection, objection, unknownExpectation } from './framing.ts'
import { Holding } from './hold.ts'
import { type InferenceParts, requireTables, serveInference, type TablesTrust } from './inference.ts'
import { type KnownLimits, Limiter, type Shares } from './limits/limiter.ts'
import { headerMaximumBytes, refuseMalformed, refuseObjection, refuseTunnel } from './malformed.ts'
import { listModels } from './models.ts'
import { Replicas } from './replicas.ts'
import { authenticate } from './resolve.ts'
import { AnswerLengths } from './routing/answer-length.ts'
import { RetryBudget, retryLimits } from './routing/retry-budget.ts'
import { Router } from './routing/router.ts'
import { holdLimits, queueLimits, requestLimits } from './settings.ts'
import type { Metering, OnSettle } from './settle.ts'
import { matchTarget } from './targets.ts'

export interface GatewayOptions {
  host: string
  /** 0 = any free one. */
  port: number
  tables: { keyring: Keyring; routes: RouteTable }
  engines: Engines
  /** Where control listens; null when this server has none. */
  control: { socketPath: string } | null
  settings: Config
  clock: Clock
  log: Log
  onSettle: OnSettle
  /** Default: nothing is written down. */
  metering?: Metering
  /** Asked for every request; default: the tables can be relied on. */
  trust?: TablesTrust
  /** Of all workers of this host; default: this gateway is alone. */
  counters?: Counters
  /** Of limits of rates; default: all of them are this gateway's. */
  shares?: Shares
  /** What was sent where, common to all workers of a host (`makeRecentMemory`); default: its own. */
  routingMemory?: SharedArrayBuffer
  /** Lets several gateways of one user listen on the same port. */
  reusePort?: boolean
  /** A request is the first that waits for a replica of this deployment. */
  onHold?(deploymentId: string): void
}

export interface Gateway {
  port: number
  /** What is counted against limits, and who waits for them. */
  limiter: Limiter
  /** Replica id → requests that are with it now; replicas with none are absent. */
  inFlight(): Record<string, number>
  /** Deployment id → requests that wait for a replica of it; deployments with none are absent. */
  held(): Record<string, number>
  /** Deployment id → requests that wait for their turn under its limits; deployments with none are absent. */
  queued(): Record<string, number>
  /** Stops listening, lets requests finish for at most `drainMs`, then ends them. */
  close(options: { drainMs: number }): Promise<void>
}

const headersTimeoutMs = 30_000
/** Above the idle timeout of load balancers (60 s), so that they close first. */
const idleConnectionMs = 75_000
const probeClientsAfterMs = 30_000
const drainLookMs = 10

/** Rejects with the error of `listen`. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const door = new FrontDoor(options)
  await door.listen(options.host, options.port)
  return door
}

class FrontDoor implements Gateway {
  readonly #options: GatewayOptions
  readonly #deadlines: Deadlines
  readonly #replicas: Replicas
  readonly #inference: InferenceParts
  readonly #control: ControlProxy | null
  readonly #whoAsks: ReturnType<typeof makeWhoAsks>
  readonly #server: Server
  readonly #door: Door
  /** Inference requests under way. */
  readonly #active = new Roster<Exchange>()
  /** Requests of any kind under way. */
  #open = 0
  #closing = false
  /** Connections that end with the refusal that is on its way. */
  readonly #refused = new Set<Socket>()

  constructor(options: GatewayOptions) {
    const { settings, clock, log, tables, engines, control } = options
    this.#options = options
    this.#deadlines = new Deadlines(clock)
    this.#whoAsks = makeWhoAsks(settings['gateway.trusted_proxies'])
    const deadlines = this.#deadlines
    const counters = options.counters ?? soloCounters()
    this.#replicas = new Replicas({
      routes: tables.routes,
      engines,
      limits: {
        maxConnections: settings['gateway.replica_connections'],
        connectTimeoutMs: settings['gateway.connect_timeout_seconds'] * 1000,
      },
      clock,
      deadlines,
      log,
      counters,
    })
    const limiter = new Limiter({
      counters,
      clock,
      deadlines,
      limits: queueLimits(settings),
      shares: options.shares,
      known: knownLimits(tables),
    })
    const holding = new Holding({
      routes: tables.routes,
      stateOf: this.#replicas.stateOf,
      limits: holdLimits(settings),
      deadlines,
      onHold: options.onHold ?? (() => {}),
      counters,
    })
    this.#replicas.onRoom = holding.wake
    this.#inference = {
      ...tables,
      engines,
      replicas: this.#replicas,
      router: new Router(options.routingMemory),
      lengths: new AnswerLengths(),
      retries: new RetryBudget({ ...retryLimits, share: settings['gateway.retry_share'] }),
      active: this.#active,
      holding,
      limits: requestLimits(settings),
      clock,
      deadlines,
      log,
      onSettle: options.onSettle,
      metering: options.metering ?? null,
      trust: options.trust ?? (() => null),
      limiter,
    }
    const firstByteMs = settings['gateway.first_byte_timeout_seconds'] * 1000
    this.#control =
      control &&
      new ControlProxy({
        ...control,
        clock,
        deadlines,
        firstByteMs,
        maxBodyBytes: settings['gateway.max_body_bytes'],
        uploadBytesPerSecond: settings['gateway.upload_bytes_per_second'],
      })
    this.#server = this.#makeServer()
    const limits = { firstRequestMs: headersTimeoutMs, idleMs: idleConnectionMs, headBytes: headerMaximumBytes }
    this.#door = new Door(this.#server, { limits, clock, serve: this.#serveOrdinary })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, reusePort: this.#options.reusePort ?? false }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  get limiter(): Limiter {
    return this.#inference.limiter
  }

  inFlight(): Record<string, number> {
    return this.#replicas.inFlight()
  }

  held(): Record<string, number> {
    return this.#inference.holding.counts()
  }

  queued(): Record<string, number> {
    return this.#inference.limiter.queued()
  }

  async close({ drainMs }: { drainMs: number }): Promise<void> {
    const { clock } = this.#options
    this.#closing = true
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#door.closeIdle()
    const stopping = new Fault('shutting_down', 'This server is stopping.', { retryAfterSeconds: 1 })
    // What waits for a replica will not get one any more.
    for (const exchange of this.#active.list()) if (exchange.replicaId === null) exchange.interrupt(stopping)
    const until = clock.monotonicMs() + drainMs
    while (this.#busy() && clock.monotonicMs() < until) await clock.sleep(drainLookMs)
    for (const exchange of this.#active.list()) exchange.interrupt(stopping)
    if (this.#busy()) await clock.sleep(drainLookMs)
    this.#door.closeAll()
    this.#server.closeAllConnections()
    await closed
    this.#deadlines.close()
    this.#control?.close()
    this.#replicas.close()
  }

  /** A plain request whose client has left runs to its end at the engine: its tokens are to be known. */
  #busy(): boolean {
    return this.#open > 0 || this.#active.size > 0
  }

  #makeServer(): Server {
    const server = createServer({
      noDelay: true,
      // Notices clients that vanished while they wait for a replica.
      keepAlive: true,
      keepAliveInitialDelay: probeClientsAfterMs,
      keepAliveTimeout: idleConnectionMs,
      headersTimeout: headersTimeoutMs,
      // Bodies have a deadline of their own, which moves as they arrive.
      requestTimeout: 0,
      maxHeaderSize: headerMaximumBytes,
      // We refuse it ourselves, with a sentence.
      requireHostHeader: false,
    })
    server.on('request', (request, response) => this.#serve(request, response, false))
    server.on('clientError', refuseMalformed)
    server.on('checkContinue', (request, response) => this.#serve(request, response, true))
    server.on('checkExpectation', (request, response) => this.#refuse(request, response, unknownExpectation))
    server.on('connect', (_request, socket) => refuseTunnel(socket))
    return server
  }

  readonly #serveOrdinary = (request: ClientRequest, response: ClientResponse, target: InferenceTarget): void => {
    this.#open += 1
    if (this.#closing) response.shouldKeepAlive = false
    this.#infer(request, response, target, false)
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    // What came in behind a refused request is not to be believed either.
    if (this.#refused.size > 0 && this.#refused.has(request.socket)) return
    const objected = objection(request)
    if (objected !== null) {
      this.#refuse(request, response, objected)
      return
    }
    this.#open += 1
    if (this.#closing) response.shouldKeepAlive = false
    const target = matchTarget(request.method ?? 'GET', request.url ?? '/')
    if (target.kind === 'inference') {
      this.#infer(request, response, target, expectsContinue)
      return
    }
    response.on('close', () => this.#done(request))
    switch (target.kind) {
      case 'models':
        this.#answer(response, 'openai', request, () => this.#models(request, target.model))
        return
      case 'healthz':
        sendJson(response, 200, { ok: true })
        return
      case 'readyz':
        void this.#ready().then((state) => sendJson(response, state.ok ? 200 : 503, state))
        return
      case 'method_not_allowed':
        response.setHeader('allow', target.allow)
        this.#answer(response, target.dialect, request, () => {
          throw new Fault('method_not_allowed', `This route has ${target.allow}, not ${request.method}.`)
        })
        return
      case 'control':
        if (expectsContinue) response.writeContinue()
        this.#passOn(request, response)
        return
      default:
        never(target, 'target of a request')
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, objected: Objection): void {
    const { socket } = request
    this.#refused.add(socket)
    socket.once('close', () => this.#refused.delete(socket))
    refuseObjection(response, objected)
  }

  #done(request: Pick<ClientRequest, 'socket'>): void {
    this.#open -= 1
    // While closing, a connection whose answer had begun before is not told so by its head.
    if (this.#closing) request.socket.end()
  }

  #infer(request: ClientRequest, response: ClientResponse, target: InferenceTarget, expectsContinue: boolean): void {
    const { clock } = this.#options
    const ids = { requestId: newId('req', clock), clientRequestId: clientRequestId(request.headers['x-request-id']) }
    const times = { receivedAt: clock.now(), startedAt: clock.monotonicMs() }
    const exchange = new Exchange(ids, request, response, target, times)
    response.on('close', () => {
      exchange.closed()
      this.#done(request)
    })
    serveInference(this.#inference, exchange, expectsContinue)
  }

  #models(request: IncomingMessage, model: string | null): object {
    const { tables, clock } = this.#options
    requireTables(this.#inference.trust)
    return listModels(tables.routes, authenticate(tables.keyring, request, clock.now()), model)
  }

  /** Answers with what `make` gives, or with its fault. */
  #answer(response: ServerResponse, dialect: Dialect, request: IncomingMessage, make: () => object): void {
    const requestId = clientRequestId(request.headers['x-request-id']) ?? newId('req', this.#options.clock)
    try {
      const body = make()
      response.setHeader('x-request-id', requestId)
      sendJson(response, 200, body)
    } catch (thrown) {
      sendFault(response, dialect, toFault(thrown), requestId)
    }
  }

  async #ready(): Promise<Readiness> {
    const problems = this.#options.tables.keyring.version > 0 ? [] : ['The gateway has no keys yet.']
    const distrust = this.#inference.trust()
    if (distrust !== null) problems.push(`The gateway cannot serve: ${distrust}.`)
    const control = await this.#control?.ready()
    if (control && !control.ok) problems.push(...control.problems)
    if (this.#closing) problems.push('The server is stopping.')
    const metering = this.#options.metering?.state()
    if (!metering || metering.problem === null) return { ok: problems.length === 0, problems }
    if (metering.refuses) return { ok: false, problems: [...problems, metering.problem] }
    return { ok: problems.length === 0, problems, warnings: [`${metering.problem} Requests are served uncounted.`] }
  }

  #passOn(request: IncomingMessage, response: ServerResponse): void {
    const requestId = clientRequestId(request.headers['x-request-id']) ?? newId('req', this.#options.clock)
    if (this.#control !== null) {
      this.#control.pass(request, response, this.#whoAsks(request), requestId)
      return
    }
    sendFault(response, 'native', new Fault('route_not_found', 'This server answers inference only.'), requestId)
  }
}

function knownLimits({ routes, keyring }: GatewayOptions['tables']): KnownLimits {
  return (owner) => {
    if (owner.kind === 'key') return keyring.limitsOf(owner.keyId)
    const route = routes.byId(owner.deploymentId)
    return (owner.kind === 'deployment' ? route?.limits : route?.adapters?.[owner.name]?.limits) ?? null
  }
}

interface Readiness {
  ok: boolean
  problems: string[]
  /** It serves all the same. */
  warnings?: string[]
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  const body = JSON.stringify(value)
  response.setHeader('content-type', 'application/json')
  response.setHeader('content-length', Buffer.byteLength(body))
  if (status === 503) response.setHeader('retry-after', '1')
  response.writeHead(status).end(body)
}
