/**
 * A gateway of two workers as its supervisor runs it, on a database and engines of the test: what it is asked, who of
 * the two has it, and how one of them dies.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Access } from '../../../src/access/commands.ts'
import type { Principal } from '../../../src/access/permissions.ts'
import { publishRoute } from '../../../src/deployments/store.ts'
import { chunkEvent, lastEvents, MockEngine, replicaOf, routeOf, streamHead } from '../../../src/gateway/testing.ts'
import { Secret } from '../../../src/kernel/secret.ts'
import { systemClock, until } from '../../../src/runtime/clock.ts'
import { readConfig } from '../../../src/runtime/config.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { Seal } from '../../../src/runtime/seal.ts'
import { modulePath } from '../../../src/runtime/self.ts'
import type { GatewaySetup, WorkersPlan } from '../../../src/server-gateway-setup.ts'
import type { ToChild, ToParent } from '../../../src/server-launch.ts'
import { type TestDatabase, testDatabase } from '../../../src/store/testing.ts'
import { Shipper } from '../../../src/usage/journal/shipper.ts'
import { isRefused, recordLines } from '../../../src/usage/store.ts'
import { Stream } from './stream.ts'

/** Machines that busy tests share may be slow. */
export const longMs = 60_000
export type Death = 'exit' | 'throw' | 'memory'
/** Of a deployment, by both workers. */
export const heldMaximum = 14
const first = 'gw_workers'
const heapMegabytes = 64
const operatorKey = 'sk_operator-of-the-workers-test'

/** How many streams each worker has, by its number. */
export type Shares = [number, number]

