/**
 * Hardware on paper: machines that boot, die, hang and vanish; a provider that is away, loses its replies, carries out
 * what it was asked long after it was given up, and twice.
 */
import type { Observation, Offer } from '../../src/compute/contract.ts'
import type { Readiness } from '../../src/engines/contract.ts'
import type { Random } from './random.ts'

export interface Machine {
  id: string
  units: number
  state: 'booting' | 'up' | 'dead'
  bornAt: number
  diedAt: number | null
  /** Its engine answers … */
  answers: boolean
  /** … and did for the first time then. */
  answeredAt: number | null
}

export type Reply = 'done' | 'short' | 'no reply'

const lostReply = 0.08
const late = 0.04
const twice = 0.04

export class Provider {
  /** Everything it runs; dead ones stay listed until they are deleted. */
  readonly machines = new Map<string, Machine>()
  totalUnits = 6
  up = true
  faults = true
  /** What it will do some day: calls whose caller gave up, and second copies of calls. */
  pending: (() => void)[] = []
  /** Machines that were made behind the back of whoever asked, by id: theirs may be left without a row. */
  readonly strays = new Set<string>()
  /** When each that is gone without a trace went. */
  readonly vanishedAt = new Map<string, number>()
  /** A machine went down: whatever was with it is cut off. */
  onDown: (id: string) => void = () => {}
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  used(): number {
    let units = 0
    for (const machine of this.machines.values()) if (machine.state !== 'dead') units += machine.units
    return units
  }

  /** Idempotent by id. */
  create(id: string, units: number, now: () => number): Reply {
    if (!this.up) return 'no reply'
    const again = () => {
      if (!this.machines.has(id) && this.used() + units <= this.totalUnits) {
        this.strays.add(id)
        this.#start(id, units, now())
      }
    }
    if (this.#goesWrong(late)) {
      this.pending.push(again)
      return 'no reply'
    }
    if (this.#goesWrong(twice)) this.pending.push(again)
    if (!this.machines.has(id)) {
      if (this.used() + units > this.totalUnits) return 'short'
      this.#start(id, units, now())
    }
    return this.#goesWrong(lostReply) ? 'no reply' : 'done'
  }

  /** It goes down first and leaves the list some time after. */
  delete(id: string, now: () => number): Machine | null {
    const machine = this.machines.get(id)
    if (!this.up || !machine) return null
    if (this.#goesWrong(late)) {
      this.pending.push(() => void this.delete(id, now))
      return null
    }
    this.kill(machine, now())
    if (this.#random.chance(0.7)) this.machines.delete(id)
    return machine
  }

  kill(machine: Machine, now: number): void {
    if (machine.state === 'dead') return
    Object.assign(machine, { state: 'dead', diedAt: now, answers: false })
    this.onDown(machine.id)
  }

  /** Its engine has loaded. */
  boot(machine: Machine, now: number): void {
    Object.assign(machine, { state: 'up', answers: true, answeredAt: machine.answeredAt ?? now })
  }

  /** It is gone without a trace. */
  forget(machine: Machine, now: number): void {
    this.vanishedAt.set(machine.id, now)
    this.machines.delete(machine.id)
    if (machine.state !== 'dead') this.onDown(machine.id)
  }

  /** Something of ours that no row ever knew. */
  addStray(id: string, now: number): void {
    this.strays.add(id)
    this.#start(id, 1, now)
  }

  /** Null: it cannot be asked. */
  observe(id: string): Observation | null {
    if (!this.up) return null
    const machine = this.machines.get(id)
    if (!machine) return { state: 'not_found' }
    if (machine.state === 'dead') {
      const exit = { at: machine.diedAt!, code: 1, signal: null, lastLines: ['boom'], why: 'It ended with status 1.' }
      return { state: 'exited', exit }
    }
    if (machine.state === 'booting' && !machine.answers && this.faults && this.#random.chance(0.2))
      return { state: 'pending', detail: 'its files are coming' }
    return { state: 'running', address: '10.0.0.1', port: 1, startedAt: machine.bornAt }
  }

  /** Asked of what is seen running only. */
  probe(id: string): Readiness {
    if (this.machines.get(id)?.answers) return { state: 'ready' }
    return { state: 'not_ready', phase: 'load', detail: 'loading' }
  }

  offers(): Offer[] {
    if (!this.up) return []
    const freeUnits = Math.max(0, this.totalUnits - this.used())
    return [
      { provider: 'paper', gpuType: 'h100', region: 'nyc2', totalUnits: this.totalUnits, freeUnits, emulated: false },
    ]
  }

  list(): string[] | null {
    return this.up ? [...this.machines.keys()] : null
  }

  #start(id: string, units: number, now: number): void {
    this.machines.set(id, { id, units, state: 'booting', bornAt: now, diedAt: null, answers: false, answeredAt: null })
  }

  #goesWrong(share: number): boolean {
    return this.faults && this.#random.chance(share)
  }
}
