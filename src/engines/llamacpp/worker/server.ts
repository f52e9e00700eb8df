/**
 * The worker's HTTP side: listens from the first moment (503 with the phase while it loads), then the OpenAI routes.
 * Everything but /health needs the engine's key. No prompt and no completion is ever logged.
 */
import { hash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Fault, toFault } from '../../../kernel/fault.ts'
import { type Clock, systemClock } from '../../../runtime/clock.ts'
import { newId } from '../../../runtime/ids.ts'
import { type AnswerHead, doneEvent, errorBody, errorEvent } from '../../contract.answer.ts'
import { readJson, send } from '../../contract.body.ts'
import type { StartMoments, StartPhase } from '../../contract.ts'
import { answerAdapterRoute, isAdapterRoute } from './adapter-routes.ts'
import { answerEmbeddings } from './embedding-route.ts'
import { type Engine, generate } from './generate.ts'
import { WorkerMetrics } from './metrics.ts'
import { nestingMaximum, nestsDeeper } from './nesting.ts'
import { Reply } from './reply.ts'
import { type EngineRequest, readChatRequest, readTextRequest } from './request.ts'

const routes = new Set(['/v1/chat/completions', '/v1/completions', '/v1/embeddings'])

export type WorkerState =
  | { status: 'loading'; phase: StartPhase; progress: number }
  | { status: 'ok' }
  | { status: 'draining' }

export interface WorkerServerOptions {
  servedName: string
  key: string
  clock?: Clock
  /** How long the process has been running. */
  ageMs?: number
  log(line: string): void
}

export class WorkerServer {
  #state: WorkerState = { status: 'loading', phase: 'load', progress: 0 }
  /** When each part of the start began, by the monotonic clock. Loading begins with the process. */
  readonly #began: StartMoments
  engine: Engine | null = null
  readonly #options: WorkerServerOptions
  readonly #clock: Clock
  readonly #keyHash: Buffer
  readonly #metrics = new WorkerMetrics()
  readonly #server: Server
  #open = 0
  #onIdle: () => void = () => {}

