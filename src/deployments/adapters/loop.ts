/**
 * Brings adapters to where they belong: every replica that is ready gets every adapter of its deployment, whenever it
 * came and why; the gateways send an adapter's requests only where it is loaded. What is about to be asked of an engine
 * is written down before; all that an engine is asked may be asked twice.
 */
import type { ComputeDriver } from '../../compute/contract.ts'
import type { AdapterRoom, EngineAdapter, EngineAdapters } from '../../engines/contract.adapters.ts'
import type { EngineDriver, EngineType } from '../../engines/contract.ts'
import { record } from '../../events/store.ts'
import { Fault } from '../../kernel/fault.ts'
import type { ReplicaId } from '../../kernel/ids.ts'
import type { AdapterSources, Brought } from '../../models/adapters/sources.ts'
import { passesByItself } from '../../models/hub/answer.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Seal } from '../../runtime/seal.ts'
import type { Database, Tx } from '../../store/database.ts'
import { engineKey } from '../observe.ts'
import { callEngine } from '../probe.ts'
import * as store from '../store.ts'
import { type AdapterPart, type AdapterStep, adapterSteps, againAt, triesMaximum } from './plan.ts'
import { publishAdapters } from './publish.ts'
import { type AdapterStateRow, adaptersOf, dropState, saveAdapterState, statesOf, withAdapters } from './store.ts'

const idleMs = 500
/** How often it is looked how far a file has come. */
const bringPauseMs = 1_000
const deploymentsAtOnce = 8

export interface AdapterLoopWorld {
  db: Database
  clock: Clock
  seal: Seal
  log: Log
  computes: ReadonlyMap<string, ComputeDriver>
  engines: ReadonlyMap<EngineType, EngineDriver>
  /** Where adapters come from. */
  models: { adapters: AdapterSources }
}

/** One replica with the engine that it runs. */
interface Target {
  row: store.ReplicaRow
  engine: EngineAdapters
  /** What it set aside at its start; null = nothing. */
  room: AdapterRoom | null
}

type StateChange = Pick<AdapterStateRow, 'state' | 'detail' | 'handle' | 'tries'> & { nextAt: number }

export class AdapterLoop {
  readonly #world: AdapterLoopWorld
  /** Replica → when its engine last listed what it has. */
  readonly #listedAt = new Map<string, number>()
  /** Replica and adapter → where that replica's engine reads it. */
  readonly #placed = new Map<string, string>()
  #wake: () => void = () => {}

  constructor(world: AdapterLoopWorld) {
    this.#world = world
  }

  /** Something changed: look now. */
  wake(): void {
    this.#wake()
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#world
    while (!signal.aborted) {
      const stop = new AbortController()
      const wake = () => stop.abort()
      this.#wake = wake
      signal.addEventListener('abort', wake, { once: true })
      try {
        await this.tick()
      } catch (error) {
        log.error({ error: (error as Error).stack ?? String(error) }, 'the loading of adapters stumbled')
      }
      if (!signal.aborted) await clock.sleep(idleMs, stop.signal)
      signal.removeEventListener('abort', wake)
    }
  }

