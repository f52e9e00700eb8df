/**
 * Stage 5: requests that wait for a replica. Each waits for a change of its own deployment, within bounds of time,
 * number and bytes; a stream gets comments meanwhile, so that nobody in between hangs up.
 */
import type { Route, RouteTable } from '../deployments/routes.ts'
import { Fault } from '../kernel/fault.ts'
import type { Deadlines } from '../runtime/deadlines.ts'
import { ClientGone, type Exchange } from './exchange.ts'
import { heldTooLong, outlook, type StateOf } from './pick.ts'

export interface HoldLimits {
  maxSeconds: number
  /** Per deployment. */
  maxRequests: number
  /** Of bodies, per deployment. */
  maxBytes: number
  commentSeconds: number
}

interface Held {
  /** Each looks whether it need not wait any more; true = it does not. In order of arrival. */
  requests: Set<() => boolean>
  bytes: number
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
  readonly #held = new Map<string, Held>()

  constructor(parts: {
    routes: RouteTable
    stateOf: StateOf
    limits: HoldLimits
    deadlines: Deadlines
    onHold(deploymentId: string): void
  }) {
    this.#routes = parts.routes
    this.#stateOf = parts.stateOf
    this.#limits = parts.limits
    this.#deadlines = parts.deadlines
    this.#onHold = parts.onHold
  }

  /** Deployment id → requests that wait for a replica of it. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.#held].map(([id, held]) => [id, held.requests.size]))
  }

  /**
   * Looks again at what waits for this deployment, because its route or one of its replicas changed. `count`: so many
   * can be taken; to wake more would only send them round.
   */
  readonly wake = (deploymentId: string, count = Number.POSITIVE_INFINITY): void => {
    let left = count
    for (const look of this.#held.get(deploymentId)?.requests ?? []) {
      if (left <= 0) return
      if (look()) left -= 1
    }
  }

  /**
   * Resolves when a replica of the deployment can be picked; `sinceMs` is when this request began to need one.
   * Rejects with the Fault of a deployment that will not answer, `hold_full`, what `heldTooLong` says, or ClientGone.
   */
  wait(exchange: Exchange, route: Route, sinceMs: number, comment: () => void): Promise<void> {
    const { deploymentId } = route
    const bytes = exchange.bytesIn
    const held = this.#held.get(deploymentId) ?? { requests: new Set(), bytes: 0, unwatch: () => {} }
    const full = held.requests.size >= this.#limits.maxRequests || held.bytes + bytes > this.#limits.maxBytes
    if (exchange.gone) return Promise.reject(new ClientGone())
    if (this.#limits.maxSeconds > 0 && full) return Promise.reject(holdFull(route))
    return new Promise((resolve, reject) => {
      const end = (error: Error | null): void => {
        this.#remove(deploymentId, held, look, bytes)
        this.#deadlines.cancel(bound)
        this.#deadlines.cancel(pulse)
        exchange.interrupted = null
        if (error === null) resolve()
        else reject(error)
      }
      const look = (): boolean => {
        const now = outlook(this.#routes.byId(deploymentId), this.#stateOf)
        if (now !== 'hold') end(now === 'ready' ? null : now)
        return now !== 'hold'
      }
      const commentMs = this.#limits.commentSeconds * 1000
      const beat = (): void => {
        comment()
        pulse = this.#deadlines.add(commentMs, beat)
        exchange.commentAt = pulse.at
      }
      this.#add(deploymentId, held, look, bytes)
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

  #add(deploymentId: string, held: Held, look: () => boolean, bytes: number): void {
    if (held.requests.size === 0) {
      this.#held.set(deploymentId, held)
      held.unwatch = this.#routes.watch(deploymentId, () => this.wake(deploymentId))
    }
    held.requests.add(look)
    // The first to wait may be the one that wakes a sleeping deployment.
    if (held.requests.size === 1) this.#onHold(deploymentId)
    held.bytes += bytes
  }

  #remove(deploymentId: string, held: Held, look: () => boolean, bytes: number): void {
    held.requests.delete(look)
    held.bytes -= bytes
    if (held.requests.size > 0) return
    held.unwatch()
    this.#held.delete(deploymentId)
  }
}

function holdFull(route: Route): Fault {
  return new Fault('hold_full', `Too many requests already wait for ${route.name}.`, {
    retryAfterSeconds: fullRetryAfterSeconds,
  })
}
