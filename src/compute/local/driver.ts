/**
 * Engines on this machine. This process may die at any line: everything that is known of a replica is in its run
 * folder (run-folder.ts), and each engine has a keeper that needs nobody (keeper.ts). So a driver that starts finds the
 * engines of the one before it, and two at once agree.
 */
import { utimes } from 'node:fs/promises'
import { isId, type ReplicaId } from '../../kernel/ids.ts'
import { type ComputeDriver, ComputeError, type Observation, type Offer, type ReplicaOrder } from '../contract.ts'
import { admit } from './admit.ts'
import { provider } from './capacity.ts'
import { askToStop, endWithin, forbidKeeper, remove, settle } from './end.ts'
import { Host } from './host.ts'
import type { LocalOptions } from './options.ts'
import { tail } from './output.ts'
import { isKept, type KeeperRecord, type RunFolder, replicasIn } from './run-folder.ts'
import { placeForEngine, startKeeper, writeOrder } from './start.ts'
import { endRemains } from './strays.ts'
import { type SweepReport, sweep } from './sweep.ts'

export type { LocalOptions } from './options.ts'
export type { SweepReport } from './sweep.ts'

const logLinesMaximum = 5_000

export class LocalCompute implements ComputeDriver {
  readonly name = provider
  readonly #host: Host
  /** Creates under way here: a second call for the same id waits for the first. */
  readonly #creating = new Map<ReplicaId, Promise<void>>()
  /** Admissions one after the other, so that none counts on what another is taking. */
  #admissions: Promise<unknown> = Promise.resolve()

  constructor(options: LocalOptions) {
    this.#host = new Host(options)
  }

  offers(): Promise<Offer[]> {
    return this.#host.offers()
  }

  create(order: ReplicaOrder): Promise<void> {
    const underWay = this.#creating.get(order.id)
    if (underWay !== undefined) return underWay
    const create = this.#create(order).finally(() => this.#creating.delete(order.id))
    this.#creating.set(order.id, create)
    return create
  }

  async observe(id: ReplicaId): Promise<Observation> {
    const run = this.#run(id)
    const exit = run.exit()
    if (exit !== null) return { state: 'exited', exit }
    const keeper = run.keeper()
    if (keeper === null) {
      if (!run.exists()) return { state: 'not_found' }
      return { state: 'pending', detail: 'Its files are being placed.', ...filesBegan(run.intent()?.at) }
    }
    if (!isKept(keeper)) return this.#settled(run, keeper)
    const order = run.order()
    const began = filesBegan(order?.filesAt)
    if (keeper.enginePid === 0 || order === null)
      return { state: 'pending', detail: 'Its engine is being started.', ...began }
    return { state: 'running', address: order.address, port: order.port, startedAt: keeper.startedAt, ...began }
  }

  async list(): Promise<ReplicaId[]> {
    return replicasIn(this.#host.options.folder)
  }

  /** Without `graceSeconds` the engine has what its launch said. Asking again with less shortens it. */
  async delete(id: ReplicaId, { graceSeconds }: { graceSeconds?: number } = {}): Promise<void> {
    const run = this.#run(id)
    try {
      if (!run.exists()) return
      if (run.keeper() === null) forbidKeeper(run)
      const keeper = run.keeper()
      if (isKept(keeper)) return askToStop(this.#host, run, keeper, graceSeconds)
      if (await endRemains(run, this.#host.clock)) remove(this.#host, run)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asComputeError(error)
      // Somebody else removed it meanwhile.
    }
  }

  async placeFile(id: ReplicaId, name: string, path: string): Promise<string> {
    const intent = this.#run(id).intent()
    if (intent === null) throw new ComputeError('not_found', `There is no replica ${id} on this machine.`)
    if (!/^[\w-]{1,100}$/.test(name)) throw new ComputeError('rejected', `"${name}" is no name of a file.`)
    return placeForEngine(this.#host, id, intent, path, name)
  }

  async logs(id: ReplicaId, lines: number): Promise<string[]> {
    const run = this.#run(id)
    if (!run.exists()) throw new ComputeError('not_found', `There is no replica ${id} on this machine.`)
    return tail(run.file('log'), Math.min(lines, logLinesMaximum))
  }

  async renew(ids: ReplicaId[]): Promise<void> {
    const now = new Date(this.#host.clock.now())
    // What is gone needs no lease.
    await Promise.all(ids.map((id) => utimes(this.#run(id).file('lease'), now, now).catch(() => {})))
  }

  /** Ends processes that no replica owns, records deaths, removes what is left over. At a start and now and then. */
  sweep(): Promise<SweepReport> {
    return sweep(this.#host, new Set(this.#creating.keys()))
  }

  /**
   * Stops every engine at once and waits; their exit records stay for whoever looks next. Gives the ids whose engine
   * could not be ended.
   */
  async endAll({ graceSeconds }: { graceSeconds?: number } = {}): Promise<ReplicaId[]> {
    const ids = await this.list()
    const ended = await Promise.all(ids.map((id) => endWithin(this.#host, this.#run(id), graceSeconds)))
    return ids.filter((_, index) => !ended[index])
  }

  async #create(order: ReplicaOrder): Promise<void> {
    const run = this.#run(order.id)
    try {
      if (run.exit() !== null) return
      const keeper = run.keeper()
      if (keeper?.pid === 0) throw new ComputeError('rejected', `${order.id} is being removed.`)
      if (keeper !== null) return
      const intent = await this.#alone(() => admit(this.#host, order))
      await startKeeper(this.#host, run, await writeOrder(this.#host, order, intent))
    } catch (error) {
      this.#undo(run)
      throw asComputeError(error)
    }
  }

  /** A start that failed before there was an order leaves nothing behind. */
  #undo(run: RunFolder): void {
    if (!run.exists() || run.order() !== null || run.keeper() !== null) return
    remove(this.#host, run)
  }

  async #settled(run: RunFolder, keeper: KeeperRecord): Promise<Observation> {
    try {
      return { state: 'exited', exit: await settle(this.#host, run, keeper) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !run.exists()) return { state: 'not_found' }
      throw asComputeError(error)
    }
  }

  #alone<T>(admission: () => Promise<T>): Promise<T> {
    const result = this.#admissions.then(admission)
    this.#admissions = result.catch(() => {})
    return result
  }

  /** An id becomes a path: nothing else than an id gets that far. */
  #run(id: ReplicaId): RunFolder {
    if (!isId('rep', id)) throw new ComputeError('rejected', `"${id}" is no replica id.`)
    return this.#host.run(id)
  }
}

function filesBegan(at: number | undefined): Pick<Extract<Observation, { state: 'running' }>, 'began'> {
  return at === undefined ? {} : { began: { files: at } }
}

function asComputeError(error: unknown): ComputeError {
  if (error instanceof ComputeError) return error
  return new ComputeError('unavailable', `This machine: ${(error as Error).message}`, error)
}