  /** Looks once at every deployment that has adapters. */
  async tick(): Promise<void> {
    const { db, log } = this.#world
    const ids = await withAdapters(db)
    const work = async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop())
        await this.#look(id).catch((error: Error) =>
          log.error({ deployment: id, error: error.stack ?? String(error) }, 'adapters of a deployment stumbled'),
        )
    }
    await Promise.all(Array.from({ length: deploymentsAtOnce }, work))
  }

  async #look(deploymentId: string): Promise<void> {
    const { db, clock } = this.#world
    const [deployment, revisions, replicas, adapters, states] = await Promise.all([
      store.deploymentById(db, deploymentId),
      store.revisionsOf(db, deploymentId),
      store.liveReplicasOf(db, deploymentId),
      adaptersOf(db, deploymentId),
      statesOf(db, deploymentId),
    ])
    if (deployment === null || deployment.desired === 'deleted') return this.#write(deploymentId, async () => {})
    const targets = new Map<string, Target>()
    for (const row of replicas) {
      const spec = revisions.find(({ id }) => id === row.revision_id)?.spec.engine
      const engine = spec && this.#world.engines.get(spec.type)?.adapters
      if (engine) targets.set(row.id, { row, engine, room: spec.adapterRoom ?? null })
    }
    const steps = adapterSteps({
      adapters: adapters.map((a) => ({ ...a, removed: a.removed_at !== null })),
      replicas: [...targets.values()].map(({ row }) => ({
        id: row.id,
        ready: row.phase === 'ready' && row.unhealthy_since === null && row.address !== null,
        listedAt: this.#listedAt.get(row.id) ?? 0,
      })),
      states: states.map((s) => ({
        ...s,
        adapterId: s.adapter_id,
        replicaId: s.replica_id,
        nextAt: s.next_at.getTime(),
      })),
      now: clock.now(),
    })
    const byReplica = Map.groupBy(steps, ({ replicaId }) => replicaId)
    await Promise.all(
      [...byReplica].map(async ([replicaId, of]) => {
        // An engine does one thing after the other.
        for (const step of of) await this.#take(deploymentId, targets.get(replicaId), step)
      }),
    )
    if (steps.length === 0 && deployment.adapters !== null && adapters.length === 0)
      await this.#write(deploymentId, async () => {})
  }

  async #take(deploymentId: string, target: Target | undefined, step: AdapterStep): Promise<void> {
    switch (step.do) {
      case 'forget':
        this.#listedAt.delete(step.replicaId)
        this.#placed.delete(placeOf(step.replicaId, step.adapterId))
        this.#world.models.adapters.leave(step.replicaId)
        return this.#write(deploymentId, (tx) => dropState(tx, step.adapterId, step.replicaId))
      case 'load':
        return this.#load(deploymentId, target!, step)
      case 'unload':
        return this.#unload(deploymentId, target!, step)
      case 'verify':
        return this.#verify(deploymentId, target!, step.adapters)
    }
  }

  async #load(deploymentId: string, target: Target, { adapter, tries }: { adapter: AdapterPart; tries: number }) {
    const { engine, row } = target
    // It would refuse for good what one of the revision that is on its way will take.
    if (!hasRoom(target, adapter)) return this.#failed(deploymentId, row, adapter, tries, { why: noRoom, again: true })
    const brought = await this.#bring(deploymentId, target, adapter)
    if (brought instanceof Error) {
      // What passes by itself is waited for, however long it takes.
      const passes = brought instanceof Fault && passesByItself(brought)
      const outcome = { why: brought.message, again: passes || tries + 1 < triesMaximum }
      return this.#failed(deploymentId, row, adapter, passes ? Math.min(tries, triesMaximum - 2) : tries, outcome)
    }
    if ('detail' in brought) {
      const nextAt = this.#world.clock.now() + bringPauseMs
      return this.#save(deploymentId, row, adapter, { ...working, detail: brought.detail, tries, nextAt })
    }
    const seen = await this.#seen(target, adapter, brought.path)
    const call = engine.load(seen)
    // One that its launch names comes with a replica of the new revision; this one may go without ever having it.
    if (call !== null) await this.#save(deploymentId, row, adapter, { ...working, tries })
    const { status, body } = call === null ? { status: 200, body: '' } : await this.#call(row, call)
    const outcome = call === null ? ({ done: true } as const) : engine.outcome('load', status, body)
    const handle = outcome.done ? (await this.#listed(target, [seen]))?.get(seen.engineName) : undefined
    if (handle !== undefined) {
      await this.#save(deploymentId, row, adapter, { state: 'ready', detail: null, handle, tries: 0, nextAt: 0 })
      return
    }
    const why = outcome.done ? notThere : outcome.why
    const again = outcome.done || (outcome.again && tries + 1 < triesMaximum)
    await this.#failed(deploymentId, row, adapter, tries, { why, again })
  }

  async #failed(
    deploymentId: string,
    row: store.ReplicaRow,
    adapter: AdapterPart,
    tries: number,
    { why, again }: { why: string; again: boolean },
  ): Promise<void> {
    const nextAt = againAt(tries, this.#world.clock.now())
    const state = again ? 'pending' : 'failed'
    await this.#save(deploymentId, row, adapter, { state, detail: why, handle: null, tries: tries + 1, nextAt })
  }

  async #unload(deploymentId: string, { engine, row }: Target, step: { adapter: AdapterPart; tries: number }) {
    const { adapter, tries } = step
    // Others that this replica waits for are asked for again.
    if (adapter.origin) this.#world.models.adapters.leave(row.id)
    this.#placed.delete(placeOf(row.id, adapter.id))
    const call = engine.unload(adapter.id)
    const { status, body } = call === null ? { status: 200, body: '' } : await this.#call(row, call)
    const outcome = call === null ? ({ done: true } as const) : engine.outcome('unload', status, body)
    // One that will not let go is kept by the engine until its replica goes; nobody asks for it any more.
    if (outcome.done || !outcome.again || tries + 1 >= triesMaximum)
      return this.#write(deploymentId, (tx) => dropState(tx, adapter.id, row.id))
    const nextAt = againAt(tries, this.#world.clock.now())
    await this.#save(deploymentId, row, adapter, {
      state: 'pending',
      detail: outcome.why,
      handle: null,
      tries: tries + 1,
      nextAt,
    })
  }

  async #verify(deploymentId: string, target: Target, adapters: AdapterPart[]): Promise<void> {
    const seen: EngineAdapter[] = []
    for (const adapter of adapters) {
      const known = this.#placed.get(placeOf(target.row.id, adapter.id))
      if (known !== undefined) {
        seen.push({ engineName: adapter.id, path: known, rank: adapter.rank })
        continue
      }
      const brought = await this.#bring(deploymentId, target, adapter)
      // Its engine has it, whatever became of the file it was read from: looked at once that is here again.
      if (brought instanceof Error || 'detail' in brought) return
      seen.push(await this.#seen(target, adapter, brought.path))
    }
    const listed = await this.#listed(target, seen)
    // What cannot be asked says nothing: its probes do.
    if (listed === null) return
    for (const adapter of adapters)
      if (!listed.has(adapter.id))
        await this.#save(deploymentId, target.row, adapter, { ...working, state: 'pending', detail: lost })
  }

  async #listed({ engine, row }: Target, adapters: EngineAdapter[]): Promise<ReadonlyMap<string, string> | null> {
    const { status, body } = await this.#call(row, engine.list)
    const listed = engine.listed(adapters, status, body)
    if (listed !== null) this.#listedAt.set(row.id, this.#world.clock.now())
    return listed
  }

  /** The adapter as this replica's engine sees it: under a name that is its own, where the engine may read it. */
  async #seen({ row }: Target, { id, rank }: AdapterPart, path: string): Promise<EngineAdapter> {
    const compute = this.#world.computes.get(row.provider)
    const placed = (await compute?.placeFile?.(row.id as ReplicaId, id, path)) ?? path
    this.#placed.set(placeOf(row.id, id), placed)
    return { engineName: id, path: placed, rank }
  }

  /** To this machine; never waits for it. */
  async #bring(deploymentId: string, { row }: Target, { path, origin }: AdapterPart): Promise<Brought | Error> {
    const order = { orgId: row.org_id, deploymentId, replicaId: row.id }
    try {
      return await this.#world.models.adapters.bring({ path, origin: origin ?? null }, order)
    } catch (error) {
      return error as Error
    }
  }

  #call(row: store.ReplicaRow, call: Parameters<typeof callEngine>[2]) {
    return callEngine({ address: row.address!, port: row.port! }, engineKey(this.#world.seal, row.id), call)
  }

  async #save(deploymentId: string, row: store.ReplicaRow, adapter: AdapterPart, change: StateChange): Promise<void> {
    const { nextAt, ...state } = change
    await this.#write(deploymentId, async (tx, at, orgId) => {
      const next_at = new Date(nextAt)
      await saveAdapterState(tx, { adapter_id: adapter.id, replica_id: row.id, ...state, next_at }, at)
      const told = { adapter: adapter.name, adapter_id: adapter.id, replica_id: row.id }
      if (state.state === 'ready') await record(tx, { orgId, deploymentId, type: 'adapter.ready', data: told, at })
      if (state.state === 'failed' || (state.state === 'pending' && state.detail === lost)) {
        const data = { ...told, why: state.detail ?? '' }
        await record(tx, { orgId, deploymentId, type: 'adapter.failed', data, at })
      }
    })
  }

  /** Under the deployment's lock; the gateways learn of it with the same commit. */
  async #write(deploymentId: string, write: (tx: Tx, at: Date, orgId: string) => Promise<void>): Promise<void> {
    const { db, clock } = this.#world
    await db.tx(async (tx) => {
      const row = await store.lockDeployment(tx, deploymentId)
      if (row === null) return
      await write(tx, new Date(clock.now()), row.org_id)
      await publishAdapters(tx, deploymentId)
    })
  }
}

function placeOf(replicaId: string, adapterId: string): string {
  return `${replicaId} ${adapterId}`
}

/** What is told at the start by name is looked for in what the engine lists. */
function hasRoom({ engine, room }: Target, { id, rank }: AdapterPart): boolean {
  return room?.fixed !== undefined || engine.room(room, [{ engineName: id, rank }]) === room
}

const working: StateChange = { state: 'loading', detail: null, handle: null, tries: 0, nextAt: 0 }
const notThere = 'This replica was started without it.'
const noRoom = 'This replica was started without room for it.'
const lost = 'The engine does not have it any more.'
