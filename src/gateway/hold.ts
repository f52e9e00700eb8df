/**
 * Stage 5: requests that wait for a replica. Each waits for a change of its own deployment, within bounds of time,
 * number and bytes, and in fair order between keys; a stream gets comments meanwhile, so that nobody in between hangs up.
 */
import type { Route, RouteTable } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import { routeWith } from './adapters.ts'
import type { Counters } from './counters.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import { HostPlaces, type PlacesLimits } from './host-places.ts'
import { estimate } from './limits/estimate.ts'
import { FairQueue, type Waiting } from './limits/fair-queue.ts'
import { heldTooLong, outlook, type StateOf } from './pick.ts'
import { routeWords } from './route-words.ts'

/** Numbers per deployment. */
export interface HoldLimits extends PlacesLimits {
  maxSeconds: number
  commentSeconds: number
}

interface HeldRequest extends Waiting {
  bytes: number
  /** What it needs besides a replica; null = nothing. */
  adapters: string | null
  queue: FairQueue<HeldRequest>
  /** Looks whether it need not wait any more; true = it does not. */
  look(): boolean
}

interface Held {
  /** Those that need nothing but a replica; the others by what they need. */
  requests: FairQueue<HeldRequest>
  adapted: Map<string, FairQueue<HeldRequest>>
  /** Of all together. */
  size: number
  places: HostPlaces
  unwatch: () => void
}

/** Seconds after which a client may try again when the hold is full. */
const fullRetryAfterSeconds = 5

export class Holding {
  readonly #routes: RouteTable
  readonly #stateOf: StateOf
  readonly #limits: HoldLimits
  readonly #deadlines: Deadlines
  readonly #onHold: (deploymentId: string) => void
  readonly #counters: Counters
  readonly #held = new Map<string, Held>()

  constructor(parts: {
    routes: RouteTable
    stateOf: StateOf
    limits: HoldLimits
    deadlines: Deadlines
    onHold(deploymentId: string): void
    counters: Counters
  }) {
    this.#routes = parts.routes
    this.#stateOf = parts.stateOf
    this.#limits = parts.limits
    this.#deadlines = parts.deadlines
    this.#onHold = parts.onHold
    this.#counters = parts.counters
  }

  /** Deployment id → requests that wait for a replica of it. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.#held].map(([id, held]) => [id, held.size]))
  }

  /**
   * Looks again at what waits for this deployment, because its route or one of its replicas changed. `count`: so many
   * can be taken; to wake more would only send them round.
   */
  readonly wake = (deploymentId: string, count = Number.POSITIVE_INFINITY): void => {
    const held = this.#held.get(deploymentId)
    if (held !== undefined && held.adapted.size > 0) {
      wakeEach(held, count)
      return
    }
    for (let left = count; left > 0; left--) {
      const next = held?.requests.next() ?? null
      // What one is told holds for all of them.
      if (next === null || !next.look()) return
    }
  }

