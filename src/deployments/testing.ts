/**
 * For tests of the reconciler: the real database and the real turns, on machines that do what the test says, by a clock
 * that the test moves. Nothing here waits: a turn is taken when the test takes it.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Access } from '../access/commands.ts'
import { Scaling } from '../autoscaling/commands.ts'
import { type ComputeDriver, ComputeError, type Observation, type Offer } from '../compute/contract.ts'
import { availableEngines } from '../engines/registry.ts'
import { Secret } from '../kernel/secret.ts'
import { loadCatalogue, starterModelId } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import type { Clock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import { packageRoot } from '../runtime/self.ts'
import { claim } from '../store/leases.ts'
import { type TestDatabase, testDatabase } from '../store/testing.ts'
import { Deployments } from './commands.ts'
import { Lifecycle } from './lifecycle.ts'
import type { PlanSettings } from './situation.ts'
import * as store from './store.ts'
import { type TurnWorld, turn } from './turn.ts'

export const testSettings: PlanSettings = {
  startDeadlineMs: 600_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 2_000,
  backoffMaximumMs: 300_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 600_000,
}

/** Moves when it is told to. */
export class HandClock implements Clock {
  #ms = Date.UTC(2026, 10, 21, 9)
  readonly #sleeping = new Set<{ until: number; wake: () => void }>()
  now = () => this.#ms
  monotonicMs = () => this.#ms
  sleep = (ms: number, signal?: AbortSignal) =>
    new Promise<void>((wake) => {
      const sleeper = { until: this.#ms + ms, wake }
      this.#sleeping.add(sleeper)
      signal?.addEventListener('abort', () => this.#end(sleeper), { once: true })
    })
  pass(ms: number): void {
    this.#ms += ms
    for (const sleeper of this.#sleeping) if (sleeper.until <= this.#ms) this.#end(sleeper)
  }
  #end(sleeper: { until: number; wake: () => void }): void {
    this.#sleeping.delete(sleeper)
    sleeper.wake()
  }
}

export type Moment = 'offers' | 'observe' | 'create' | 'delete'

interface Machine {
  server: Server | null
  port: number
  /** What its engine says: `silent` = the process is there, and nobody listens. */
  engine: 'loading' | 'ready' | 'silent'
  /** Answer of the health route. */
  health: { status: number; body: string }
  exit: Extract<Observation, { state: 'exited' }>['exit'] | null
  startedAt: number
}

/** Hardware of one kind, `cpu` "here". Machines start as `next` says and change when the test changes them. */
export class Machines implements ComputeDriver {
  readonly name = 'test'
  readonly all = new Map<string, Machine>()
  slots: number
  next: 'ready' | 'loading' | 'crash' | 'rejected' = 'ready'
  /** What happens meanwhile, once, when the driver is asked that. */
  readonly meanwhile = new Map<Moment, () => Promise<unknown>>()
  /** Every create that was acknowledged. */
  created = 0
  readonly #clock: Clock

  constructor(slots: number, clock: Clock) {
    this.slots = slots
    this.#clock = clock
  }

  async offers(): Promise<Offer[]> {
    await this.#meanwhile('offers')
    const freeUnits = Math.max(0, this.slots - this.all.size)
    return [{ provider: 'test', gpuType: 'cpu', region: 'here', totalUnits: this.slots, freeUnits, emulated: false }]
  }

  async create({ id }: { id: string }): Promise<void> {
    await this.#meanwhile('create')
    if (this.all.has(id)) return
    if (this.next === 'rejected') throw new ComputeError('rejected', 'The image does not exist.')
    if (this.all.size >= this.slots) throw new ComputeError('capacity_short', 'No machine is free.')
    const machine: Machine = {
      server: null,
      port: 0,
      engine: 'loading',
      health: { status: 503, body: '{"status":"loading","phase":"load","progress":0}' },
      exit: null,
      startedAt: this.#clock.now(),
    }
    this.all.set(id, machine)
    this.created += 1
    if (this.next === 'crash') this.kill(id, 'out of memory')
    else await this.say(id, this.next === 'ready' ? 'ready' : 'loading')
  }

  async observe(id: string): Promise<Observation> {
    await this.#meanwhile('observe')
    const machine = this.all.get(id)
    if (machine === undefined) return { state: 'not_found' }
    if (machine.exit !== null) return { state: 'exited', exit: machine.exit }
    return { state: 'running', address: '127.0.0.1', port: machine.port, startedAt: machine.startedAt }
  }

  async list(): Promise<never[]> {
    return [...this.all.keys()] as never[]
  }

  async delete(id: string): Promise<void> {
    await this.#meanwhile('delete')
    this.all.get(id)?.server?.close()
    this.all.get(id)?.server?.closeAllConnections()
    this.all.delete(id)
  }

  async logs(): Promise<string[]> {
    return []
  }

  async renew(): Promise<void> {}

  /** What the engine says from now on, as the embedded one would; `body` replaces what its health route answers. */
  async say(id: string, engine: Machine['engine'], body?: object): Promise<void> {
    const machine = this.all.get(id)!
    machine.engine = engine
    const usual = engine === 'ready' ? { status: 'ok' } : { status: 'loading', phase: 'load', progress: 0 }
    machine.health = { status: engine === 'ready' ? 200 : 503, body: JSON.stringify(body ?? usual) }
    if (engine === 'silent') {
      machine.server?.close()
      machine.server?.closeAllConnections()
      machine.server = null
      return
    }
    if (machine.server === null) await this.#listen(machine)
  }

  kill(id: string, lastLine: string): void {
    const machine = this.all.get(id)!
    machine.server?.close()
    machine.server?.closeAllConnections()
    const at = this.#clock.now()
    machine.exit = { at, code: 1, signal: null, lastLines: [lastLine], why: 'The engine ended with status 1.' }
  }

  async close(): Promise<void> {
    for (const id of [...this.all.keys()]) await this.delete(id)
  }

  async #meanwhile(moment: Moment): Promise<void> {
    const once = this.meanwhile.get(moment)
    this.meanwhile.delete(moment)
    await once?.()
  }

  #listen(machine: Machine): Promise<void> {
    const server = createServer((_request, response) => {
      response.writeHead(machine.health.status, { 'content-type': 'application/json' })
      response.end(machine.health.body)
    })
    machine.server = server
    return new Promise((done) => {
      server.listen(machine.port, '127.0.0.1', () => {
        machine.port = (server.address() as AddressInfo).port
        done()
      })
    })
  }
}

