/**
 * Every way in which a request can end, against the tokens that the engine itself says it served: what is settled, and
 * what reaches the ledger by way of the journal.
 */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { after, before, test } from 'node:test'
import type { EngineType } from '../engines/contract.ts'
import { systemClock, until } from '../runtime/clock.ts'
import type { Journal } from '../usage/journal/journal.ts'
import { columns } from '../usage/journal/record.ts'
import { MemoryLedger, openJournal, shipperOf, temporaryRoot } from '../usage/journal/testing.ts'
import { QuickResponse } from './door/quick-response.ts'
import { type Count, type SpokenRoute, speeches } from './speech.fixture.ts'
import {
  type Asked,
  type Behaviour,
  type Bench,
  dialect,
  MockEngine,
  replicaOf,
  routeOf,
  startBench,
  streamHead,
} from './testing.ts'

type Kind = 'plain' | 'stream'
type End = 'finished' | 'client gone' | 'engine died'
/** What the client asks to be told. */
type Wish = 'no usage' | 'include_usage' | 'continuous_usage_stats'
/** When the engine says what was used. */
type Says = 'with every chunk' | 'at the end' | 'never'

interface Case {
  route: SpokenRoute
  kind: Kind
  end: End
  wish: Wish
  says: Says
  detailed: boolean
  onDisconnect: 'abort' | 'drain'
}

const kinds: Kind[] = ['plain', 'stream']
const ends: End[] = ['finished', 'client gone', 'engine died']
const wishes: Wish[] = ['no usage', 'include_usage', 'continuous_usage_stats']
/** A plain answer has no room for wishes, and other routes have none. */
const wishesOf = (route: SpokenRoute, kind: Kind) =>
  kind === 'stream' && route === 'chat/completions' ? wishes : wishes.slice(0, 1)
const saysOf = (route: SpokenRoute): Says[] =>
  route === 'chat/completions' ? ['with every chunk', 'at the end', 'never'] : ['at the end', 'never']
const kindsOf = (route: SpokenRoute) => (speeches[route].stream === null ? kinds.slice(0, 1) : kinds)

function casesOf(route: SpokenRoute): Case[] {
  return kindsOf(route).flatMap((kind) =>
    ends.flatMap((end) =>
      wishesOf(route, kind).flatMap((wish) =>
        // Only who leaves is asked what then.
        (end === 'client gone' ? (['abort', 'drain'] as const) : (['abort'] as const)).flatMap((onDisconnect) =>
          saysOf(route).flatMap((says) =>
            (isVectors(route) ? [false] : [false, true]).map((detailed) => ({
              ...{ route, kind, end, wish, says, detailed, onDisconnect },
            })),
          ),
        ),
      ),
    ),
  )
}

/** They count the question alone. */
function isVectors(route: SpokenRoute): boolean {
  return route === 'embeddings' || route === 'rerank'
}

const cases = (Object.keys(speeches) as SpokenRoute[]).filter((route) => route !== 'completions').flatMap(casesOf)

/** What the engine has served of a request, by its own count. */
type Served = Count

/** Tokens until the turn in the middle, and of a whole answer. */
const half = 3
const whole = 6

/** An engine that counts what it serves, stops half-way, and goes on when it is told to. */
class CountingEngine {
  readonly served = new Map<string, Served>()
  says: Says = 'with every chunk'
  detailed = false
  goOn: () => void = () => {}
  die: () => void = () => {}

  readonly behave: Behaviour = async (asked, response, request) => {
    const count: Served = { prompt: 11, cached: this.detailed ? 7 : 0, completion: 0, reasoning: 0 }
    this.served.set(String(asked.headers['x-request-id']), count)
    const go = new Promise<void>((resolve) => {
      this.goOn = resolve
    })
    this.die = () => request.socket.resetAndDestroy()
    if (asked.body.stream === true) await this.#stream(asked, response, count, go)
    else await this.#plain(asked, response, count, go)
  }

