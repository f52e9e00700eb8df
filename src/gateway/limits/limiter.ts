/**
 * Lets requests in as far as the limits of their deployment and their key allow. Beyond the number at once a request
 * waits a moment in line, in fair order; beyond a rate it is refused, with the time after which it may come.
 *
 * What has no limit never comes here. Other workers of the host count in the same places and tell nobody when they
 * leave one: a line looks again every tick, and workers take turns (subject.ts).
 */
import { type Limits, noLimits } from '../../access/limits.ts'
import type { Principal } from '../../access/permissions.ts'
import type { Route } from '../../deployments/routes.ts'
import type { Fault } from '../../kernel/fault.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
import type { Usage } from '../../usage/request.ts'
import type { Counters } from '../counters.ts'
import { ClientGone, type Exchange } from '../exchange.ts'
import { HostPlaces, type PlacesLimits } from '../host-places.ts'
import { Admission } from './admission.ts'
import type { Estimate } from './estimate.ts'
import { FairQueue, type Waiting } from './fair-queue.ts'
import { rateHeaders } from './headers.ts'
import { refusal } from './refusal.ts'
import { type Share, Subject, type Verdict, wholeShare } from './subject.ts'

/** Numbers per deployment. */
export interface QueueLimits extends PlacesLimits {
  maxMs: number
}

/** What the limits are now; null = none. */
export interface KnownLimits {
  deployment(deploymentId: string): Limits | null
  key(keyId: string): Limits | null
}

/** Gives this gateway its part of every limit. */
export interface Shares {
  /** The first share of what was not asked for before. */
  begin(): Share
  /** Somebody wants more than there is. */
  ask(): void
}

/** Below a tick of the deadlines, so that it is every tick. */
const lookAgainMs = 25
/** So many deployments and keys are remembered before those that nobody uses are forgotten. */
const subjectsKept = 1_024

interface Waiter extends Waiting {
  exchange: Exchange
  size: Estimate
  deployment: Subject | null
  key: Subject | null
  end(error: Error | null): void
}

interface Line {
  queue: FairQueue<Waiter>
  places: HostPlaces
  pulse: Deadline
}

export class Limiter {
  readonly #counters: Counters
  readonly #clock: Clock
  readonly #deadlines: Deadlines
  readonly #limits: QueueLimits
  readonly #shares: Shares | null
  readonly #known: KnownLimits | null
  readonly #subjects = new Map<string, Subject>()
  /** By deployment. */
  readonly #lines = new Map<string, Line>()
  #sweepAt = subjectsKept

  constructor(parts: {
    counters: Counters
    clock: Clock
    deadlines: Deadlines
    limits: QueueLimits
    /** null: this gateway is alone. */
    shares?: Shares | null
    /** null: they stay as they were when a request came. */
    known?: KnownLimits | null
  }) {
    this.#counters = parts.counters
    this.#clock = parts.clock
    this.#deadlines = parts.deadlines
    this.#limits = parts.limits
    this.#shares = parts.shares ?? null
    this.#known = parts.known ?? null
  }