export class WorkersWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'paddock-workers-'))
  readonly db: TestDatabase
  readonly access: Access
  readonly engines: MockEngine[]
  readonly #process: ChildProcess
  readonly #death = join(this.folder, 'death')
  #deaths = 0
  operator!: Principal
  port = 0
  words = ''
  /** Ids of the requests that an engine was asked. */
  readonly asked: string[] = []
  readonly #answering = new Set<{ response: ServerResponse; end: () => void }>()

  private constructor(db: TestDatabase, engines: MockEngine[]) {
    this.db = db
    this.engines = engines
    this.access = new Access(db, new Seal(new Secret('a secret of the test')), systemClock)
    for (const engine of engines) engine.behave = (asked, response) => this.#begin(asked, response)
    const plan: WorkersPlan = { workers: 2, heapMegabytes, logLevel: 'warn' }
    this.#process = fork(modulePath('server-workers'), [JSON.stringify(plan)], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: ['--import', new URL('mortal.mjs', import.meta.url).href],
      env: { ...process.env, PADDOCK_TEST_DEATH: this.#death },
    })
    for (const output of [this.#process.stdout!, this.#process.stderr!])
      output.on('data', (chunk: Buffer) => (this.words += chunk.toString()))
  }

  static async open(): Promise<WorkersWorld> {
    const engines = [await new MockEngine().listen(), await new MockEngine().listen()]
    const world = new WorkersWorld(await testDatabase(), engines)
    try {
      await world.access.ensureOperator(operatorKey)
      world.operator = await world.access.authenticate(`Bearer ${operatorKey}`, undefined)
      // Only its route is of interest here.
      await world.db.run(
        `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, created_at, updated_at)
         values ('dep_1', $1, 'mine', '{}', 'running', 1, 1, 'serving', now(), now())`,
        [world.operator.orgId],
      )
      await world.route(engines)
      const ready = once(world.#process, 'message')
      world.#tell({ kind: 'start', setup: await world.#setup() })
      const [message] = (await Promise.race([ready, world.ended()])) as [ToParent]
      if (message?.kind !== 'ready') throw new Error(`not ready: ${world.words}`)
      world.port = message.port!
      return world
    } catch (error) {
      await world.close()
      throw error
    }
  }

  /** The deployment's replicas are these, and it starts while there are none; resolves when both workers know. */
  async route(engines: MockEngine[]): Promise<void> {
    const replicas = engines.map(({ port }) => replicaOf(port))
    const phase = replicas.length > 0 ? 'serving' : 'starting'
    const version = await this.db.tx((tx) => publishRoute(tx, routeOf({ orgId: this.operator.orgId, replicas, phase })))
    if (this.port === 0) return
    await until(systemClock, 'both know the route', longMs, async () =>
      (await this.#register()).every((one) => one.routes >= Number(version)),
    )
  }

  stream(key = operatorKey): Stream {
    return new Stream(this.port, key)
  }

  /** Opens streams, each on a connection of its own, until both workers have at least so many. */
  async openOnBoth(atLeast: number, open: Stream[] = []): Promise<{ streams: Stream[]; shares: Shares }> {
    for (;;) {
      const stream = this.stream()
      open.push(stream)
      await stream.begun
      const shares = await this.shares(open.length)
      if (shares.every((count) => count >= atLeast)) return { streams: open, shares }
      if (open.length > 60) throw new Error(`all but one worker are idle: ${shares}`)
    }
  }

  /** Asks until a request is not even held any more; gives those that are. */
  async holdUntilFull(): Promise<Stream[]> {
    for (const held: Stream[] = []; ; ) {
      const stream = this.stream()
      await stream.begun
      if (stream.status !== 200) return held
      held.push(stream)
    }
  }

  /** What each has in flight, once it is `total` together. */
  shares(total: number): Promise<Shares> {
    return until(systemClock, `${total} in flight`, longMs, async () => {
      const counts = (await this.#register()).map(({ inFlight }) =>
        Object.values(inFlight).reduce((sum, count) => sum + count, 0),
      )
      return counts.length === 2 && counts[0]! + counts[1]! === total ? (counts as Shares) : null
    })
  }

  /** One more event for everybody who listens. */
  beat(): void {
    for (const { response } of this.#answering) response.write(chunkEvent(bodyOf, 'beat ', 2))
  }

  get answering(): number {
    return this.#answering.size
  }

  /** All answers come to their end. */
  finish(): void {
    for (const { end } of this.#answering) end()
  }

  /** One of the workers dies like this; resolves with its number when it is noticed. */
  async kill(how: Death): Promise<number> {
    writeFileSync(`${this.#death}.new`, how)
    renameSync(`${this.#death}.new`, this.#death)
    this.#deaths += 1
    return until(systemClock, 'its death is noticed', longMs, () => {
      const seen = [...this.words.matchAll(/"part":"gateway worker (\d)".*"a part ended and is started again"/g)]
      return seen.length === this.#deaths ? String(seen.at(-1)![1]) : null
    }).then(Number)
  }

  /** A planned stop; resolves with the exit status when all of it is gone. */
  async stop(): Promise<number | null> {
    this.#tell({ kind: 'stop' })
    return this.ended()
  }

  async ended(): Promise<number | null> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await once(this.#process, 'exit')
    return this.#process.exitCode
  }

  /** What is left in the journals; then the ledger's lines, by request. */
  async ledger(): Promise<{ id: string; status: number; tokens: number }[]> {
    const ledger = { record: (lines: readonly string[]) => recordLines(this.db, lines), refuses: isRefused }
    const root = join(this.folder, 'journal')
    const shipper = new Shipper({ root, ledger, horizon: () => 0, clock: systemClock, log: silentLog })
    await shipper.pass(undefined, true)
    return this.db.query('select request_id as id, status, completion_tokens as tokens from usage_requests')
  }

  async close(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.ended()
    for (const engine of this.engines) await engine.close()
    await this.db.close()
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 })
  }

  #begin(asked: Parameters<MockEngine['behave']>[0], response: ServerResponse): void {
    this.asked.push(String(asked.headers['x-request-id']))
    const answering = {
      response,
      end: () => response.end(`${lastEvents(asked, 3)}data: [DONE]\n\n`),
    }
    this.#answering.add(answering)
    response.on('close', () => this.#answering.delete(answering))
    response.writeHead(200, streamHead)
    response.write(chunkEvent(asked, 'first ', 1))
  }

  async #register(): Promise<{ id: string; routes: number; inFlight: Record<string, number> }[]> {
    return this.db.query('select id, routes_version as routes, in_flight as "inFlight" from gateways order by id')
  }

  #tell(message: ToChild<GatewaySetup>): void {
    this.#process.send(message, () => {})
  }

  #flags(): Parameters<typeof readConfig>[0]['flags'] {
    return {
      'log.level': 'warn',
      data: this.folder,
      'hold.max_requests': heldMaximum,
      'hold.comment_seconds': 0.05,
    }
  }

  async #setup(): Promise<GatewaySetup> {
    return {
      config: readConfig({ flags: this.#flags(), env: {}, file: undefined }),
      connection: this.db.connection,
      id: first,
      port: await freePort(),
      controlSocketPath: join(this.folder, 'control.sock'),
      snapshotPath: join(this.folder, 'snapshot.json'),
      journalFolder: join(this.folder, 'journal'),
      workers: 2,
      worker: 0,
    }
  }
}

/** Usage comes with every event, as with engines that were asked for it. */
const bodyOf: Parameters<typeof chunkEvent>[0] = {
  path: '',
  headers: {},
  body: { model: 'served-1', stream_options: { continuous_usage_stats: true } },
  aborted: false,
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return port
}