export interface Workshop {
  db: TestDatabase
  clock: HandClock
  machines: Machines
  world: TurnWorld
  deployments: Deployments
  lifecycle: Lifecycle
  scaling: Scaling
  operator: Awaited<ReturnType<Access['authenticate']>>
  /** One turn for each that is due now, one after the other; how many there were. */
  takeTurns(): Promise<number>
  /** Takes turns and lets time pass between them until `done`; throws with what it says of itself after `seconds`. */
  untilSo(id: string, done: (seen: Seen) => boolean, seconds?: number): Promise<Seen>
  look(id: string): Promise<Seen>
  make(name: string, over?: object): Promise<string>
  close(): Promise<void>
}

export interface Seen {
  row: store.DeploymentRow
  replicas: store.ReplicaRow[]
  route: NonNullable<Awaited<ReturnType<typeof store.routeOf>>>
}

const stepMs = 250

export async function openWorkshop(slots: number, settings: Partial<PlanSettings> = {}): Promise<Workshop> {
  const db = await testDatabase()
  const clock = new HandClock()
  const machines = new Machines(slots, clock)
  const world: TurnWorld = {
    db,
    clock,
    seal: new Seal(new Secret('a secret of the test')),
    log: silentLog,
    computes: new Map<string, ComputeDriver>([['test', machines]]),
    engines: availableEngines(),
    models: loadCatalogue({ allowPaths: [packageRoot], starterStandsIn: false }),
    hardware: loadHardware({ cpu: '3.6' }),
    settings: { ...testSettings, ...settings },
    stopGraceSeconds: 1,
  }
  const limits = { replicasMaximum: 10, cooldownMinimumSeconds: 120, idleTimeoutMinimumSeconds: 60, quotaGpus: 8 }
  const context = { ...world, ...limits, wake: () => {} }
  const access = new Access(db, world.seal, clock)
  await access.ensureOperator('sk_operator_of_the_test')
  const operator = await access.authenticate('Bearer sk_operator_of_the_test', undefined)
  const deployments = new Deployments(context)

  async function takeTurns(): Promise<number> {
    const leases = await claim(db, {
      table: 'deployments',
      owner: 'test',
      now: clock.now(),
      leaseMs: 60_000,
      limit: 10,
    })
    for (const lease of leases) await turn(world, lease)
    return leases.length
  }

  async function look(id: string): Promise<Seen> {
    const row = (await store.deploymentById(db, id))!
    return { row, replicas: await store.replicasOf(db, [id], 100), route: (await store.routeOf(db, id))! }
  }

  async function untilSo(id: string, done: (seen: Seen) => boolean, seconds = 60): Promise<Seen> {
    for (const end = clock.now() + seconds * 1000; ; clock.pass(stepMs)) {
      await takeTurns()
      const seen = await look(id)
      if (done(seen)) return seen
      if (clock.now() < end) continue
      const { phase, plan_why, starts } = seen.row
      const said = { phase, plan_why, starts, replicas: seen.replicas.map((r) => [r.id, r.phase, r.exit?.why]) }
      throw new Error(`not within ${seconds} s: ${JSON.stringify(said)}`)
    }
  }

  return {
    db,
    clock,
    machines,
    world,
    deployments,
    lifecycle: new Lifecycle(context),
    scaling: new Scaling(context),
    operator,
    takeTurns,
    untilSo,
    look,
    make: async (name, over = {}) => {
      const wish = { name, modelId: starterModelId, gpuType: 'cpu', ...over }
      return (await deployments.create(operator, wish, null)).id
    },
    close: async () => {
      await machines.close()
      await db.close()
    },
  }
}