  /**
   * Resolves when a replica of the deployment can be picked; `sinceMs` is when this request began to need one.
   * Rejects with the Fault of a deployment that will not answer, `hold_full`, what `heldTooLong` says, or ClientGone.
   */
  wait(exchange: Exchange, route: Route, sinceMs: number, comment: () => void): Promise<void> {
    const { deploymentId } = route
    const bytes = exchange.bytesIn
    if (exchange.gone) return Promise.reject(new ClientGone())
    const held = this.#held.get(deploymentId) ?? this.#begin(deploymentId)
    if (this.#limits.maxSeconds > 0 && held.places.isFull(bytes)) {
      if (held.size === 0) held.places.close()
      return Promise.reject(holdFull(route))
    }
    return new Promise((resolve, reject) => {
      const end = (error: Error | null): void => {
        if (error === null) one.queue.serve(one)
        this.#remove(deploymentId, held, one)
        this.#deadlines.cancel(bound)
        this.#deadlines.cancel(pulse)
        exchange.interrupted = null
        if (error === null) resolve()
        else reject(error)
      }
      const look = (): boolean => {
        const all = this.#routes.byId(deploymentId)
        const route = exchange.adapters === null || all === null ? all : routeWith(all, exchange.adapters)
        const now = route instanceof Fault ? route : outlook(route, this.#stateOf, exchange.seenBy)
        if (now !== 'hold') end(now === 'ready' ? null : now)
        return now !== 'hold'
      }
      const commentMs = this.#limits.commentSeconds * 1000
      const beat = (): void => {
        comment()
        pulse = this.#deadlines.add(commentMs, beat)
        exchange.commentAt = pulse.at
      }
      const adapters = exchange.adapters === null ? null : exchange.adapters.key
      const one = { ...waitingOf(exchange, route), bytes, adapters, queue: queueFor(held, adapters), look }
      // Held for the second time: whoever it was sent to did not take it.
      this.#add(deploymentId, held, one, exchange.commentAt !== null)
      exchange.interrupted = end
      const bound = this.#deadlines.add(0, () =>
        end(heldTooLong(this.#routes.byId(deploymentId) ?? route, this.#limits.maxSeconds)),
      )
      bound.at = sinceMs + this.#limits.maxSeconds * 1000
      let pulse = this.#deadlines.add(commentMs, beat)
      // Held for the second time: the silence has lasted since before.
      pulse.at = exchange.commentAt ??= pulse.at
      look()
    })
  }

  #begin(deploymentId: string): Held {
    return {
      requests: new FairQueue(),
      adapted: new Map(),
      size: 0,
      places: new HostPlaces(this.#counters, `held ${deploymentId}`, this.#limits),
      unwatch: () => {},
    }
  }

  #add(deploymentId: string, held: Held, one: HeldRequest, again: boolean): void {
    if (held.size === 0) {
      this.#held.set(deploymentId, held)
      held.unwatch = this.#routes.watch(deploymentId, () => this.wake(deploymentId))
    }
    if (again) one.queue.restore(one)
    else one.queue.add(one)
    held.size += 1
    // The first to wait may be the one that wakes a sleeping deployment.
    if (held.size === 1) this.#onHold(deploymentId)
    held.places.add(one.bytes)
  }

  #remove(deploymentId: string, held: Held, one: HeldRequest): void {
    one.queue.drop(one)
    held.size -= 1
    if (one.adapters !== null && one.queue.size === 0) held.adapted.delete(one.adapters)
    held.places.remove(one.bytes)
    if (held.size > 0) return
    held.unwatch()
    this.#held.delete(deploymentId)
    held.places.close()
  }
}

function queueFor({ requests, adapted }: Held, adapters: string | null): FairQueue<HeldRequest> {
  if (adapters === null) return requests
  let queue = adapted.get(adapters)
  if (queue === undefined) adapted.set(adapters, (queue = new FairQueue()))
  return queue
}

/** In turns, each after what it needs: whoever waits for an adapter that is not loaded yet keeps nobody else waiting. */
function wakeEach({ requests, adapted }: Held, count: number): void {
  const queues = [...adapted.values(), requests]
  for (let left = count; left > 0; ) {
    const queue = queues.shift()
    if (queue === undefined) return
    const next = queue.next()
    // What one is told holds for all that need the same.
    if (next === null || !next.look()) continue
    left -= 1
    queues.push(queue)
  }
}

/** Whose turn it uses, and how much of it. */
function waitingOf({ ask, bytesIn, meant, principal, priority }: Exchange, { contextTokens }: Route): Waiting {
  const { generates } = routeWords[meant.route]
  const cost = ask === null ? 1 : estimate(ask, bytesIn, contextTokens, generates).most
  return { keyId: principal?.keyId ?? '', priority, cost }
}

function holdFull(route: Route): Fault {
  return new Fault('hold_full', `Too many requests already wait for ${route.name}.`, {
    retryAfterSeconds: fullRetryAfterSeconds,
  })
}