  async #plain(asked: Asked, response: ServerResponse, count: Served, go: Promise<void>): Promise<void> {
    const { plain, usage } = speeches[routeAsked(asked)]
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('{')
    await go
    for (let n = 0; n < whole && !isVectors(routeAsked(asked)); n++) this.#token(asked, count)
    const told = this.says === 'never' ? null : usage(count)
    response.end(JSON.stringify(plain(String(asked.body.model), 'six of them', told)).slice(1))
  }

  async #stream(asked: Asked, response: ServerResponse, count: Served, go: Promise<void>): Promise<void> {
    const { begin, piece, end } = speeches[routeAsked(asked)].stream!
    const model = String(asked.body.model)
    const told = this.says === 'never' ? null : count
    response.writeHead(200, streamHead)
    response.write(begin(model, told))
    for (let n = 0; n < whole && !response.destroyed; n++) {
      if (n === half) await go
      if (response.destroyed) return
      this.#token(asked, count)
      const event = piece(model, `word ${n} `)
      const usage = JSON.stringify(speeches['chat/completions'].usage(count))
      response.write(this.says === 'with every chunk' ? event.replace(/}\n\n$/, `,"usage":${usage}}\n\n`) : event)
    }
    response.end(end(model, told))
  }

  #token(asked: Asked, count: Served): void {
    count.completion += 1
    // Messages do not count them apart.
    if (this.detailed && count.completion % 2 === 0 && routeAsked(asked) !== 'messages') count.reasoning += 1
  }
}

function routeAsked({ path }: Asked): SpokenRoute {
  return path.slice('/v1/'.length) as SpokenRoute
}

const everything = { ...dialect, routes: new Set(Object.keys(speeches) as SpokenRoute[]) }
const counting = new CountingEngine()
const engine = new MockEngine()
const clean: (() => void | Promise<void>)[] = []
let root: string
let journal: Journal
const benches = {} as Record<'abort' | 'drain', Bench>
before(async () => {
  engine.behave = counting.behave
  await engine.listen()
  root = temporaryRoot((end) => clean.push(end))
  journal = await openJournal((end) => clean.push(end), root)
  for (const onDisconnect of ['abort', 'drain'] as const)
    benches[onDisconnect] = await startBench({
      routes: [routeOf({ engine: 'vllm', replicas: [replicaOf(engine.port)] })],
      engines: new Map<EngineType, typeof dialect>([['vllm', everything]]),
      over: { 'gateway.on_disconnect': onDisconnect },
      metering: journal,
    })
})
after(async () => {
  for (const bench of Object.values(benches)) await bench.gateway.close({ drainMs: 0 })
  await engine.close()
  for (const end of clean.reverse()) await end()
})

const lookMs = 2

/** Clients that left before the end of their answer, as far as the gateways have heard. */
let left = 0
const { closed } = QuickResponse.prototype
QuickResponse.prototype.closed = function (this: QuickResponse): void {
  if (!this.writableEnded) left += 1
  closed.call(this)
}

/** Plays the case and gives the id of its request. */
async function play({ route, kind, end, wish, says, detailed, onDisconnect }: Case): Promise<string> {
  const bench = benches[onDisconnect]
  bench.settled.length = 0
  engine.asked.length = 0
  counting.says = says
  counting.detailed = detailed
  const client = new Client(bench, route, bodyOf(route, kind, wish))
  // All that the engine has written is with the client: nothing is on its way.
  const isHalfWay = () => (kind === 'plain' ? engine.asked.length === 1 : client.text.includes(`word ${half - 1} `))
  await until(systemClock, 'the engine is half-way', 5_000, isHalfWay, lookMs)
  if (end === 'client gone') {
    const before = left
    client.leave()
    await until(systemClock, 'the gateway hears it', 5_000, () => left > before, lookMs)
    if (kind === 'stream' && onDisconnect === 'abort')
      await until(systemClock, 'the engine hears it', 5_000, () => engine.asked[0]!.aborted, lookMs)
    else assert.equal(bench.settled.length, 0, 'it runs on')
  }
  if (end === 'engine died') counting.die()
  else counting.goOn()
  await until(systemClock, 'it is settled', 5_000, () => bench.settled.length === 1, lookMs)
  await client.over
  return bench.settled[0]!.requestId
}

