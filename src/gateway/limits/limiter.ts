/**
 * Lets requests in as far as the limits of their deployment, their adapters and their key allow. Beyond the number at once a request
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
import type { AdapterAsk } from '../adapters.ts'
import type { Counters } from '../counters.ts'
import { ClientGone, type Exchange } from '../exchange.ts'
import { HostPlaces, type PlacesLimits } from '../host-places.ts'
import { Admission } from './admission.ts'
import type { Estimate } from './estimate.ts'
import { FairQueue, type Waiting } from './fair-queue.ts'
import { rateHeaders } from './headers.ts'
import { adapterSubject, deploymentSubject, keySubject, type Owner, ownerOf } from './owner.ts'
import { refusal } from './refusal.ts'
import { type Share, Subject, type Verdict, wholeShare } from './subject.ts'

/** Numbers per deployment. */
export interface QueueLimits extends PlacesLimits {
  maxMs: number
}

/** What somebody's limits are now; null = none. */
export type KnownLimits = (owner: Owner) => Limits | null

/** Gives this gateway its part of every limit. */
export interface Shares {
  /** The first share of what was not asked for before. */
  begin(): Share
  /** Somebody wants more than there is. */
  ask(): void
}

/** Below a tick of the deadlines, so that it is every tick. */
const lookAgainMs = 25
/** So many of those that have limits are remembered before those that nobody uses are forgotten. */
const subjectsKept = 1_024

interface Waiter extends Waiting {
  exchange: Exchange
  size: Estimate
  /** Whose limits it has: its deployment, its adapters, its key. */
  subjects: readonly Subject[]
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

  /** Everybody who is counted now. */
  subjects(): Subject[] {
    return [...this.#subjects.values()]
  }

  /**
   * Lets the request in, or queues it: null = it is in. Rejects with Fault `rate_limited` or `concurrency_limited`,
   * ClientGone, or what the server stops with. Only for what has a limit.
   */
  enter(exchange: Exchange, route: Route, principal: Principal, size: Estimate): Promise<void> | null {
    const subjects = this.#subjectsOf(route, exchange.adapters, principal)
    const now = this.#clock.monotonicMs()
    const line = this.#lines.get(route.deploymentId)
    // Who waits is first; but a full line keeps out those only who would have to wait as well.
    if (line !== undefined) {
      if (!line.places.isFull(exchange.bytesIn)) return this.#queue(exchange, route, principal, { subjects, size })
      this.#move(line, now)
    }
    const verdict = this.#tryEnter(exchange, subjects, now, size)
    if (verdict === 'yes') return null
    if (!passes(verdict)) throw this.#refuse(exchange, verdict, subjects, now, size)
    return this.#queue(exchange, route, principal, { subjects, size })
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

  #subjectsOf({ deploymentId, limits, adapters }: Route, asked: AdapterAsk | null, principal: Principal): Subject[] {
    const all: Subject[] = []
    if (limits !== undefined) all.push(this.#subject(deploymentSubject(deploymentId), limits))
    if (asked?.limited)
      for (const { name } of asked.shares) {
        const own = adapters?.[name]?.limits
        if (own !== undefined) all.push(this.#subject(adapterSubject(deploymentId, name), own))
      }
    if (principal.limits) all.push(this.#subject(keySubject(principal.keyId), principal.limits))
    return all
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
  #refresh(subjects: readonly Subject[]): void {
    if (this.#known === null) return
    for (const subject of subjects) subject.limits = this.#known(ownerOf(subject.name)) ?? noLimits
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

  #tryEnter(exchange: Exchange, subjects: readonly Subject[], now: number, size: Estimate): Verdict {
    const verdict = this.#verdict(subjects, now, size)
    if (verdict !== 'yes') return verdict
    const admission = Admission.take(subjects, now, size)
    if (admission === null) return 'at_once'
    exchange.admission = admission
    exchange.rateHeaders = rateHeaders(subjects, now)
    return 'yes'
  }

  /** The worst of all: what is refused is refused, what may come waits. */
  #verdict(subjects: readonly Subject[], now: number, size: Estimate): Verdict {
    let worst: Verdict = 'yes'
    let wanting = false
    for (const subject of subjects) {
      const verdict = subject.verdict(now, size)
      if (!passes(verdict)) return verdict
      if (verdict !== 'yes') worst = verdict
      if (subject.wanting) wanting = true
    }
    if (wanting) this.#shares?.ask()
    return worst
  }

  #refuse(exchange: Exchange, verdict: Verdict, subjects: readonly Subject[], now: number, size: Estimate): Fault {
    // Whoever was not asked, because somebody before it refused, may count what has passed.
    for (const { window } of subjects) window.slide(now)
    const refuses = subjects.find((subject) => subject.verdict(now, size) === verdict) ?? subjects.at(-1)!
    const lacks = verdict === 'lease' ? refuses.lacks(now) : verdict
    exchange.rateHeaders = rateHeaders(subjects, now, lacks === 'requests')
    return refusal(lacks, refuses, now, size)
  }

  #queue(
    exchange: Exchange,
    { deploymentId }: Route,
    { keyId }: Principal,
    parts: Pick<Waiter, 'subjects' | 'size'>,
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
      const needs = exchange.adapters?.limited ? exchange.adapters.names : undefined
      const turn: Waiting = { keyId, priority: exchange.priority, cost: parts.size.most, needs }
      const waiter: Waiter = { exchange, ...turn, ...parts, end }
      const bound = this.#deadlines.add(maxMs, () => this.#late(deploymentId, waiter))
      exchange.interrupted = end
      this.#add(deploymentId, places, waiter, bytes)
      this.#moveOne(deploymentId, from)
    })
  }

