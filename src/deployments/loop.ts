/**
 * The reconciler: claims deployments that are due and takes a turn for each, several at a time. Wake-ups carry no data:
 * they only shorten the wait. Beside it the watcher, which asks for a turn when a replica is not as its row says, and
 * the sweep that removes what no row owns.
 */

import { defaultOrgId } from '../access/keyring.ts'
import { record } from '../events/store.ts'
import { claim, type Lease, release, wakeMany } from '../store/leases.ts'
import { stall } from './queue-store.ts'
import * as store from './store.ts'
import { type TurnWorld, turn } from './turn.ts'
import { Watcher } from './watch.ts'

const leaseMs = 90_000
const turnsAtOnce = 32
const idleMs = 1_000
const sweepEveryMs = 30_000
const errorPauseMs = 500

export class DeploymentLoop {
  readonly #world: TurnWorld
  readonly #owner: string
  readonly #watcher: Watcher
  #running = new Map<string, Promise<void>>()
  #wake: () => void = () => {}
  #woken = false

  constructor(world: Omit<TurnWorld, 'recall' | 'follow'>, owner: string) {
    this.#watcher = new Watcher(world, async (ids) => {
      await wakeMany(world.db, 'deployments', ids, world.clock.now())
      this.wake()
    })
    const watcher = this.#watcher
    this.#world = {
      ...world,
      recall: (id) => watcher.recall(id),
      follow: (id, replicas) => watcher.follow(id, replicas),
    }
    this.#owner = owner
  }

  /** Something may have changed: look now. */
  wake(): void {
    this.#woken = true
    this.#wake()
  }

  /** Runs until the signal aborts; then waits for the turns under way. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.wake(), { once: true })
    const watching = this.#watcher.run(signal)
    let tookOver = false
    while (!signal.aborted) {
      this.#woken = false
      await this.#tolerant('claim', async () => {
        // Not before it succeeded: what a killed control had claimed would wait for the end of its claim.
        if (!tookOver) await store.takeOver(this.#world.db, this.#owner, this.#now())
        tookOver = true
        await this.#claimAndStart()
      })
      await this.#wait(signal)
    }
    await Promise.all([watching, ...this.#running.values()])
  }

  async #claimAndStart(): Promise<void> {
    const { db } = this.#world
    const limit = turnsAtOnce - this.#running.size
    if (limit <= 0) return
    for (const lease of await claim(db, {
      table: 'deployments',
      owner: this.#owner,
      now: this.#world.clock.now(),
      leaseMs,
      limit,
    })) {
      const work = this.#tolerant(`turn of ${lease.id}`, () => this.#turn(lease)).finally(() => {
        this.#running.delete(lease.id)
        this.wake()
      })
      this.#running.set(lease.id, work)
    }
  }

  /** A turn that failed is tried again soon, not when its claim runs out. */
  async #turn(lease: Lease): Promise<void> {
    try {
      await turn(this.#world, lease)
    } catch (error) {
      // Hardware that it waits for is not kept for one that cannot take it.
      await stall(this.#world.db, lease.id).catch(() => {})
      await release(this.#world.db, lease, this.#world.clock.now() + errorPauseMs).catch(() => {})
      throw error
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    if (this.#woken || signal.aborted) return
    const { clock, db } = this.#world
    const next = await store.nextLookAt(db).catch(() => null)
    const ms = next === null ? idleMs : Math.min(idleMs, Math.max(5, next.getTime() - clock.now()))
    if (this.#woken) return
    const stop = new AbortController()
    this.#wake = () => stop.abort()
    // Due, but all at once are busy or leased: look again shortly, not in a spin.
    await clock.sleep(this.#running.size >= turnsAtOnce ? idleMs : ms, stop.signal)
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
      const owned = await store.ownedReplicas(db, ids)
      for (const id of ids.filter((candidate) => !owned.has(candidate))) {
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
