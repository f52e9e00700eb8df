/** For tests: time that moves by hand, and requests that are nothing but what limits read of them. */
import type { Limits } from '../../access/limits.ts'
import type { Principal } from '../../access/permissions.ts'
import type { Route } from '../../deployments/routes.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
import type { Exchange } from '../exchange.ts'
import { routeOf } from '../testing.ts'

/** A clock and its deadlines, which pass in order when time does. */
export class HandTime {
  now = 0
  readonly #armed = new Set<Deadline & { passed(): void }>()
  readonly clock: Clock = { now: () => this.now, monotonicMs: () => this.now, sleep: async () => {} }
  readonly deadlines = {
    add: (afterMs: number, passed: () => void) => {
      const one = { at: this.now + afterMs, passed }
      this.#armed.add(one)
      return one
    },
    cancel: (one: never) => void this.#armed.delete(one),
  } as unknown as Deadlines

  get armed(): number {
    return this.#armed.size
  }

  pass(ms: number): void {
    const until = this.now + ms
    for (;;) {
      const [next] = [...this.#armed].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)
      if (next === undefined) break
      this.now = Math.max(this.now, next.at)
      this.#armed.delete(next)
      next.passed()
    }
    this.now = until
  }
}

export const limitedRoute = (limits: Limits | undefined, deploymentId = 'dep_1'): Route =>
  routeOf({ deploymentId, ...(limits === undefined ? {} : { limits }) })

export const limitedKey = (keyId: string, limits: Limits | null = null): Principal => ({
  keyId,
  orgId: 'org_a',
  role: 'developer',
  grants: {},
  operator: false,
  limits,
  priority: 4,
})

export const exchangeOf = (deployment: Route, over: Partial<Exchange> = {}): Exchange =>
  ({
    deployment,
    bytesIn: 100,
    gone: false,
    interrupted: null,
    heldMs: 0,
    priority: 0,
    admission: null,
    rateHeaders: null,
    ...over,
  }) as Exchange
