/**
 * The replicas as this gateway sees them: connections, requests in flight, and whether they answer. A replica that
 * refuses or loses a connection is ejected at once and asked for its health until it answers; one that turns a request
 * away while it works on others is full, and gets no more than it takes. Whoever waits for its deployment is told when
 * it is back, or has room.
 */
import type { Route, RouteReplica, RouteTable } from '../deployments/routes.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import type { Log } from '../runtime/log.ts'
import type { EngineDialect, Engines } from './admit.ts'
import type { Counters } from './counters.ts'
import type { ReplicaState } from './pick.ts'
import { type Address, type ConnectionLimits, Connections } from './upstream/connections.ts'
import { fetchSmall } from './upstream/small.ts'

/** The first probe comes at once; then the pause doubles. */
const firstProbePauseMs = 25
const longestProbePauseMs = 1_000
const probeTimeoutMs = 2_000
const probeBodyMaximumBytes = 64 * 1024

/** The way to one replica. */
export type Way = Pick<Connections, 'send' | 'destroy'>
export type Connect = (address: Address) => Way

/** One replica. `stop` ends its probes. */
export class Link implements ReplicaState {
  readonly id: string
  readonly deploymentId: string
  readonly connections: Way
  readonly stop = new AbortController()
  readonly counters: Counters
  /** Where all workers of this host count the requests that are with it, and their tokens. */
  readonly slot: number
  readonly tokensSlot: number
  inFlight = 0
  ejected = false
  room = Number.POSITIVE_INFINITY
  /** Answers since `room` last changed. */
  answers = 0
  answered = 0
  /** Times it was ejected since it last answered a request. */
  ejections = 0
  /** It left the route table: its connections close with its last request. */
  gone = false

  readonly #replica: RouteReplica
  /** Path → the beginning of the heads of its requests, the same for all of them. */
  readonly #heads = new Map<string, string>()

  constructor(deploymentId: string, replica: RouteReplica, connect: Connect, counters: Counters) {
    this.id = replica.id
    this.deploymentId = deploymentId
    this.#replica = replica
    this.connections = connect({ host: replica.address, port: replica.port })
    this.counters = counters
    this.slot = counters.slot(`requests ${replica.id}`)
    this.tokensSlot = counters.slot(`tokens ${replica.id}`)
  }

  get load(): number {
    return this.counters.total(this.slot)
  }

  get tokens(): number {
    return this.counters.total(this.tokensSlot)
  }

  /** So many tokens of prompts that are with it are read. */
  read(tokens: number): void {
    this.counters.add(this.tokensSlot, -tokens)
  }

  /** False once the replica of this id is somewhere else, or has another key. */
  leadsTo({ id, address, port, key }: RouteReplica): boolean {
    return (
      id === this.id && address === this.#replica.address && port === this.#replica.port && key === this.#replica.key
    )
  }

  /** Request line and fields that do not change from request to request. */
  head(method: 'GET' | 'POST', path: string): string {
    let head = this.#heads.get(path)
    if (head === undefined) {
      head = `${method} ${path} HTTP/1.1\r\nhost: ${hostOf(this.#replica)}\r\nauthorization: Bearer ${this.#replica.key}\r\n`
      this.#heads.set(path, head)
    }
    return head
  }
}

export class Replicas {
  readonly #routes: RouteTable
  readonly #engines: Engines
  readonly #connect: Connect
  readonly #counters: Counters
  readonly #clock: Clock
  readonly #deadlines: Deadlines
  readonly #log: Log
  readonly #links = new Map<string, Link>()
  readonly #unwatch = new Map<string, () => void>()
  /** Links whose replica is gone while requests are still with it. */
  readonly #leaving = new Set<Link>()
  /** Called when replicas of this deployment can take `count` requests more. */
  onRoom: (deploymentId: string, count: number) => void = () => {}

  constructor(parts: {
    routes: RouteTable
    engines: Engines
    limits: ConnectionLimits
    clock: Clock
    deadlines: Deadlines
    log: Log
    counters: Counters
    /** Default: over the network. */
    connect?: Connect
  }) {
    this.#routes = parts.routes
    this.#engines = parts.engines
    this.#connect = parts.connect ?? ((address) => new Connections(address, parts.limits, parts.deadlines))
    this.#counters = parts.counters
    this.#clock = parts.clock
    this.#deadlines = parts.deadlines
    this.#log = parts.log
  }

  /** For decisions: what is known of a replica, which may be nothing yet. */
  readonly stateOf = (replica: RouteReplica): ReplicaState => this.#links.get(replica.id) ?? untouched

