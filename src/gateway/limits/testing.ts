/** For tests: time that moves by hand, and requests that are nothing but what limits read of them. */
import { AssertionError } from 'node:assert/strict'
import type { Limits } from '../../access/limits.ts'
import type { Principal } from '../../access/permissions.ts'
import type { Route, RouteAdapter } from '../../deployments/routes.ts'
import type { Fault } from '../../kernel/fault.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
import type { AdapterAsk } from '../adapters.ts'
import { type Counters, soloCounters } from '../counters.ts'
import type { Exchange } from '../exchange.ts'
import { routeOf } from '../testing.ts'
import type { Admission } from './admission.ts'
import type { Estimate } from './estimate.ts'
import { Limiter } from './limiter.ts'

export const queueLimits = { maxMs: 5_000, maxRequests: 20, maxBytes: 10_000 }
export const none: Limits = { rpm: null, tpm: null, concurrency: null }
export const size: Estimate = { prompt: 10, most: 50 }

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

export const limitedAdapter = (limits: Limits | null): RouteAdapter => ({
  failed: null,
  ...(limits === null ? {} : { limits }),
})

/** A request that names these. */
export const adaptersOf = (route: Route, names: readonly string[]): AdapterAsk | null =>
  names.length === 0
    ? null
    : {
        key: names.map((name) => `${name}@1`).join('+'),
        names: names.join('+'),
        shares: names.map((name) => ({ name, scale: 1 })),
        limited: names.some((name) => route.adapters?.[name]?.limits !== undefined),
      }

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
    adapters: null,
    ...over,
  }) as Exchange

/** A limiter that is alone. */
export function setUp(counters: Counters = soloCounters()) {
  const time = new HandTime()
  const limiter = new Limiter({ counters, clock: time.clock, deadlines: time.deadlines, limits: queueLimits })
  return { time, limiter, counters }
}

export interface Request {
  exchange: Exchange
  keyId: string
  state: 'waits' | 'in' | 'over'
  why: unknown
}

export interface Asked {
  deployment?: Limits
  /** Those that the deployment has: name → limits. */
  adapters?: Record<string, Limits | null>
  /** Which of them it names. */
  names?: readonly string[]
  key?: Limits
  size?: Estimate
  priority?: number
  id?: string
  /** Hears of it in the moment that it is let in. */
  enter?(admission: Admission): void
  request?: Request
}

/** A request whose way is told. */
export function ask(limiter: Limiter, keyId: string, of: Asked): Request {
  const all = Object.entries(of.adapters ?? {}).map(([name, limits]) => [name, limitedAdapter(limits)] as const)
  const route = { ...limitedRoute(of.deployment, of.id), adapters: Object.fromEntries(all) }
  const exchange = exchangeOf(route, { priority: of.priority ?? 0, adapters: adaptersOf(route, of.names ?? []) })
  let admission: Admission | null = null
  if (of.enter)
    Object.defineProperty(exchange, 'admission', {
      get: () => admission,
      set: (given: Admission) => of.enter!((admission = given)),
    })
  const request = Object.assign(of.request ?? { keyId, state: 'waits' as const, why: null }, { exchange }) as Request
  try {
    const entering = limiter.enter(exchange, route, limitedKey(keyId, of.key ?? null), of.size ?? size)
    if (entering === null) request.state = 'in'
    else
      entering.then(
        () => (request.state = 'in'),
        (why) => Object.assign(request, { state: 'over', why }),
      )
  } catch (why) {
    if (why instanceof AssertionError) throw why
    Object.assign(request, { state: 'over', why })
  }
  return request
}
export const finish = (limiter: Limiter, { exchange }: Request, tokens = 0) => {
  const usage = tokens === 0 ? null : { promptTokens: tokens, completionTokens: 0 }
  limiter.leave(exchange.deployment!.deploymentId, exchange.admission!, usage)
}
export const settled = () => new Promise((resolve) => setImmediate(resolve))
export const codeOf = ({ why }: Request) => (why as Fault).code