  /** Deployment id → requests that wait in line. */
  waiting(): Record<string, number> {
    return Object.fromEntries([...this.#lines].map(([id, line]) => [id, line.queue.size]))
  }

  /** Deployments and keys that are counted now. */
  subjects(): Subject[] {
    return [...this.#subjects.values()]
  }

  /**
   * Lets the request in, or queues it: null = it is in. Rejects with Fault `rate_limited` or `concurrency_limited`,
   * ClientGone, or what the server stops with. Only for what has a limit.
   */
  enter(exchange: Exchange, route: Route, principal: Principal, size: Estimate): Promise<void> | null {
    const deployment =
      route.limits === undefined ? null : this.#subject(prefixes.deployment + route.deploymentId, route.limits)
    const { limits } = principal
    const key = limits === null || limits === undefined ? null : this.#subject(prefixes.key + principal.keyId, limits)
    const now = this.#clock.monotonicMs()
    if (!this.#lines.has(route.deploymentId)) {
      const verdict = this.#tryEnter(exchange, deployment, key, now, size)
      if (verdict === 'yes') return null
      if (!passes(verdict)) throw this.#refuse(exchange, verdict, { deployment, key, size }, now)
    }
    return this.#queue(exchange, route, principal, { deployment, key, size })
  }

  /** It is settled; `usage` null = it took nothing. */
  leave(deploymentId: string, admission: Admission, usage: Usage | null): void {
    const now = this.#clock.monotonicMs()
    admission.end(now, usage)
    if (this.#lines.size === 0) return
    // A key may have requests in the lines of several deployments.
    if (admission.isAwaited) this.look()
    else this.#moveOne(deploymentId, now)
  }

  /** Somebody may be let in now: looks at all lines. */
  look(): void {
    const now = this.#clock.monotonicMs()
    for (const line of this.#lines.values()) this.#move(line, now)
  }

  #moveOne(deploymentId: string, now: number): void {
    const line = this.#lines.get(deploymentId)
    if (line !== undefined) this.#move(line, now)
  }

  #subject(name: string, limits: Limits): Subject {
    let subject = this.#subjects.get(name)
    if (subject === undefined) {
      if (this.#subjects.size >= this.#sweepAt) this.#sweep()
      subject = new Subject(name, limits, this.#counters, this.#shares?.begin() ?? wholeShare)
      this.#subjects.set(name, subject)
    }
    subject.limits = limits
    return subject
  }

  /** Who waits is let in by the limits that are, not by those that were when it came. */
  #refresh(subject: Subject | null): void {
    if (subject === null || this.#known === null) return
    const { name } = subject
    const limits = name.startsWith(prefixes.key)
      ? this.#known.key(name.slice(prefixes.key.length))
      : this.#known.deployment(name.slice(prefixes.deployment.length))
    subject.limits = limits ?? noLimits
  }

  #sweep(): void {
    const now = this.#clock.monotonicMs()
    for (const [name, subject] of this.#subjects) {
      subject.window.slide(now)
      if (!subject.isIdle) continue
      subject.close()
      this.#subjects.delete(name)
    }
    this.#sweepAt = Math.max(subjectsKept, this.#subjects.size * 2)
  }

  /** Deployment id → requests that wait in its line. */
  queued(): Record<string, number> {
    return Object.fromEntries([...this.#lines].map(([deploymentId, { queue }]) => [deploymentId, queue.size]))
  }

  #tryEnter(exchange: Exchange, a: Subject | null, b: Subject | null, now: number, size: Estimate): Verdict {
    const verdict = this.#verdict(a, b, now, size)
    if (verdict !== 'yes') return verdict
    const admission = a === null ? Admission.take(b!, null, now, size) : Admission.take(a, b, now, size)
    if (admission === null) return 'at_once'
    exchange.admission = admission
    exchange.rateHeaders = rateHeaders(a, b, now)
    return 'yes'
  }

  /** The worse of both: what is refused is refused, what may come waits. */
  #verdict(a: Subject | null, b: Subject | null, now: number, size: Estimate): Verdict {
    const first = a === null ? 'yes' : a.verdict(now, size)
    if (!passes(first)) return first
    const second = b === null ? 'yes' : b.verdict(now, size)
    if (this.#shares !== null && (a?.wanting || b?.wanting)) this.#shares.ask()
    return second === 'yes' ? first : second
  }

  #refuse(
    exchange: Exchange,
    verdict: Verdict,
    { deployment, key, size }: Pick<Waiter, 'deployment' | 'key' | 'size'>,
    now: number,
  ): Fault {
    const refuses = deployment !== null && deployment.verdict(now, size) === verdict ? deployment : key!
    const lacks = verdict === 'lease' ? refuses.lacks(now) : verdict
    exchange.rateHeaders = rateHeaders(deployment, key, now, lacks === 'requests')
    return refusal(lacks, refuses, refuses === deployment ? 'deployment' : 'key', now, size)
  }

  #queue(
    exchange: Exchange,
    { deploymentId }: Route,
    { keyId }: Principal,
    parts: Pick<Waiter, 'deployment' | 'key' | 'size'>,
  ): Promise<void> {
    const { maxMs } = this.#limits
    const bytes = exchange.bytesIn
    if (maxMs === 0 || exchange.gone) throw exchange.gone ? new ClientGone() : this.#lateFault(exchange, parts)
    const places = this.#lines.get(deploymentId)?.places ?? this.#placesOf(deploymentId)
    if (places.isFull(bytes)) {
      if (!this.#lines.has(deploymentId)) places.close()
      throw this.#lateFault(exchange, parts)
    }
    return new Promise((resolve, reject) => {
      const from = this.#clock.monotonicMs()
      const end = (error: Error | null): void => {
        exchange.interrupted = null
        this.#deadlines.cancel(bound)
        this.#remove(deploymentId, waiter, bytes)
        exchange.heldMs += this.#clock.monotonicMs() - from
        if (error === null) resolve()
        else reject(error)
      }
      const waiter: Waiter = { exchange, keyId, priority: exchange.priority, cost: parts.size.most, ...parts, end }
      const bound = this.#deadlines.add(maxMs, () => end(this.#lateFault(exchange, parts)))
      exchange.interrupted = end
      this.#add(deploymentId, places, waiter, bytes)
      this.#moveOne(deploymentId, from)
    })
  }

  /** Nobody left in time. */
  #lateFault(exchange: Exchange, parts: Pick<Waiter, 'deployment' | 'key' | 'size'>): Fault {
    const { deployment, key, size } = parts
    const now = this.#clock.monotonicMs()
    const verdict = this.#verdict(deployment, key, now, size)
    return this.#refuse(exchange, verdict === 'yes' ? 'at_once' : verdict, parts, now)
  }

  /** In line with those of the other workers. */
  #placesOf(deploymentId: string): HostPlaces {
    return new HostPlaces(this.#counters, `queued ${deploymentId}`, this.#limits)
  }

  #add(deploymentId: string, places: HostPlaces, waiter: Waiter, bytes: number): void {
    let line = this.#lines.get(deploymentId)
    if (line === undefined) {
      line = { queue: new FairQueue(), places, pulse: this.#beat(deploymentId) }
      this.#lines.set(deploymentId, line)
    }
    line.queue.add(waiter)
    places.add(bytes)
    waiter.deployment?.waits(1)
    waiter.key?.waits(1)
  }

  #beat(deploymentId: string): Deadline {
    return this.#deadlines.add(lookAgainMs, () => {
      const line = this.#lines.get(deploymentId)
      if (line === undefined) return
      line.pulse = this.#beat(deploymentId)
      this.#move(line, this.#clock.monotonicMs())
    })
  }