  /** Counts a request in. Every `enter` is followed by one `leave`; of `tokens` the same are given back. */
  enter(route: Route, replica: RouteReplica, tokens: number): Link {
    let link = this.#links.get(replica.id)
    if (link === undefined) {
      link = new Link(route.deploymentId, replica, this.#connect, this.#counters)
      this.#links.set(replica.id, link)
      this.#watch(route.deploymentId)
    }
    link.inFlight += 1
    link.counters.add(link.slot, 1)
    link.counters.add(link.tokensSlot, tokens)
    return link
  }

  leave(link: Link, tokens: number): void {
    link.inFlight -= 1
    link.counters.add(link.slot, -1)
    link.counters.add(link.tokensSlot, -tokens)
    if (link.gone && link.inFlight === 0) this.#retire(link)
    const count = link.room - link.inFlight
    if (link.room !== Number.POSITIVE_INFINITY && count > 0 && !link.ejected) this.onRoom(link.deploymentId, count)
  }

  /** The replica answered a request: what happened to it before counts no more. */
  answered(link: Link): void {
    link.ejections = 0
    link.answered += 1
    // After every round of answers one more: it may have been busy with somebody else's, or does better now.
    if (link.room === Number.POSITIVE_INFINITY || ++link.answers < link.room) return
    link.room += 1
    link.answers = 0
  }

  /**
   * The replica said that it takes nothing now. While it works on others of ours that means it is full, which is no
   * reason to take it out of turn; when it has nothing of ours it is not ready, and is ejected.
   */
  turnedAway(link: Link, why: string): void {
    if (link.inFlight <= 1) {
      this.eject(link, why)
      return
    }
    link.room = link.inFlight - 1
    link.answers = 0
  }

  /**
   * Takes a replica out of turn until it answers its probe. One that answers probes and nothing else is probed ever less
   * often, so that those who wait for it do not go round in a circle.
   */
  eject(link: Link, why: string): void {
    if (link.ejected || link.gone) return
    link.ejected = true
    link.ejections += 1
    this.#log.warn({ replicaId: link.id, deploymentId: link.deploymentId, why }, 'replica ejected')
    void this.#probeBack(link)
  }

  /** Replica id → requests that are with it now. */
  inFlight(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const link of [...this.#links.values(), ...this.#leaving])
      if (link.inFlight > 0) counts[link.id] = (counts[link.id] ?? 0) + link.inFlight
    return counts
  }

  close(): void {
    for (const unwatch of this.#unwatch.values()) unwatch()
    const links = [...this.#links.values(), ...this.#leaving]
    for (const link of links) link.stop.abort()
    for (const link of links) link.connections.destroy()
  }

  #watch(deploymentId: string): void {
    if (this.#unwatch.has(deploymentId)) return
    this.#unwatch.set(
      deploymentId,
      this.#routes.watch(deploymentId, () => this.#prune(deploymentId)),
    )
  }

  #prune(deploymentId: string): void {
    const route = this.#routes.byId(deploymentId)
    for (const link of this.#links.values()) {
      if (link.deploymentId !== deploymentId || route?.replicas.some((replica) => link.leadsTo(replica))) continue
      this.#letGo(link)
    }
    if (route !== null) return
    this.#unwatch.get(deploymentId)?.()
    this.#unwatch.delete(deploymentId)
  }

  #letGo(link: Link): void {
    this.#links.delete(link.id)
    this.#leaving.add(link)
    link.gone = true
    link.stop.abort()
    if (link.inFlight === 0) this.#retire(link)
  }

  #retire(link: Link): void {
    this.#leaving.delete(link)
    link.counters.release(link.slot)
    link.counters.release(link.tokensSlot)
    link.connections.destroy()
  }

  async #probeBack(link: Link): Promise<void> {
    const engine = this.#engineOf(link)
    let pauseMs = link.ejections < 2 ? 0 : firstProbePauseMs * 2 ** Math.min(link.ejections - 2, 8)
    pauseMs = Math.min(longestProbePauseMs, pauseMs)
    while (!link.stop.signal.aborted) {
      if (pauseMs > 0) await this.#clock.sleep(pauseMs, link.stop.signal)
      if (engine === null || (await isReady(link, engine, this.#deadlines))) break
      pauseMs = Math.min(longestProbePauseMs, Math.max(firstProbePauseMs, pauseMs * 2))
    }
    if (link.gone) return
    link.ejected = false
    link.room = Number.POSITIVE_INFINITY
    this.onRoom(link.deploymentId, Number.POSITIVE_INFINITY)
  }

  #engineOf(link: Link): EngineDialect | null {
    const route = this.#routes.byId(link.deploymentId)
    const type = route?.replicas.find(({ id }) => id === link.id)?.engine ?? route?.engine
    return (type && this.#engines.get(type)) ?? null
  }
}

const untouched: ReplicaState = {
  inFlight: 0,
  load: 0,
  tokens: 0,
  answered: 0,
  ejected: false,
  room: Number.POSITIVE_INFINITY,
}

function hostOf({ address, port }: RouteReplica): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`
}

async function isReady(link: Link, engine: EngineDialect, deadlines: Deadlines): Promise<boolean> {
  const limits = { timeoutMs: probeTimeoutMs, maximumBytes: probeBodyMaximumBytes }
  const answer = await fetchSmall(link.connections, link.head('GET', engine.healthPath), limits, deadlines)
  return answer !== null && engine.readiness(answer.status, answer.text).state === 'ready'
}