  constructor(options: WorkerServerOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#began = { load: this.#clock.monotonicMs() - (options.ageMs ?? 0) }
    this.#keyHash = hash('sha256', options.key, 'buffer')
    this.#server = createServer(
      { noDelay: true, requestTimeout: 0, keepAliveTimeout: 120_000 },
      (request, response) => {
        void this.#answer(request, response)
      },
    )
  }

  get state(): WorkerState {
    return this.#state
  }

  set state(state: WorkerState) {
    this.#state = state
    const moment = state.status === 'loading' ? state.phase : state.status === 'ok' ? 'ready' : null
    if (moment !== null) this.#began[moment] ??= this.#clock.monotonicMs()
  }

  listen(host: string, port: number): Promise<number> {
    return new Promise((listening, failed) => {
      this.#server.once('error', failed)
      this.#server.listen({ host, port }, () => listening((this.#server.address() as { port: number }).port))
    })
  }

  /** No new requests; resolves when the open ones are answered to their last byte. */
  async drain(): Promise<void> {
    this.state = { status: 'draining' }
    if (this.#open > 0)
      await new Promise<void>((idle) => {
        this.#onIdle = idle
      })
  }

  /** Stops listening and cuts what is open. */
  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?', 1)[0] ?? '/'
    try {
      if (path === '/health') return this.#health(response)
      this.#checkKey(request)
      if (path === '/metrics') return send(response, 200, this.#metricsText(), 'text/plain; version=0.0.4')
      if (path === '/v1/models') return send(response, 200, this.#models())
      if (isAdapterRoute(path)) return await answerAdapterRoute(this.#readyEngine().adapters, path, request, response)
      if (!routes.has(path)) throw new Fault('route_not_found', `This engine has no route ${path.slice(0, 200)}.`)
      if (request.method !== 'POST') throw new Fault('method_not_allowed', `${path} takes POST.`)
      const engine = this.#readyEngine()
      this.#countUntilClosed(response)
      const body = await readJson(request)
      if (nestsDeeper(body, nestingMaximum))
        throw new Fault('invalid_json', `The body nests deeper than ${nestingMaximum} levels.`)
      if (path === '/v1/embeddings') return await this.#embed(engine, body, response)
      await this.#complete(engine, path === '/v1/completions' ? readTextRequest(body) : readChatRequest(body), response)
    } catch (thrown) {
      this.#fail(response, toFault(thrown))
    }
  }

  #health(response: ServerResponse): void {
    const { state } = this
    const now = this.#clock.monotonicMs()
    const ago = Object.entries(this.#began).map(([moment, at]) => [moment, Math.round(now - at)])
    send(response, state.status === 'ok' ? 200 : 503, { ...state, phases_ms_ago: Object.fromEntries(ago) })
  }

  #checkKey(request: IncomingMessage): void {
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
    if (!timingSafeEqual(hash('sha256', given, 'buffer'), this.#keyHash))
      throw new Fault('invalid_key', 'This is not the key of this engine.')
  }

  #readyEngine(): Engine {
    if (this.state.status === 'draining') throw new Fault('shutting_down', 'This engine is shutting down.')
    if (this.engine === null || this.state.status !== 'ok')
      throw new Fault('starting', 'This engine is loading its model.', { retryAfterSeconds: 1 })
    return this.engine
  }

  async #complete(engine: Engine, request: EngineRequest, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const begun = this.#clock.monotonicMs()
    const seconds = () => (this.#clock.monotonicMs() - begun) / 1000
    const reply = new Reply(response, request, this.#head(request))
    let finish = 'error'
    try {
      const result = await generate(engine, request, gone.signal, {
        begun: (usage) => this.#metrics.begun(usage),
        token: (part, usage) => {
          this.#metrics.generated(usage.completionTokens === 1 ? seconds() : undefined)
          reply.token(part, usage)
        },
      })
      finish = result.finish
      reply.end(result)
    } catch (error) {
      if (gone.signal.aborted) finish = 'abort'
      throw error
    } finally {
      this.#metrics.finished(finish, seconds())
    }
  }

  async #embed(engine: Engine, body: unknown, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const counted = (promptTokens: number) =>
      this.#metrics.begun({ promptTokens, completionTokens: 0, cachedTokens: 0 })
    send(response, 200, await answerEmbeddings(engine, this.#options.servedName, body, gone.signal, counted))
  }

  /** Open until the last byte of the answer is with the operating system, or the client is gone. */
  #countUntilClosed(response: ServerResponse): void {
    this.#open += 1
    response.once('close', () => {
      this.#open -= 1
      if (this.#open === 0) this.#onIdle()
    })
  }

  #head(request: EngineRequest): AnswerHead {
    const { kind } = request.input
    const id = `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${newId('req', this.#clock)}`
    return { id, created: Math.floor(this.#clock.now() / 1000), model: this.#options.servedName, kind }
  }

  #fail(response: ServerResponse, fault: Fault): void {
    if (fault.code === 'client_closed' || response.destroyed) {
      response.destroy()
      return
    }
    if (fault.status >= 500 && fault.code === 'internal')
      this.#options.log(`a request failed: ${fault.internal ?? fault.message}`)
    if (response.headersSent) {
      response.end(errorEvent(fault) + doneEvent)
      return
    }
    if (fault.retryAfterSeconds !== undefined) response.setHeader('retry-after', String(fault.retryAfterSeconds))
    send(response, fault.status, errorBody(fault))
  }

  #models(): object {
    const card = {
      id: this.#options.servedName,
      object: 'model',
      created: 0,
      owned_by: 'paddock',
      max_model_len: this.engine?.contextTokens ?? null,
    }
    return { object: 'list', data: [card] }
  }

  #metricsText(): string {
    const { engine } = this
    const decoders = engine ? [engine, ...engine.adapters.decoders] : []
    const running = decoders.reduce((sum, { sequences }) => sum + sequences.running, 0)
    const embedding = engine?.embedder.waiting ?? 0
    const waiting = decoders.reduce((sum, { sequences }) => sum + sequences.waiting, 0) + Math.max(0, embedding - 1)
    const kvUsage = engine ? engine.sequences.cellsInUse / (engine.contextTokens * engine.sequences.count) : 0
    return this.#metrics.text({ running: running + Math.min(embedding, 1), waiting, kvUsage })
  }
}
