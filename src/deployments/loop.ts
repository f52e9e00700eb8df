/**
 * The reconciler: claims deployments that are due, looks at many together and takes a turn for each that needs one,
 * several at a time. Wake-ups carry no data: they only shorten the wait. Beside it the watcher, which asks for a turn when
 * a replica is not as its row says, and the sweep that removes what no row owns.
 */

import { defaultOrgId } from '../access/keyring.ts'
import { record } from '../events/store.ts'
import { Slots } from '../runtime/slots.ts'
import { claimDue, type Lease, release, releaseMany, wakeMany } from '../store/leases.ts'
import { type Busy, lookAtMany } from './batch.ts'
import { stall } from './queue-store.ts'
import { orphansAmong } from './replica.ts'
import { noteSightings } from './sightings.ts'
import * as store from './store.ts'
import { type Decided, type TurnWorld, takeTurn, turn } from './turn.ts'
import { Watcher } from './watch.ts'

const leaseMs = 90_000
const turnsAtOnce = 32
/** Deployments that are claimed and read together, and how many such looks go on at once. */
const batchSize = 128
const looksAtOnce = 3
const decisionFreshMs = 250
const idleMs = 1_000
const leastPauseMs = 5
const sweepEveryMs = 30_000
const errorPauseMs = 500

export class DeploymentLoop {
  readonly #world: TurnWorld
  readonly #owner: string
  readonly #watcher: Watcher
  readonly #slots = new Slots(turnsAtOnce)
  readonly #running = new Set<Promise<void>>()
  /** Batches being looked at, and turns under way or in line. */
  #looks = 0
  #turns = 0
  #wake: () => void = () => {}
  #woken = false
  #wakes = 0
  /** Something may be due, and all hands are full. */
  #full = false
  /** When the next look is due as far as is known, ms since epoch. */
  #dueAt = Number.POSITIVE_INFINITY
  #sleepsUntil = Number.NEGATIVE_INFINITY
  #tookOver = false