function bodyOf(route: SpokenRoute, kind: Kind, wish: Wish): object {
  const options = {
    include_usage: true,
    ...(wish === 'continuous_usage_stats' ? { continuous_usage_stats: true } : {}),
  }
  return {
    model: 'mine',
    ...speeches[route].ask,
    ...(kind === 'stream' ? { stream: true } : {}),
    ...(wish === 'no usage' ? {} : { stream_options: options }),
  }
}

/** Reads as it comes, and may leave. */
class Client {
  text = ''
  readonly over: Promise<void>
  readonly #leaving = new AbortController()

  constructor(bench: Bench, route: SpokenRoute, body: object) {
    this.over = this.#read(bench, route, body).catch(() => {})
  }

  leave(): void {
    this.#leaving.abort()
  }

  async #read(bench: Bench, route: SpokenRoute, body: object): Promise<void> {
    const init = { method: 'POST', body: JSON.stringify(body), signal: this.#leaving.signal }
    const response = await bench.send(`/v1/${route}`, init)
    const decoder = new TextDecoder()
    for await (const piece of response.body!) this.text += decoder.decode(piece as Uint8Array, { stream: true })
  }
}

/** Status, whether it is charged, and which tokens are to be there: `guessed` where nobody said. */
function expected({ kind, end, says, onDisconnect }: Case): {
  status: number
  charged: boolean
  tokens: 'exact' | 'guessed' | 'none'
} {
  const told = says === 'never' ? 'guessed' : 'exact'
  if (end === 'engine died') return { status: 500, charged: false, tokens: kind === 'plain' ? 'none' : soFar(says) }
  if (end === 'finished') return { status: 200, charged: true, tokens: told }
  const ranOn = kind === 'plain' || onDisconnect === 'drain'
  return { status: 499, charged: true, tokens: ranOn ? told : soFar(says) }
}

function soFar(says: Says): 'exact' | 'guessed' {
  return says === 'with every chunk' ? 'exact' : 'guessed'
}

const ledger = new MemoryLedger()
async function rowOf(requestId: string): Promise<Record<string, unknown>> {
  await shipperOf(root, ledger).pass()
  const values = JSON.parse(ledger.lines.get(requestId)!) as unknown[]
  return Object.fromEntries(columns.map(([name], at) => [name, values[at]]))
}

for (const one of cases)
  test(`${one.route}: ${one.kind}, ${one.end}${one.end === 'client gone' ? ` (${one.onDisconnect})` : ''}: asked for ${one.wish}, the engine says it ${one.says}${one.detailed ? ', in detail' : ''}`, async () => {
    const requestId = await play(one)
    const served = counting.served.get(requestId)!
    const { status, charged, tokens } = expected(one)
    const row = await rowOf(requestId)
    assert.deepEqual([row.status, row.charged, row.estimated], [status, charged, tokens === 'guessed'])
    const { prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens } = row
    const seen = {
      prompt: prompt_tokens,
      cached: cached_tokens,
      completion: completion_tokens,
      reasoning: reasoning_tokens,
    }
    if (tokens === 'exact') assert.deepEqual(seen, served)
    else if (tokens === 'none') assert.deepEqual(seen, { prompt: 0, cached: 0, completion: 0, reasoning: 0 })
    else assert.ok((isVectors(one.route) || (completion_tokens as number) > 0) && (prompt_tokens as number) > 0)
    assert.equal(ledger.lines.size, counting.served.size, 'one row for every request')
  })
