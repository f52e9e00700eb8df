/**
 * Where a scenario is played: the real commands, loops and database, simulated hardware, and a clock that moves from one
 * thing that is due to the next. A stand-in says what a gateway would: how many ask, and who of them is held.
 */
import { Access } from '../../src/access/commands.ts'
import { report } from '../../src/access/gateways.ts'
import { Scaling } from '../../src/autoscaling/commands.ts'
import { Autoscaler } from '../../src/autoscaling/loop.ts'
import { defaultDecideSettings } from '../../src/autoscaling/state.ts'
import type { ComputeDriver } from '../../src/compute/contract.ts'
import { makeScript, type ScriptInput, type TroubleInput, trouble } from '../../src/compute/simulated/script.ts'
import { CalendarLoop } from '../../src/deployments/calendar-loop.ts'
import { nextCalendarAt } from '../../src/deployments/calendar-store.ts'
import { Deployments } from '../../src/deployments/commands.ts'
import type { DeploymentContext } from '../../src/deployments/context.ts'
import { Lifecycle } from '../../src/deployments/lifecycle.ts'
import { DeploymentLoop } from '../../src/deployments/loop.ts'
import type { Route } from '../../src/deployments/routes.ts'
import { Schedules } from '../../src/deployments/schedules.ts'
import type { DeploymentWish } from '../../src/deployments/spec.ts'
import { routesSince } from '../../src/deployments/store.ts'
import { testLimits } from '../../src/deployments/testing/limits.ts'
import { HandClock } from '../../src/deployments/testing/machines.ts'
import { testSettings } from '../../src/deployments/testing/workshop.ts'
import { enginesOf } from '../../src/engines/registry.ts'
import type { StoredEvent } from '../../src/events/catalogue.ts'
import { Secret } from '../../src/kernel/secret.ts'
import { loadCatalogue } from '../../src/models/catalogue.ts'
import { loadHardware } from '../../src/models/hardware.ts'
import { type Log, silentLog } from '../../src/runtime/log.ts'
import { Seal } from '../../src/runtime/seal.ts'
import { makeSimulation, type Simulation } from '../../src/server-simulation.ts'
import { type TestDatabase, testDatabase } from '../../src/store/testing.ts'
import { eventText, type Line } from './transcript.ts'

export interface StageOptions {
  /** When it begins; default: a Saturday in November. */
  beginsAt?: number
  /** How often the loops look when nothing is due, seconds. */
  everySeconds?: number
  script?: ScriptInput
}

const operatorKey = 'sk_operator_of_the_scenario'
const sweepEveryMs = 30_000

interface Loops {
  reconciler: DeploymentLoop
  autoscaler: Autoscaler
  calendar: CalendarLoop
}