  constructor(world: Omit<TurnWorld, 'recall' | 'lastSeen' | 'follow' | 'due'>, owner: string) {
    this.#watcher = new Watcher(world, async (ids) => {
      // One statement; when others are in its way the watcher asks again.
      await wakeMany(world.db, 'deployments', ids, world.clock.now())
      this.wake()
    })
    const watcher = this.#watcher
    this.#world = {
      ...world,
      recall: (id) => watcher.recall(id),
      lastSeen: (id) => watcher.lastSeen(id),
      follow: (id, replicas) => watcher.follow(id, replicas),
      due: (at) => this.#noteDue(at),
    }
    this.#owner = owner
  }

  /** Something may have changed: look now. */
  wake(): void {
    this.#wakes += 1
    this.#woken = true
    this.#wake()
  }

  #noteDue(at: number | null): void {
    if (at === null) return
    // Perhaps of one that is being looked at.
    if (at <= this.#world.clock.now()) this.#wakes += 1
    if (at >= this.#dueAt) return
    this.#dueAt = at
    if (at < this.#sleepsUntil) this.#wake()
  }

  /** Runs until the signal aborts; then waits for the turns under way. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.wake(), { once: true })
    const watching = this.#watcher.run(signal)
    const noting = noteSightings(this.#world, this.#watcher, signal)
    while (!signal.aborted) {
      this.#woken = false
      await this.#tolerant('claim', async () => {
        await this.#takeOver()
        await this.#claimAndStart()
      })
      await this.#wait(signal)
    }
    await Promise.all([watching, noting])
    // A look that ends may leave turns behind.
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  /** All that is due now, until nothing is: for whoever moves the clock by hand, instead of `run`. */
  async settle(): Promise<void> {
    await this.#takeOver()
    do {
      while (this.#running.size > 0) await Promise.all(this.#running)
      await this.#watcher.look()
      await this.#claimAndStart()
    } while (this.#running.size > 0)
  }

  /** When `settle` has something to do again by itself, ms since epoch; null = only when something changes. */
  async nextAt(): Promise<number | null> {
    const moments = [(await store.nextLookAt(this.#world.db))?.getTime() ?? null, this.#watcher.nextAt]
    const known = moments.filter((at) => at !== null)
    return known.length === 0 ? null : Math.min(...known)
  }

  /** What a killed control had claimed must not wait for the end of its claim. */
  async #takeOver(): Promise<void> {
    if (this.#tookOver) return
    await store.takeOver(this.#world.db, this.#owner, this.#now())
    this.#tookOver = true
  }

  async #claimAndStart(): Promise<void> {
    const { db, clock } = this.#world
    this.#full = this.#isFull()
    if (this.#full) return
    const wakes = this.#wakes
    // What is released meanwhile says so itself.
    this.#dueAt = Number.POSITIVE_INFINITY
    const { leases, nextAt } = await claimDue(db, {
      table: 'deployments',
      owner: this.#owner,
      now: clock.now(),
      leaseMs,
      limit: batchSize,
    })
    this.#noteDue(nextAt)
    if (leases.length === 0) return
    this.#looks += 1
    this.#track(
      this.#tolerant(`look at ${leases.length}`, () => this.#look(leases, wakes)).finally(() => {
        this.#looks -= 1
      }),
      wakes,
    )
  }

  #isFull(): boolean {
    return this.#looks >= looksAtOnce || this.#turns >= turnsAtOnce
  }

  /** What fails is tried again soon, not when its claim runs out. */
  async #look(leases: Lease[], wakes: number): Promise<void> {
    try {
      const decidedAt = this.#world.clock.monotonicMs()
      for (const one of await lookAtMany(this.#world, leases)) this.#take(one, decidedAt, wakes)
    } catch (error) {
      const nextAt = this.#world.clock.now() + errorPauseMs
      const ends = leases.map((lease) => ({ lease, nextAt }))
      await this.#world.db.tx((tx) => releaseMany(tx, ends)).catch(() => {})
      this.#noteDue(nextAt)
      throw error
    }
  }

  #take({ lease, decided }: Busy, decidedAt: number, wakes: number): void {
    this.#turns += 1
    const work = new Promise<void>((done) =>
      this.#slots.add(async () => {
        // What was decided long ago, because there was so much to do, is decided anew.
        const late = this.#world.clock.monotonicMs() - decidedAt > decisionFreshMs
        await this.#tolerant(`turn of ${lease.id}`, () => this.#turn(lease, late ? null : decided))
        this.#turns -= 1
        done()
      }),
    )
    this.#track(work, wakes)
  }

  async #turn(lease: Lease, decided: Decided | null): Promise<void> {
    try {
      if (decided === null) await turn(this.#world, lease)
      else await takeTurn(this.#world, lease, decided)
    } catch (error) {
      // Hardware that it waits for is not kept for one that cannot take it.
      await stall(this.#world.db, lease.id).catch(() => {})
      const nextAt = this.#world.clock.now() + errorPauseMs
      await release(this.#world.db, lease, nextAt).catch(() => {})
      this.#noteDue(nextAt)
      throw error
    }
  }

  /** `wakes`: how many there had been when its rows were claimed. */
  #track(work: Promise<void>, wakes: number): void {
    this.#running.add(work)
    void work.finally(() => {
      this.#running.delete(work)
      // What was woken while it was being looked at is due again.
      if (this.#full || this.#wakes !== wakes) this.wake()
    })
  }

  async #wait(signal: AbortSignal): Promise<void> {
    if (this.#woken || signal.aborted) return
    const { clock } = this.#world
    const now = clock.now()
    // Due, but somebody holds its row: look again shortly, not in a spin.
    const ms = this.#full ? idleMs : Math.min(idleMs, Math.max(leastPauseMs, this.#dueAt - now))
    const stop = new AbortController()
    this.#wake = () => stop.abort()
    this.#sleepsUntil = now + ms
    await clock.sleep(ms, stop.signal)
    this.#sleepsUntil = Number.NEGATIVE_INFINITY
  }

  /** Every provider's list against our rows: what nobody owns is removed and reported. */
  async sweepForever(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#tolerant('sweep', () => this.sweep())
      await this.#world.clock.sleep(sweepEveryMs, signal)
    }
  }

  async sweep(): Promise<void> {
    const { db, computes, log } = this.#world
    for (const driver of computes.values()) {
      await driver.sweep?.()
      const ids = await driver.list()
      for (const id of orphansAmong(ids, await store.ownedReplicas(db, ids))) {
        log.warn({ replica: id, provider: driver.name }, 'removing a replica that nothing owns')
        await driver.delete(id)
        await db.tx((tx) =>
          record(tx, {
            orgId: defaultOrgId,
            deploymentId: null,
            type: 'replica.orphan_removed',
            data: { replica_id: id },
            at: this.#now(),
          }),
        )
      }
    }
  }

  #now(): Date {
    return new Date(this.#world.clock.now())
  }

  /** A database that is away or a bug in one turn must not end the loop; the pause keeps it from spinning. */
  async #tolerant(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#world.log.error(
        { what, error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
        'the reconciler stumbled',
      )
      await this.#world.clock.sleep(errorPauseMs)
    }
  }
}
