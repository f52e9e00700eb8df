/**
 * A provider of hardware that does not exist, with everything that goes wrong with real ones. Nothing runs while nobody
 * asks: what a machine is follows from its data and the time, and what is to happen by itself stands in an agenda that
 * every call settles first. The same clock, script and calls give the same simulation.
 */
import type { Launch } from '../../engines/contract.ts'
import { roll } from '../../kernel/dice.ts'
import { isId, type ReplicaId } from '../../kernel/ids.ts'
import type { Clock } from '../../runtime/clock.ts'
import {
  type ComputeDriver,
  ComputeError,
  type Observation,
  type Offer,
  type Placement,
  type ReplicaOrder,
} from '../contract.ts'
import { Agenda } from './agenda.ts'
import { Capacity, provider, type SimulatedType } from './capacity.ts'
import type { Doorways } from './doorways.ts'
import type { Journal, Kept } from './journal.ts'
import { exitOf, type Machine, observationOf, type Room } from './machine.ts'
import { happens, isMoment } from './moments.ts'
import type { calls, Script, Trouble } from './script.ts'
import { isHere, type KnownTrouble, Troubles } from './troubles.ts'

export interface SimulatedOptions {
  clock: Clock
  script: Script
  types: readonly SimulatedType[]
  cpuSlots?: number
  room: Room
  /** Where the engines listen. */
  place: () => { address: string; port: number }
  /** Absent: what is known is lost with this process. */
  /** null: all engines listen at one place, or none does. */
  doorways: () => Doorways | null
  journal?: Journal
  kept?: Kept | null
}

/** An order whose launch line is made. */
export interface Order {
  id: ReplicaId
  placement: Placement
  launch: Launch
}

type Call = (typeof calls)[number]

export class SimulatedCompute implements ComputeDriver {
  readonly name = provider
  readonly #options: SimulatedOptions
  readonly #clock: Clock
  readonly #room: Room
  readonly #capacity: Capacity
  readonly #troubles: Troubles
  readonly #agenda = new Agenda()
  readonly #machines = new Map<ReplicaId, Machine>()
  #created = 0