export class Stage {
  readonly lines: Line[] = []
  readonly clock = new HandClock()
  readonly beganAt: number
  deployments!: Deployments
  lifecycle!: Lifecycle
  scaling!: Scaling
  schedules!: Schedules
  operator!: Awaited<ReturnType<Access['authenticate']>>
  readonly #options: StageOptions
  readonly #simulation: Simulation
  readonly #compute: ComputeDriver
  #db!: TestDatabase
  #loops!: Loops
  #makeLoops: () => Loops = () => this.#loops
  #seq = 0
  #tickAt = 0
  #sweepAt = 0
  /** Name by id, and how many ask for each. */
  readonly #names = new Map<string, string>()
  readonly #load = new Map<string, number>()
  readonly #held = new Map<string, number>()
  readonly #arrived = new Map<string, number>()
  #routes = new Map<string, Route>()
  #routesVersion = 0
  /** The process dies right after the next create was done, before it hears of it. */
  #diesAtCreate = false
  #lastWords = ''
  #died: Promise<void> = new Promise(() => {})
  #die: () => void = () => {}
  #failed: (error: Error) => void = () => {}
  readonly #failure = new Promise<never>((_, failed) => {
    this.#failed = failed
  })

  constructor(options: StageOptions) {
    this.#options = options
    if (options.beginsAt !== undefined) this.clock.pass(options.beginsAt - this.clock.now())
    this.beganAt = this.clock.now()
    this.#failure.catch(() => {})
    this.#simulation = makeSimulation({
      clock: this.clock,
      script: makeScript({ ports: 'shared', ...options.script }),
      types: loadHardware({}).all(),
    })
    this.#compute = this.#mortal(this.#simulation.compute)
  }

  async open(): Promise<void> {
    const db = await testDatabase()
    this.#db = db
    await this.#simulation.listen()
    const log: Log = { ...silentLog, error: (fields) => this.#failed(new Error(JSON.stringify(fields))) }
    const parts = {
      db,
      clock: this.clock,
      seal: new Seal(new Secret('a secret of the scenario')),
      log,
      computes: new Map([['simulated', this.#compute]]),
      engines: enginesOf('simulated'),
      models: loadCatalogue({ allowPaths: [], starterStandsIn: false, simulated: true }),
      hardware: loadHardware({}),
    }
    const context: DeploymentContext & typeof parts = { ...parts, ...testLimits, wake: () => {} }
    const access = new Access(db, parts.seal, this.clock)
    await access.ensureOperator(operatorKey)
    this.operator = await access.authenticate(`Bearer ${operatorKey}`, undefined)
    this.deployments = new Deployments(context)
    this.lifecycle = new Lifecycle(context)
    this.scaling = new Scaling(context)
    this.schedules = new Schedules(context)
    this.#makeLoops = () => ({
      reconciler: new DeploymentLoop({ ...parts, settings: testSettings, stopGraceSeconds: 1 }, 'scenario'),
      autoscaler: new Autoscaler({ ...context, decideSettings: defaultDecideSettings }),
      calendar: new CalendarLoop(context),
    })
    this.#loops = this.#makeLoops()
    await this.#collect()
    this.lines.length = 0
  }

  async close(): Promise<void> {
    await this.#simulation.close()
    await this.#db?.close()
  }

  /** Somebody does something, and what follows at once follows. */
  async person(does: string, work: () => Promise<unknown>): Promise<void> {
    this.#say(`» ${does}`)
    await work()
    await this.#settle()
  }

  /** What is to be seen that no event tells. */
  note(text: string): void {
    this.#say(`· ${text}`)
  }

  async deploy(name: string, wish: Partial<DeploymentWish>, does: string): Promise<void> {
    await this.person(does, async () => {
      const wished = { name, modelId: 'llama-3.3-70b-instruct', gpuType: 'h100', ...wish }
      const { id } = await this.deployments.create(this.operator, wished, null)
      this.#names.set(id, name)
    })
  }

  /** So many ask at once from now on, each again as soon as it was answered. */
  async ask(name: string, requests: number, does: string): Promise<void> {
    this.#say(`» ${does}`)
    this.#load.set(this.#idOf(name), requests)
    await this.#tick()
    await this.#settle()
  }

  trouble(spec: TroubleInput, does: string): void {
    this.#say(`» ${does}`)
    this.#simulation.compute.addTrouble(trouble.parse(spec))
  }

  async pass(seconds: number): Promise<void> {
    await this.#passUntil(this.clock.now() + seconds * 1000, async () => false)
  }

  /** Throws with what it is when it does not come to that within `seconds`. */
  async until(name: string, phase: string, seconds = 600): Promise<void> {
    const is = async () => (await this.deployments.get(this.operator, name)).phase === phase
    await this.#passUntil(this.clock.now() + seconds * 1000, is)
    if (await is()) return
    const { phase: now, reason } = await this.deployments.get(this.operator, name)
    throw new Error(`${name} is ${now}, not ${phase}: ${reason?.message}`)
  }

  /** Control is killed when the provider has done the next create and before it can be told so. */
  dieAtNextCreate(): void {
    this.#diesAtCreate = true
    this.#died = new Promise((died) => {
      this.#die = died
    })
  }

  /** A new process over the same database and the same provider. */
  async restart(does: string): Promise<void> {
    this.#say(`» ${does}`)
    this.#loops = this.#makeLoops()
    this.#died = new Promise(() => {})
    await this.#settle()
  }

  async machines(): Promise<number> {
    return (await this.#simulation.compute.list()).length
  }

  async cost(name: string): Promise<string> {
    const { cost } = await this.deployments.get(this.operator, name)
    return `$${(Number(cost) / 1e6).toFixed(4)}`
  }

  async #passUntil(end: number, done: () => Promise<boolean>): Promise<void> {
    await this.#settle()
    while (this.clock.now() < end && !(await done())) {
      const next = await this.#nextAt(end)
      this.clock.pass(next - this.clock.now())
      if (this.clock.now() >= this.#tickAt) await this.#tick()
      await this.#settle()
    }
  }

  /** The next moment at which anything may happen. */
  async #nextAt(end: number): Promise<number> {
    const moments = [
      end,
      this.#tickAt,
      await this.#loops.reconciler.nextAt(),
      this.#simulation.compute.nextAt,
      await nextCalendarAt(this.#db),
    ]
    const now = this.clock.now()
    // In whole milliseconds, as clocks are.
    return Math.min(...moments.filter((at) => at !== null).map((at) => Math.max(now + 1, Math.ceil(at))))
  }

  /** What happens once a second: the gateway reports, the autoscaler and the calendar look; now and then the sweep. */
  async #tick(): Promise<void> {
    const now = this.clock.now()
    this.#tickAt = now + (this.#options.everySeconds ?? 1) * 1000
    await this.#reportDemand(now)
    await Promise.race([this.#loops.autoscaler.tick(), this.#failure])
    if (now < this.#sweepAt) return
    this.#sweepAt = now + sweepEveryMs
    await Promise.race([this.#loops.reconciler.sweep(), this.#failure])
  }

  async #settle(): Promise<void> {
    this.#simulation.compute.settle()
    await Promise.race([this.#loops.calendar.tick(), this.#failure])
    await Promise.race([this.#loops.reconciler.settle(), this.#died, this.#failure])
    await this.#collect()
    if (this.#lastWords !== '') this.#say(this.#lastWords)
    this.#lastWords = ''
    await this.#readRoutes()
  }

  async #readRoutes(): Promise<void> {
    for (const route of await routesSince(this.#db, this.#routesVersion)) {
      this.#routes.set(route.deploymentId, route)
      this.#routesVersion = Math.max(this.#routesVersion, route.version)
    }
    for (const [id, requests] of this.#load) this.#tellHeld(id, this.#readyOf(id).length === 0 ? requests : 0)
  }

  #readyOf(id: string) {
    return this.#routes.get(id)?.replicas.filter(({ state }) => state === 'ready') ?? []
  }

  /** Requests are with the replicas that are ready, evenly; where there is none they are held. */
  async #reportDemand(now: number): Promise<void> {
    await this.#readRoutes()
    const inFlight: Record<string, number> = {}
    const demand: Record<string, unknown> = {}
    for (const [id, requests] of this.#load) {
      const ready = this.#readyOf(id)
      for (const [at, { id: replica }] of ready.entries())
        inFlight[replica] = Math.floor((requests + at) / ready.length)
      const held = ready.length === 0 ? requests : 0
      const arrivals = (this.#arrived.get(id) ?? 0) + requests
      this.#arrived.set(id, arrivals)
      demand[id] = { held, arrivals, rejected: 0, lastAt: requests > 0 ? now : 0, ttftMsP90: null }
    }
    // It knows every route at once: what takes time here is elsewhere.
    await report(this.#db, { id: 'gw_scenario', keyringVersion: 1e9, routesVersion: 1e9, inFlight, demand }, now)
  }

  #tellHeld(id: string, held: number): void {
    const before = this.#held.get(id) ?? 0
    this.#held.set(id, held)
    const name = this.#names.get(id)
    if (held > 0 && before === 0)
      this.#say(`  gateway: ${requestsText(held)} for ${name} ${held === 1 ? 'is' : 'are'} held`)
    if (held === 0 && before > 0)
      this.#say(`  gateway: ${requestsText(before)} for ${name} ${before === 1 ? 'is' : 'are'} held no more`)
  }

  async #collect(): Promise<void> {
    const rows = await this.#db.query<{
      seq: string
      deployment_id: string | null
      type: StoredEvent['type']
      at: Date
      data: StoredEvent['data']
    }>('select seq, deployment_id, type, at, data from events where seq > $1 order by seq', [this.#seq])
    this.#seq = Math.max(this.#seq, ...rows.map(({ seq }) => Number(seq)))
    const order = [...this.#names.keys()]
    const rank = (id: string | null) => (id === null ? -1 : order.indexOf(id))
    // Turns of two deployments go on at the same time.
    rows.sort((a, b) => a.at.getTime() - b.at.getTime() || rank(a.deployment_id) - rank(b.deployment_id))
    for (const { deployment_id, type, at, data } of rows)
      for (const text of eventText({ seq: 0, id: '', type, at, data }, this.#names.get(deployment_id ?? '') ?? ''))
        if (!silent.has(type)) this.lines.push({ at: at.getTime(), text: `  ${text}` })
  }

  #say(text: string): void {
    this.lines.push({ at: this.clock.now(), text })
  }

  #idOf(name: string): string {
    return [...this.#names].find(([, known]) => known === name)![0]
  }

  /** The driver as a process sees it that dies in the middle. */
  #mortal(compute: ComputeDriver): ComputeDriver {
    return {
      name: compute.name,
      offers: () => compute.offers(),
      create: async (order) => {
        await compute.create(order)
        if (!this.#diesAtCreate) return
        this.#diesAtCreate = false
        this.#lastWords = `✕ control is killed: ${order.id} has its machine, and nobody was told`
        this.#die()
        await new Promise(() => {})
      },
      observe: (id) => compute.observe(id),
      observeAll: (ids) => compute.observeAll!(ids),
      list: () => compute.list(),
      delete: (id, options) => compute.delete(id, options),
      logs: (id, lines) => compute.logs(id, lines),
      renew: (ids) => compute.renew(ids),
    }
  }
}

/** Told by the line of whoever did it. */
const silent = new Set<string>([
  'deployment.created',
  'deployment.changed',
  'deployment.delete_asked',
  'deployment.scaling_changed',
  'deployment.schedule_changed',
  'deployment.start_asked',
  'deployment.stop_asked',
])

function requestsText(count: number): string {
  return count === 1 ? '1 request' : `${count} requests`
}