  /** It has waited as long as it may: it comes now, where another worker has left a place since the last look, or never. */
  #late(deploymentId: string, waiter: Waiter): void {
    const { exchange, subjects, size } = waiter
    const now = this.#clock.monotonicMs()
    const verdict = this.#tryEnter(exchange, subjects, now, size)
    if (verdict === 'yes') this.#lines.get(deploymentId)!.queue.serve(waiter)
    waiter.end(verdict === 'yes' ? null : this.#refuse(exchange, verdict, subjects, now, size))
  }

  /** There is no line for it. */
  #lateFault(exchange: Exchange, { subjects, size }: Pick<Waiter, 'subjects' | 'size'>): Fault {
    const now = this.#clock.monotonicMs()
    const verdict = this.#verdict(subjects, now, size)
    return this.#refuse(exchange, verdict === 'yes' ? 'at_once' : verdict, subjects, now, size)
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
    for (const subject of waiter.subjects) subject.waits(1)
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
    for (const subject of waiter.subjects) subject.waits(-1)
    if (line.queue.size > 0) return
    this.#deadlines.cancel(line.pulse)
    line.places.close()
    this.#lines.delete(deploymentId)
  }

  /** Whoever's turn it is, as long as there is somebody whom the limits let in, or refuse for good. */
  #move(line: Line, now: number): void {
    const may = ({ subjects, size }: Waiter): boolean => {
      this.#refresh(subjects)
      return passed(this.#verdict(subjects, now, size))
    }
    while (line.queue.size > 0) {
      const next = line.queue.next(may)
      if (next === null) return
      const { exchange, subjects, size } = next
      const verdict = this.#tryEnter(exchange, subjects, now, size)
      if (verdict === 'yes') {
        // Before `end`, which strikes out what was not served.
        line.queue.serve(next)
        next.end(null)
      } else if (passes(verdict)) return
      else next.end(this.#refuse(exchange, verdict, subjects, now, size))
    }
  }
}

/** It may yet be let in. */
function passes(verdict: Verdict): boolean {
  return verdict === 'yes' || verdict === 'at_once' || verdict === 'lease'
}

/** There is something to be done with it now. */
function passed(verdict: Verdict): boolean {
  return verdict !== 'at_once' && verdict !== 'lease'
}