  constructor(options: SimulatedOptions) {
    const { clock, script, types, cpuSlots = 8, room, kept = null } = options
    this.#options = options
    this.#clock = clock
    this.#room = room
    this.#capacity = new Capacity(types, script.units, cpuSlots)
    this.#troubles = new Troubles(script.seed)
    for (const machine of kept?.machines ?? []) this.#bring(machine)
    this.#created = kept?.machines.length ?? 0
    this.#troubles.begin(script.troubles, kept?.troubles ?? [], clock.now())
    for (const known of this.#troubles.list()) this.#schedule(known)
    this.#keepTroubles()
  }

  /** What happens by itself next, ms since epoch; null = nothing. */
  get nextAt(): number | null {
    return this.#agenda.nextAt
  }

  /** Lets happen what is due. Every call does so first; whoever wants it in time calls it at `nextAt`. */
  settle(): number {
    const now = this.#clock.now()
    this.#agenda.settle(now)
    return now
  }

  async offers(): Promise<Offer[]> {
    const now = await this.#enter('offers')
    return this.#capacity.offers(this.#troubles, now)
  }

  create(order: ReplicaOrder): Promise<void> {
    return this.place({ ...order, launch: () => launchOf(order, this.#options.place()) })
  }

  /** The same for an order whose launch line is made elsewhere. */
  async place(order: Omit<Order, 'launch'> & { launch: Launch | (() => Launch) }): Promise<void> {
    const now = await this.#enter('create')
    const { id, placement } = order
    if (!isId('rep', id)) throw new ComputeError('rejected', `"${id}" is no replica id.`)
    const known = this.#machines.get(id)
    if (known !== undefined && known.goneAt !== null) throw new ComputeError('rejected', `${id} is being removed.`)
    if (known === undefined) {
      this.#admit(placement, now)
      this.#make({ id, placement, launch: typeof order.launch === 'function' ? order.launch() : order.launch }, now)
    }
    const again = this.#troubles.strike('create_twice', now)
    const { launch } = this.#machines.get(id)!.engine ?? {}
    if (again !== null && launch !== undefined)
      this.#agenda.add(now + again.after_seconds * 1000, (at) => this.#make({ id, placement, launch }, at))
    await this.#leave('create')
  }

  async observe(id: ReplicaId): Promise<Observation> {
    const now = await this.#enter('observe')
    const machine = this.#machines.get(id)
    return machine === undefined ? { state: 'not_found' } : observationOf(machine, now, this.#options.place())
  }

  async observeAll(ids: readonly ReplicaId[]): Promise<Map<ReplicaId, Observation>> {
    const now = await this.#enter('observe')
    const place = this.#options.place()
    return new Map(
      ids.map((id): [ReplicaId, Observation] => {
        const machine = this.#machines.get(id)
        return [id, machine === undefined ? { state: 'not_found' } : observationOf(machine, now, place)]
      }),
    )
  }

  async list(): Promise<ReplicaId[]> {
    await this.#enter('list')
    return [...this.#machines.keys()]
  }

  async delete(id: ReplicaId, { graceSeconds }: { graceSeconds?: number } = {}): Promise<void> {
    const now = await this.#enter('delete')
    const machine = this.#machines.get(id)
    if (machine !== undefined) {
      const { engine, exit } = machine
      const takes = exit === null && engine?.fate.stubborn ? (graceSeconds ?? engine.launch.stopGraceSeconds) * 1000 : 0
      this.#remove(machine, Math.min(machine.goneAt ?? Number.POSITIVE_INFINITY, now + takes))
      this.#agenda.settle(now)
    }
    await this.#leave('delete')
  }

  async logs(id: ReplicaId, lines: number): Promise<string[]> {
    const now = await this.#enter('logs')
    const machine = this.#machines.get(id)
    if (machine === undefined) throw new ComputeError('not_found', `There is no machine ${id}.`)
    const { engine } = machine
    if (engine === null || lines <= 0) return []
    return this.#room.lines(engine.launch, engine.fate, now).slice(-lines)
  }

  /** Nothing here ends for want of anybody. */
  async renew(): Promise<void> {}

  /** Stops every engine; how it ended stays for whoever looks next. */
  endAll(): void {
    const now = this.settle()
    for (const machine of this.#machines.values()) this.#end(machine, now, null)
  }

  addTrouble(spec: Trouble): KnownTrouble {
    const known = this.#troubles.add(spec, this.#clock.now())
    this.#schedule(known)
    this.#keepTroubles()
    this.settle()
    return known
  }

  endTrouble(id: string): boolean {
    const was = this.#troubles.end(id, this.settle())
    this.#keepTroubles()
    return was
  }

  troubles(): readonly KnownTrouble[] {
    return this.#troubles.list()
  }

  /** The machines that answer now, oldest first. */
  running(): Machine[] {
    const now = this.settle()
    return [...this.#machines.values()].filter(
      ({ exit, goneAt, engine }) => exit === null && goneAt === null && engine !== null && now >= engine.fate.readyAt,
    )
  }

  async #enter(call: Call): Promise<number> {
    const now = this.settle()
    const away = this.#troubles.strike('unavailable', now, (spec) => spec.call === undefined || spec.call === call)
    if (away !== null) throw new ComputeError('unavailable', 'The simulated provider does not answer.')
    const slow = this.#troubles.strike('slow_reply', now, (spec) => spec.call === undefined || spec.call === call)
    if (slow === null) return now
    await this.#clock.sleep(slow.seconds * 1000)
    return this.settle()
  }

  /** What was asked is done; whether anybody learns of it is another matter. */
  async #leave(call: 'create' | 'delete'): Promise<void> {
    const suits = (spec: { call?: string | undefined }) => spec.call === undefined || spec.call === call
    if (this.#troubles.strike('lost_reply', this.#clock.now(), suits) !== null)
      throw new ComputeError('unavailable', 'The reply of the simulated provider was lost.')
  }

  #admit(placement: Placement, now: number): void {
    const what = `${placement.gpuCount} × ${placement.gpuType} in ${placement.region}`
    const room = this.#capacity.room(placement, this.#troubles, now)
    if (room === 'unknown') throw new ComputeError('rejected', `The simulated fleet does not have ${what}.`)
    if (room === 'full') throw new ComputeError('capacity_short', `${what}: none is free.`)
  }

  #make({ id, placement, launch }: Order, now: number): void {
    if (this.#machines.has(id)) return
    const { script } = this.#options
    this.#created += 1
    const here = (spec: Trouble) => isHere(spec, placement)
    const slow = (this.#troubles.strike('slow_start', now, here)?.factor ?? 1) * this.#jitter()
    const hardwareAt = now + script.start.hardware_seconds * 1000 * slow
    const startsAt = hardwareAt + script.start.files_seconds * 1000 * slow
    const line = { ...launch, argv: [launch.argv[0]!, ...script.engine_args, ...launch.argv.slice(1)] }
    const fate = foreseen(() => this.#room.foresee(line, startsAt, slow))
    const machine: Machine = { id, placement, hardwareAt, engine: { launch: line, fate }, exit: null, goneAt: null }
    const failing = this.#troubles.strike('failing_start', now, here)
    if (failing !== null) {
      const at = failing.at === 'load' ? fate.loadedAt : fate.readyAt
      fate.end = { at, code: failing.exit_code, signal: null, lines: failing.say }
    }
    const short = this.#troubles.strike('short_life', now, here)
    const shortAt = fate.readyAt + (short?.after_seconds ?? 0) * 1000
    if (short?.how === 'crash' && fate.end === null)
      fate.end = { at: shortAt, code: short.exit_code, signal: null, lines: short.say }
    if (short?.how === 'hang') fate.hang = { from: shortAt, to: null }
    this.#bring(machine)
    if (short?.how === 'vanish') this.#agenda.add(shortAt, () => this.#forget(machine))
  }

  #jitter(): number {
    const { jitter, seed } = this.#options.script
    return jitter === 0 ? 1 : 1 + jitter * (2 * roll(seed, 'jitter', this.#created) - 1)
  }

  /** A machine comes into being, or back after this process was started anew. */
  #bring(machine: Machine): void {
    this.#machines.set(machine.id, machine)
    if (machine.exit === null) this.#capacity.take(machine.placement)
    const { engine, goneAt } = machine
    if (engine !== null && machine.exit === null) {
      this.#room.open(engine.launch, engine.fate)
      void this.#openDoorway(machine)
    }
    if (engine?.fate.end && machine.exit === null) this.#agenda.add(engine.fate.end.at, () => this.#noteEnd(machine))
    if (goneAt !== null) this.#agenda.add(goneAt, () => this.#forget(machine))
    this.#options.journal?.keep(machine)
  }

  async #openDoorway(machine: Machine): Promise<void> {
    const doorways = this.#options.doorways()
    if (doorways === null) return
    const before = machine.port ?? 0
    machine.port = null
    const port = await doorways.open(machine.id, before).catch(() => null)
    if (this.#machines.get(machine.id) !== machine || machine.exit !== null) return doorways.close(machine.id)
    // Somebody has its port: it can be reached no more.
    if (port === null) return this.#end(machine, this.#clock.now(), null)
    machine.port = port
    this.#options.journal?.keep(machine)
  }

  #end(machine: Machine, at: number, how: { code: number; lines: string[] } | null): void {
    const { engine, exit } = machine
    if (engine === null || exit !== null) return
    if (engine.fate.end !== null && engine.fate.end.at <= at) return
    engine.fate.end = { at, code: how?.code ?? null, signal: null, lines: how?.lines ?? [] }
    this.#noteEnd(machine)
  }

  #noteEnd(machine: Machine): void {
    if (machine.exit !== null || this.#machines.get(machine.id) !== machine) return
    machine.exit = exitOf(machine, this.#room)
    this.#capacity.giveBack(machine.placement)
    this.#room.close(machine.engine!.launch)
    this.#options.doorways()?.close(machine.id)
    this.#options.journal?.keep(machine)
  }

  #remove(machine: Machine, goneAt: number): void {
    if (machine.goneAt !== null && machine.goneAt <= goneAt) return
    machine.goneAt = goneAt
    this.#options.journal?.keep(machine)
    this.#agenda.add(goneAt, () => this.#forget(machine))
  }

  #forget(machine: Machine): void {
    if (this.#machines.get(machine.id) !== machine) return
    this.#machines.delete(machine.id)
    if (machine.exit === null) this.#capacity.giveBack(machine.placement)
    if (machine.engine !== null) this.#room.close(machine.engine.launch)
    this.#options.doorways()?.close(machine.id)
    this.#options.journal?.drop(machine.id)
  }

  #schedule(known: KnownTrouble): void {
    const { spec, from } = known
    if (!isMoment(spec) || known.struck > 0) return
    this.#agenda.add(from, (at) => {
      known.struck += 1
      this.#happen(spec, at, known.to)
      this.#keepTroubles()
    })
  }

  #happen(spec: Parameters<typeof happens>[0], at: number, to: number | null): void {
    happens(spec, at, to, {
      capacity: this.#capacity,
      clock: this.#clock,
      machines: this.#machines,
      bring: (machine) => this.#bring(machine),
      end: (machine, how) => this.#end(machine, at, how),
      forget: (machine) => this.#forget(machine),
      changed: (machine) => {
        this.#room.changed(machine.engine!.launch)
        this.#options.journal?.keep(machine)
      },
    })
  }

  #keepTroubles(): void {
    this.#options.journal?.keepTroubles(this.#troubles.list())
  }
}

/** A simulated machine has nothing of a host but its address. */
const emptyHost = { threads: 1, gpuIds: [], modelPath: '', node: '', packageRoot: '' }

/** Throws ComputeError rejected. */
export function launchOf(order: ReplicaOrder, place: { address: string; port: number }): Launch {
  return foreseen(() => order.launch({ address: place.address, port: place.port, ...emptyHost }))
}

function foreseen<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new ComputeError('rejected', `The engine cannot be launched here: ${(error as Error).message}`, error)
  }
}
