/**
 * SIGKILL of everything at once, or of the supervisor alone, at random moments, while clients write: also while it is still starting, and in some
 * rounds the engines with it. Every next start must work on the same port and folder, with all that was acknowledged.
 * `KILLS=1000 SEED=…` for the long form.
 */
// test timeout: 14400 s
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { Run, type Server, startServer } from '../e2e/harness.ts'
import { inNewPlace, type Place, shown } from '../e2e/place.ts'
import { type OwnProcess, procOnly, type Role } from '../e2e/processes.ts'
import { Random } from '../paper/random.ts'
import { Writers } from './writers.ts'

const kills = Number(process.env.KILLS ?? 40)
const seed = Number(process.env.SEED ?? systemClock.now() % 1_000_000)
/** On a machine that is too busy the usual form ends early, but not before this many kills. */
const usualMs = 150_000
const killsMinimum = 15
const writingMsMaximum = 500
const startingMsMaximum = 1_500

// Engines that are killed with everything else as soon as they are up are not to blame.
const env = { PADDOCK_LOG_LEVEL: 'warn', PADDOCK_START_STABLE_SECONDS: '0' }

type Moment = 'starting' | 'writing'
type Victims = 'the supervisor' | 'its process group' | 'all but engines' | 'engines too'
const weights: Record<Victims, number> = {
  'the supervisor': 2,
  'its process group': 4,
  'all but engines': 3,
  'engines too': 1,
}
const parts: Role[] = ['supervisor', 'control', 'gateway', 'postmaster']

class Rounds {
  readonly #place: Place
  readonly #random = new Random(seed)
  readonly #writers = new Writers(seed)
  /** Chosen by the first start; a client's address stays. */
  #port = 0
  #anchorEngine: OwnProcess | null = null

  constructor(place: Place) {
    this.#place = place
  }

  /** Gives a sentence about what happened. */
  async run(): Promise<string> {
    const began = performance.now()
    const first = await this.#start()
    await first.deploy('anchor')
    await first.active('anchor')
    await this.#writeAndKill(first, 'its process group')
    let made = 1
    for (; made < kills; made++) {
      if (process.env.KILLS === undefined && performance.now() - began > usualMs && made >= killsMinimum) break
      await this.#round(made)
    }
    await this.#end()
    const { acknowledged, outages } = this.#writers
    const unanswered = [...outages].map(([code, times]) => `${times} × ${code}`).join(', ')
    return `${made} kills, ${acknowledged} writes acknowledged, not answered: ${unanswered}`
  }

  async #round(number: number): Promise<void> {
    const moment: Moment = this.#random.chance(0.4) ? 'starting' : 'writing'
    const victims = this.#random.weighted(weights)
    try {
      if (moment === 'starting') return await this.#startAndKill(victims)
      const server = await this.#start()
      await this.#check(server)
      await this.#writeAndKill(server, victims)
    } catch (error) {
      throw new Error(`kill ${number}, ${moment}, ${victims} (SEED=${seed}): ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  async #start(): Promise<Server> {
    const server = await startServer(this.#place, { port: this.#port, env, ownGroup: true })
    this.#port = server.port
    return server
  }

  async #startAndKill(victims: Victims): Promise<void> {
    const run = new Run(this.#place, { port: this.#port, env, ownGroup: true })
    await systemClock.sleep(this.#random.int(0, startingMsMaximum))
    assert.ok(!run.isOver, `it refused to start: ${run.output}`)
    await this.#kill(run, victims)
  }

  async #writeAndKill(server: Server, victims: Victims): Promise<void> {
    const writing = this.#writers.write(server, 3)
    await systemClock.sleep(this.#random.int(0, writingMsMaximum))
    await this.#kill(server.run, victims)
    await writing.end()
  }

  async #kill(run: Run, victims: Victims): Promise<void> {
    const spared: Role[] = victims === 'engines too' ? [] : ['engine', 'keeper']
    process.kill(victims === 'the supervisor' ? run.child.pid! : -run.child.pid!, 'SIGKILL')
    if (victims === 'all but engines' || victims === 'engines too')
      for (const one of this.#place.processes()) if (!spared.includes(one.role)) signalProcess(one, 'SIGKILL')
    if (victims === 'engines too') this.#anchorEngine = null
    await run.ended
  }

  /** One of each part, nothing that nobody owns, all that was acknowledged, and the anchor answers. */
  async #check(server: Server): Promise<void> {
    await until(systemClock, 'one of each part', 60_000, () =>
      parts.every((role) => this.#place.processes(role).length === 1),
    )
    await this.#writers.verify(server)
    await this.#anchorAnswers(server)
    await until(systemClock, 'every engine belongs to a deployment', 60_000, () => this.#everyEngineIsOwned(server))
    const [replica] = (await server.native.listReplicas('anchor')).data.filter(({ phase }) => phase === 'ready')
    const engines = this.#place.processes('engine')
    const engine = engines.find(({ replicaId }) => replicaId === replica!.id)
    assert.ok(engine, `the anchor's engine is among: ${shown(engines)}`)
    if (this.#anchorEngine !== null)
      assert.equal(engine.pid, this.#anchorEngine.pid, 'a kill of the server touches no engine')
    this.#anchorEngine = engine
  }

  async #anchorAnswers(server: Server): Promise<void> {
    const ask = { messages: [{ role: 'user' as const, content: 'Still there?' }], max_tokens: 2 }
    try {
      await server.openai().chat.completions.create({ model: 'anchor', ...ask }, { timeout: 30_000 })
    } catch (error) {
      const state = JSON.stringify(await server.native.explainDeployment('anchor'))
      throw new Error(`the anchor does not answer: ${(error as Error).message}\n${state}\n${server.run.output}`)
    }
  }

  async #everyEngineIsOwned(server: Server): Promise<boolean> {
    const owned = new Set<string>()
    for (const { id } of (await server.native.listDeployments()).data)
      for (const { id: replicaId, phase } of (await server.native.listReplicas(id)).data)
        if (phase !== 'gone') owned.add(replicaId)
    const kept = this.#place.processes('keeper').map(({ replicaId }) => replicaId!)
    const running = this.#place.processes('engine').map(({ replicaId }) => replicaId!)
    return new Set(kept).size === kept.length && [...kept, ...running].every((id) => owned.has(id))
  }

  async #end(): Promise<void> {
    const last = await this.#start()
    await this.#check(last)
    await this.#writers.clear(last.native)
    await last.native.deleteDeployment('anchor')
    await until(systemClock, 'no engine is left', 60_000, () => this.#place.processes('engine', 'keeper').length === 0)
    await last.stop()
  }
}

describe('SIGKILL of everything', { skip: procOnly }, () => {
  it(`${kills} times (SEED=${seed})`, (t) => inNewPlace(async (place) => t.diagnostic(await new Rounds(place).run())))
})