  #remove(deploymentId: string, waiter: Waiter, bytes: number): void {
    const line = this.#lines.get(deploymentId)!
    line.queue.drop(waiter)
    line.places.remove(bytes)
    waiter.deployment?.waits(-1)
    waiter.key?.waits(-1)
    if (line.queue.size > 0) return
    this.#deadlines.cancel(line.pulse)
    line.places.close()
    this.#lines.delete(deploymentId)
  }

  /** Whoever's turn it is, as long as there is somebody whom the limits let in, or refuse for good. */
  #move(line: Line, now: number): void {
    const may = ({ deployment, key, size }: Waiter): boolean => {
      this.#refresh(deployment)
      this.#refresh(key)
      return passed(this.#verdict(deployment, key, now, size))
    }
    while (line.queue.size > 0) {
      const next = line.queue.next(may)
      if (next === null) return
      const { exchange, deployment, key, size } = next
      const verdict = this.#tryEnter(exchange, deployment, key, now, size)
      if (verdict === 'yes') {
        // Before `end`, which strikes out what was not served.
        line.queue.serve(next)
        next.end(null)
      } else if (passes(verdict)) return
      else next.end(this.#refuse(exchange, verdict, next, now))
    }
  }
}

/** Of what has limits: whose they are. */
const prefixes = { deployment: 'dep/', key: 'key/' } as const

/** It may yet be let in. */
function passes(verdict: Verdict): boolean {
  return verdict === 'yes' || verdict === 'at_once' || verdict === 'lease'
}

/** There is something to be done with it now. */
function passed(verdict: Verdict): boolean {
  return verdict !== 'at_once' && verdict !== 'lease'
}
