/**
 * A gateway on paper: the real route table, outlook, pick and counts of demand; holding and sending without promises
 * (`sleep.test.ts` has the real ones). It keeps on serving when it cannot reach the database.
 */
import { strict as assert } from 'node:assert'
import { RouteTable } from '../../src/deployments/routes.ts'
import { Fault } from '../../src/kernel/fault.ts'
import { type Demand, DemandCounts } from '../../src/usage/demand.ts'
import type { Registered } from './tables.ts'
import type { World } from './world.ts'

export interface Request {
  id: number
  deploymentId: string
  /** When it began to wait. */
  heldSince: number
  /** null = not yet. A fault's code, or `ok`. */
  ended: string | null
}

const heldMaximum = 60
/** While there are faults; when they have ceased, whoever waits must be answered. */
const heldMs = 100_000

export class PaperGateway {
  readonly id: string
  readonly #world: World
  readonly table = new RouteTable()
  readonly #demand = new DemandCounts()
  readonly held = new Map<string, Request[]>()
  /** By replica. */
  readonly flying = new Map<string, Request[]>()
  readonly #ejected = new Set<string>()
  /** Its way to the database is cut. */
  cutOff = false
  /** What it is about to say: made, and not written yet. */
  #saying: Registered | null = null
  #turn = 0
  /** Requests that it has taken and not ended. */
  open = 0

  constructor(world: World, id: string) {
    this.#world = world
    this.id = id
  }

  arrive(deploymentId: string): void {
    const { now } = this.#world
    this.open += 1
    this.#forward({ id: (this.#world.requests += 1), deploymentId, heldSince: now, ended: null })
  }

  /** Reads what is new, applies it, and makes its report; `say` writes it. */
  look(): void {
    if (this.cutOff) return
    const { tables, now } = this.#world
    const news = tables.routesSince(this.table.version)
    this.table.apply(news)
    this.table.version = Math.max(this.table.version, tables.routesVersion)
    for (const route of news) this.#wake(route.deploymentId)
    const heldNow: Record<string, number> = {}
    for (const [id, requests] of this.held) heldNow[id] = requests.length
    this.#saying = {
      id: this.id,
      keyringVersion: 0,
      routesVersion: this.table.version,
      inFlight: this.inFlight(),
      demand: this.#demand.read(heldNow, now),
      seenAt: new Date(now),
    }
  }

  say(): void {
    if (this.#saying === null || this.cutOff) return
    const { tables } = this.#world
    tables.register.set(this.id, this.#saying)
    // Whoever told one to sleep was told: the next request wakes it. It may be gone before anybody has read this.
    for (const { id, notes } of tables.deployments)
      if (notes.told && ((this.#saying.demand[id] as Demand | undefined)?.held ?? 0) > 0) notes.told = null
    this.#saying = null
  }

  inFlight(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const [id, requests] of this.flying) if (requests.length > 0) counts[id] = requests.length
    return counts
  }

  /** The engines answer about this share of what is with them. */
  finish(share: number): void {
    const { random, provider } = this.#world
    for (const [replicaId, requests] of this.flying) {
      if (!provider.machines.get(replicaId)?.answers) continue
      const left = requests.filter((request) => {
        if (!random.chance(share)) return true
        this.#end(request, 'ok')
        return false
      })
      this.#keep(replicaId, left)
    }
  }

  /** A machine is down: an answer that had begun is broken off, any other request goes elsewhere. */
  cut(replicaId: string): void {
    const requests = this.flying.get(replicaId)
    if (requests === undefined) return
    this.flying.delete(replicaId)
    for (const request of requests)
      if (this.#world.random.chance(0.5)) this.#end(request, 'engine_failed')
      else this.#forward(request)
  }

  /** Probes those that it had given up, and lets go whoever has waited too long. */
  pass(): void {
    const { provider, now } = this.#world
    for (const id of this.#ejected) if (provider.machines.get(id)?.answers) this.#ejected.delete(id)
    for (const [deploymentId, requests] of [...this.held]) {
      for (const request of requests)
        if (provider.faults && now - request.heldSince >= heldMs) this.#end(request, 'starting')
      this.held.set(
        deploymentId,
        requests.filter((request) => request.ended === null),
      )
      this.#wake(deploymentId)
    }
  }

  #wake(deploymentId: string): void {
    const waiting = this.held.get(deploymentId)
    if (waiting === undefined) return
    this.held.delete(deploymentId)
    for (const request of waiting) this.#forward(request)
  }

  readonly #stateOf = ({ id }: { id: string }) => {
    const inFlight = this.flying.get(id)?.length ?? 0
    return {
      inFlight,
      load: inFlight,
      tokens: inFlight,
      answered: 0,
      ejected: this.#ejected.has(id),
      room: Number.POSITIVE_INFINITY,
    }
  }

  #forward(request: Request): void {
    const { rules, provider } = this.#world
    for (;;) {
      const route = this.table.byId(request.deploymentId)
      const state = rules.outlook(route, this.#stateOf)
      if (state instanceof Fault) {
        this.#end(request, state.code)
        return
      }
      if (state === 'hold') {
        this.#hold(request)
        return
      }
      this.#turn += 1
      const replica = rules.pick(route!.replicas, this.#stateOf, null, this.#turn)!
      this.#checkSent(replica.id)
      if (provider.machines.get(replica.id)?.state === 'up') {
        this.#keep(replica.id, [...(this.flying.get(replica.id) ?? []), request])
        return
      }
      this.#ejected.add(replica.id)
    }
  }

  /** Nothing is sent to a replica that was taken away because nobody used it. */
  #checkSent(replicaId: string): void {
    const { live, gone } = this.#world.tables
    const row = live.get(replicaId) ?? gone.get(replicaId)
    const away = row === undefined || row.phase === 'deleting' || row.phase === 'gone'
    assert(!(away && row?.drainedAway), `${this.id} sends a request to ${replicaId}, which was drained and removed`)
  }

  #hold(request: Request): void {
    const { deploymentId } = request
    const { tables, now } = this.#world
    const waiting = this.held.get(deploymentId) ?? []
    if (waiting.length >= heldMaximum) {
      // Whether a report says so before the gateway dies cannot be said here.
      const notes = tables.deployments.find((one) => one.id === deploymentId)?.notes
      if (notes?.told) notes.told = null
      this.#end(request, 'hold_full')
      return
    }
    if (waiting.length === 0) this.#demand.touch(deploymentId, now)
    if (request.heldSince === now) this.#world.saw('request: held')
    waiting.push(request)
    this.held.set(deploymentId, waiting)
  }

  #end(request: Request, code: string): void {
    assert.equal(request.ended, null, `request ${request.id} is answered twice: ${request.ended} and ${code}`)
    request.ended = code
    this.#world.saw(`request: ${code}`)
    this.open -= 1
    const { random, now } = this.#world
    const ttftMs = random.chance(0.3) ? random.int(20, 400) : null
    this.#demand.ended(request.deploymentId, code === 'ok' ? null : code, ttftMs, now)
  }

  #keep(replicaId: string, requests: Request[]): void {
    if (requests.length === 0) this.flying.delete(replicaId)
    else this.flying.set(replicaId, requests)
  }
}
