/**
 * SIGKILL of everything at once, at random moments, while clients write: also while it is still starting, and in some
 * rounds the engines with it. Every next start must work on the same port and folder, with all that was acknowledged.
 * `KILLS=1000 SEED=…` for the long form.
 */
// test timeout: 7200 s
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { Run, type Server, startServer } from '../e2e/harness.ts'
import { Place, shown } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { Random } from '../paper/random.ts'
import { Writers } from './writers.ts'

const kills = Number(process.env.KILLS ?? 40)
const seed = Number(process.env.SEED ?? systemClock.now() % 1_000_000)
/** On a machine that is too busy the usual form ends early, but not before this many kills. */
const usualMs = 150_000
const killsMinimum = 15
const writingMsMaximum = 500
const startingMsMaximum = 1_500

/** Two run at once, so that the others wait for hardware, and starts and waits are killed as well. */
const env = { PADDOCK_COMPUTE_LOCAL_CPU_SLOTS: '3', PADDOCK_LOG_LEVEL: 'warn' }

type Moment = 'starting' | 'writing'
type Victims = 'its process group' | 'all but engines' | 'engines too'

describe('SIGKILL of everything', { skip: procOnly }, () => {
  const place = new Place()
  const random = new Random(seed)
  const writers = new Writers(seed)
  /** Chosen by the first start; a client's address stays. */
  let port = 0
  let anchorEngine: { pid: number; start: string } | null = null

  after(() => place.remove())

  it(`${kills} times (SEED=${seed})`, async (t) => {
    const began = performance.now()
    let made = 0
    const first = await start()
    await first.deploy('anchor')
    await first.active('anchor')
    await writeAndKill(first, 'its process group')
    for (made = 1; made < kills; made++) {
      if (process.env.KILLS === undefined && performance.now() - began > usualMs && made >= killsMinimum) break
      await round(made)
    }
    const last = await start()
    await check(last, 'at the end')
    await writers.clear(last.native)
    await last.native.deleteDeployment('anchor')
    await until(systemClock, 'no engine is left', 20_000, () => place.processes('engine', 'keeper').length === 0)
    await last.stop()
    const outages = [...writers.outages].map(([code, times]) => `${times} × ${code}`).join(', ')
    t.diagnostic(`${made} kills, ${writers.acknowledged} writes acknowledged, not answered: ${outages}`)
  })

  async function round(number: number): Promise<void> {
    const moment: Moment = random.chance(0.4) ? 'starting' : 'writing'
    const victims = random.weighted<Victims>({ 'its process group': 5, 'all but engines': 4, 'engines too': 1 })
    const what = `kill ${number}, ${moment}, ${victims}`
    try {
      if (moment === 'starting') return await startAndKill(victims)
      const server = await start()
      await check(server, what)
      await writeAndKill(server, victims)
    } catch (error) {
      throw new Error(`${what} (SEED=${seed}): ${(error as Error).message}`, { cause: error })
    }
  }

  async function start(): Promise<Server> {
    const server = await startServer(place, { port, env, ownGroup: true })
    port = server.port
    return server
  }

  async function startAndKill(victims: Victims): Promise<void> {
    const run = new Run(place, { port, env, ownGroup: true })
    await systemClock.sleep(random.int(0, startingMsMaximum))
    assert.ok(!run.isOver, `it refused to start: ${run.output}`)
    await kill(run, victims)
  }

  async function writeAndKill(server: Server, victims: Victims): Promise<void> {
    const writing = writers.write(server, 3)
    await systemClock.sleep(random.int(0, writingMsMaximum))
    await kill(server.run, victims)
    await writing.end()
  }

  async function kill(run: Run, victims: Victims): Promise<void> {
    process.kill(-run.child.pid!, 'SIGKILL')
    const spared = victims === 'engines too' ? [] : ['engine', 'keeper']
    if (victims !== 'its process group')
      for (const one of place.processes()) if (!spared.includes(one.role)) signalProcess(one, 'SIGKILL')
    if (victims === 'engines too') anchorEngine = null
    await run.ended
  }

  /** One of each part, nothing that nobody owns, all that was acknowledged, and the anchor answers. */
  async function check(server: Server, what: string): Promise<void> {
    for (const role of ['supervisor', 'control', 'gateway', 'postmaster'] as const) place.process(role)
    await writers.verify(server)
    const answer = await server.openai().chat.completions.create({
      model: 'anchor',
      messages: [{ role: 'user', content: 'Still there?' }],
      max_tokens: 2,
    })
    assert.equal(answer.object, 'chat.completion', what)
    await until(systemClock, 'every engine belongs to a deployment', 20_000, () => everyEngineIsOwned(server))
    const [replica] = (await server.native.listReplicas('anchor')).data.filter(({ phase }) => phase === 'ready')
    const engine = place.processes('engine').find(({ replicaId }) => replicaId === replica!.id)
    assert.ok(engine, `the anchor's engine is among: ${shown(place.processes('engine'))}`)
    if (anchorEngine !== null) assert.equal(engine.pid, anchorEngine.pid, 'a kill of the server touches no engine')
    anchorEngine = engine
  }

  async function everyEngineIsOwned(server: Server): Promise<boolean> {
    const owned = new Set<string>()
    for (const { id } of (await server.native.listDeployments()).data)
      for (const { id: replicaId, phase } of (await server.native.listReplicas(id)).data)
        if (phase !== 'gone') owned.add(replicaId)
    const kept = place.processes('keeper').map(({ replicaId }) => replicaId!)
    const running = place.processes('engine').map(({ replicaId }) => replicaId!)
    return new Set(kept).size === kept.length && [...kept, ...running].every((id) => owned.has(id))
  }
})
