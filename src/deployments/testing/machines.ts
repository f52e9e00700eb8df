/** For tests: machines that do what the test says, and a clock that the test moves. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type ComputeDriver,
  ComputeError,
  type Observation,
  type Offer,
  type Placement,
} from '../../compute/contract.ts'
import type { EngineDriver, Readiness } from '../../engines/contract.ts'
import type { Clock } from '../../runtime/clock.ts'

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

/** What is free is asked only where hardware is wanted; `record` comes in every turn, after all that was read. */
export type Moment = 'offers' | 'observe' | 'record' | 'create' | 'delete'

/** Hardware beside the CPUs. `lies`: it is offered, and refused when it is asked for. */
export interface Kind {
  gpuType: string
  region: string
  units: number
  lies?: boolean
}

interface Machine {
  placement: Pick<Placement, 'gpuType' | 'gpuCount' | 'region'>
  server: Server | null
  port: number
  /** What its engine says: `silent` = the process is there, and nobody listens. */
  engine: 'loading' | 'ready' | 'silent'
  /** Answer of the health route. */
  health: { status: number; body: string }
  exit: Extract<Observation, { state: 'exited' }>['exit'] | null
  startedAt: number
}

/** CPUs "here", and whatever else the test puts into `kinds`. Machines start as `next` says and change when the test changes them. */
export class Machines implements ComputeDriver {
  readonly name = 'test'
  readonly all = new Map<string, Machine>()
  slots: number
  kinds: Kind[] = []
  next: 'ready' | 'loading' | 'crash' | 'rejected' = 'ready'
  /** What happens meanwhile, once, when a turn gets there. */
  readonly meanwhile = new Map<Moment, () => Promise<unknown>>()
  /** False: nobody knows what runs. */
  reachable = true
  /** Every create that was acknowledged. */
  created = 0
  readonly #clock: Clock

  constructor(slots: number, clock: Clock) {
    this.slots = slots
    this.#clock = clock
  }

  async offers(): Promise<Offer[]> {
    await this.reach('offers')
    return [{ gpuType: 'cpu', region: 'here', units: this.slots }, ...this.kinds].map((kind) => {
      const { gpuType, region, units: totalUnits } = kind
      return { provider: 'test', gpuType, region, totalUnits, freeUnits: this.free(kind), emulated: false }
    })
  }

  /** Units that nobody has. */
  free({ gpuType, region, units }: Kind): number {
    const here = [...this.all.values()].filter(({ placement }) => placement.gpuType === gpuType)
    const used = here.filter(({ placement }) => placement.region === region)
    return Math.max(0, units - used.reduce((sum, { placement }) => sum + placement.gpuCount, 0))
  }

  async create({ id, placement }: { id: string; placement: Machine['placement'] }): Promise<void> {
    await this.reach('create')
    if (this.all.has(id)) return
    if (this.next === 'rejected') throw new ComputeError('rejected', 'The image does not exist.')
    const cpus = { gpuType: 'cpu', region: 'here', units: this.slots }
    const kind = [cpus, ...this.kinds].find((k) => k.gpuType === placement.gpuType && k.region === placement.region)
    if (kind === undefined || 'lies' in kind || this.free(kind) < placement.gpuCount)
      throw new ComputeError('capacity_short', 'No machine is free.')
    const machine: Machine = {
      placement,
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
    await this.reach('observe')
    const machine = this.all.get(id)
    if (machine === undefined) return { state: 'not_found' }
    if (machine.exit !== null) return { state: 'exited', exit: machine.exit }
    return { state: 'running', address: '127.0.0.1', port: machine.port, startedAt: machine.startedAt }
  }

  async list(): Promise<never[]> {
    return [...this.all.keys()] as never[]
  }

  async delete(id: string): Promise<void> {
    await this.reach('delete')
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

  /** What an engine driver makes of the engine's answer. */
  heard(id: string, engine: Pick<EngineDriver, 'readiness'>): Readiness | null {
    const machine = this.all.get(id)
    if (machine === undefined || machine.exit !== null) return null
    if (machine.engine === 'silent') return engine.readiness(null, '')
    return engine.readiness(machine.health.status, machine.health.body)
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

  async reach(moment: Moment): Promise<void> {
    const once = this.meanwhile.get(moment)
    this.meanwhile.delete(moment)
    await once?.()
    if (!this.reachable && moment !== 'record') throw new ComputeError('unavailable', 'The provider does not answer.')
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
