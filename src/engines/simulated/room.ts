/**
 * Many simulated engines behind one HTTP server: which of them is meant is told by the bearer key, which each engine has
 * of its own. One that is not there breaks the connection, one that hangs leaves it open, as a process would.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fault, toFault } from '../../kernel/fault.ts'
import type { Clock } from '../../runtime/clock.ts'
import { newId } from '../../runtime/ids.ts'
import {
  type AnswerHead,
  chunk,
  doneEvent,
  errorBody,
  type Usage,
  usageChunk,
  wholeAnswer,
} from '../contract.answer.ts'
import { readJson, send } from '../contract.body.ts'
import type { Launch } from '../contract.ts'
import { readArguments } from './arguments.ts'
import { type Ask, answerText, readAsk } from './ask.ts'
import { Cut, SimulatedEngine, Work } from './engine.ts'
import { type Fate, foresee, linesAt } from './fate.ts'
import { keyVariable, program } from './words.ts'

/** The same launch line in other words comes often: many replicas of one deployment. */
const parsedMaximum = 1_000

export class EngineRoom {
  readonly #clock: Clock
  readonly #engines = new Map<string, SimulatedEngine>()
  readonly #parsed = new Map<string, ReturnType<typeof readArguments>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#engines.size
  }

  /** What would become of an engine that starts at `startsAt` with this line. Throws an Error for a foreign line. */
  foresee(launch: Launch, startsAt: number, slow: number): Fate {
    return foresee(this.#argumentsOf(launch), startsAt, slow)
  }

  /** From now on it answers as its fate says, which may change meanwhile. Another of the same key goes. */
  open(launch: Launch, fate: Fate): void {
    this.#engines.set(keyOf(launch), new SimulatedEngine(this.#argumentsOf(launch), fate, this.#clock))
  }

  /** It is no more. */
  close(launch: Launch): void {
    const engine = this.#engines.get(keyOf(launch))
    if (engine === undefined) return
    this.#engines.delete(keyOf(launch))
    const now = this.#clock.now()
    if (engine.fate.end === null || engine.fate.end.at > now)
      engine.fate.end = { at: now, code: null, signal: null, lines: [] }
    engine.cut()
  }

  /** Its fate has changed: requests under way see it at once. */
  changed(launch: Launch): void {
    this.#engines.get(keyOf(launch))?.cut()
  }

  /** Whether it can be asked something now, or at least refuses. */
  has(launch: Launch): boolean {
    const engine = this.#engines.get(keyOf(launch))
    return engine !== undefined && engine.condition.state !== 'absent'
  }

  lines(launch: Launch, fate: Fate, now: number): string[] {
    return linesAt(this.#argumentsOf(launch), fate, now)
  }

  readonly serve = (request: IncomingMessage, response: ServerResponse): void => {
    const engine = this.#engineOf(request)
    if (engine === undefined || engine.condition.state === 'absent') {
      request.socket.destroy()
      return
    }
    void answer(engine, request, response, this.#clock).catch((thrown: unknown) => fail(response, thrown))
  }

  #engineOf(request: IncomingMessage): SimulatedEngine | undefined {
    return this.#engines.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '')
  }

  #argumentsOf({ argv }: Launch): ReturnType<typeof readArguments> {
    const line = argv.join('\n')
    let args = this.#parsed.get(line)
    if (args === undefined) {
      if (argv[0] !== program) throw new Error(`a simulated machine runs ${program} only, not ${argv[0]}`)
      args = readArguments(argv.slice(1))
      if (this.#parsed.size >= parsedMaximum) this.#parsed.clear()
      this.#parsed.set(line, args)
    }
    return args
  }
}

function keyOf(launch: Launch): string {
  return launch.env[keyVariable] ?? ''
}

async function answer(
  engine: SimulatedEngine,
  request: IncomingMessage,
  response: ServerResponse,
  clock: Clock,
): Promise<void> {
  const work = new Work()
  response.on('close', () => {
    work.gone = true
    work.wake()
  })
  if (engine.condition.state === 'hung') await engine.outlast(work)
  const path = request.url?.split('?', 1)[0] ?? '/'
  const { condition, args } = engine
  const ready = condition.state === 'ready'
  if (path === '/health') return send(response, ready ? 200 : 503, { status: ready ? 'ok' : 'loading', ...condition })
  if (path === '/metrics') return send(response, 200, metricsText(engine), 'text/plain; version=0.0.4')
  if (!ready) throw new Fault('starting', 'This engine is loading its model.', { retryAfterSeconds: 1 })
  if (path === '/v1/models')
    return send(response, 200, { object: 'list', data: [{ id: args.servedName, object: 'model', created: 0 }] })
  if (path !== '/v1/chat/completions' && path !== '/v1/completions')
    throw new Fault('route_not_found', `This engine has no route ${path.slice(0, 200)}.`)
  if (request.method !== 'POST') throw new Fault('method_not_allowed', `${path} takes POST.`)
  const ask = readAsk(path === '/v1/completions' ? 'text' : 'chat', await readJson(request), args)
  await complete(engine, ask, work, response, headOf(args.servedName, ask, clock))
}

function headOf(model: string, { kind }: Ask, clock: Clock): AnswerHead {
  const id = `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${newId('req', clock)}`
  return { id, created: Math.floor(clock.now() / 1000), model, kind }
}

async function complete(
  engine: SimulatedEngine,
  ask: Ask,
  work: Work,
  response: ServerResponse,
  head: AnswerHead,
): Promise<void> {
  const usage = (completionTokens: number): Usage => ({
    promptTokens: ask.promptTokens,
    completionTokens,
    cachedTokens: 0,
  })
  if (!ask.stream) {
    await engine.produce(ask, work, () => {})
    return send(
      response,
      200,
      wholeAnswer(head, { text: answerText(ask.seed, 0, ask.tokens) }, ask.finish, usage(ask.tokens)),
    )
  }
  const shown = (tokens: number) => (ask.usage === 'none' ? undefined : ask.usage === 'every' ? usage(tokens) : null)
  let before = 0
  await engine.produce(ask, work, (tokens) => {
    let out = ''
    if (before === 0) {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
      if (ask.kind === 'chat') out += chunk(head, { role: true, usage: shown(0) })
    }
    for (; before < tokens; before++)
      out += chunk(head, { text: answerText(ask.seed, before, before + 1), usage: shown(before + 1) })
    response.write(out)
  })
  const last = chunk(head, { finish: ask.finish, usage: shown(ask.tokens) })
  response.end(last + (ask.usage === 'none' ? '' : usageChunk(head, usage(ask.tokens))) + doneEvent)
}

/** An engine that is no more says nothing: the connection breaks, in the middle of an answer as well. */
function fail(response: ServerResponse, thrown: unknown): void {
  if (thrown instanceof Cut || response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const fault = toFault(thrown)
  send(response, fault.status, errorBody(fault))
}

function metricsText({ running, waiting, promptTokens, generatedTokens }: SimulatedEngine): string {
  return [
    `simulated:requests_running ${running}`,
    `simulated:requests_waiting ${waiting}`,
    `simulated:prompt_tokens_total ${promptTokens}`,
    `simulated:generated_tokens_total ${generatedTokens}`,
    '',
  ].join('\n')
}
