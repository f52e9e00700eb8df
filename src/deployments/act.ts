/** What a turn asks of the providers, and what comes of it. What stays unanswered is asked again by a later turn. */
import { ComputeError, type ReplicaOrder } from '../compute/contract.ts'
import { servedNameOf } from '../engines/contract.ts'
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { DeploymentId, ReplicaId } from '../kernel/ids.ts'
import type { Tx } from '../store/database.ts'
import { type Lease, release, withLease } from '../store/leases.ts'
import { adaptersById } from './adapters/store.ts'
import { lookAfterActingAt } from './look-again.ts'
import { engineKey, placementOf, viewOf } from './observe.ts'
import type { Action } from './plan.ts'
import { returnClaim } from './queue-store.ts'
import { wantsAgain } from './replica.ts'
import { engineOf, type Snapshot } from './snapshot.ts'
import * as store from './store.ts'
import type { TurnWorld } from './turn.ts'
import type { Followed } from './watch.ts'

/** Longest a provider call may take before the turn goes on without it. */
const actDeadlineMs = 60_000
/** Default of `capacity.refused_seconds`. */
const defaultRefusedMs = 30_000

export type Outcome =
  | { replicaId: string; result: 'started'; row: store.ReplicaRow }
  | { replicaId: string; result: 'unanswered' }
  | { replicaId: string; result: 'refused'; row: store.ReplicaRow; short: boolean; why: string }

/** Calls the providers, all at once, each with a deadline. */
export async function act(world: TurnWorld, snapshot: Snapshot, actions: Action[]): Promise<Outcome[]> {
  const outcomes = await Promise.all(
    actions.map(async (action): Promise<Outcome | null> => {
      if (action.do === 'create') return create(world, snapshot, action.replicaId)
      if (action.do === 'delete') await remove(world, snapshot, action.replicaId)
      return null
    }),
  )
  return outcomes.filter((outcome) => outcome !== null)
}

async function create(world: TurnWorld, snapshot: Snapshot, replicaId: string): Promise<Outcome | null> {
  const row = (await store.liveReplicasOf(world.db, snapshot.deployment.id)).find((r) => r.id === replicaId)
  // A turn that stood still for long must not make anew what others have made, or removed, or given to another revision.
  const isDue = row?.phase === 'planned' || (row?.phase === 'starting' && isAskedFor(snapshot, replicaId))
  if (!row || !isDue || !snapshot.revisions.some(({ id }) => id === row.revision_id)) return null
  try {
    const driver = world.computes.get(row.provider)
    if (!driver) throw new ComputeError('rejected', `There is no compute driver "${row.provider}".`)
    await within(world, driver.create(await makeOrder(world, snapshot, row)))
    return { replicaId, result: 'started', row }
  } catch (error) {
    if (error instanceof ComputeError && (error.meaning === 'unavailable' || error.meaning === 'not_ready')) {
      world.log.warn({ replicaId, error: error.message }, 'the provider could not be asked to create a replica')
      return { replicaId, result: 'unanswered' }
    }
    const meant = error instanceof ComputeError || error instanceof Fault
    if (!meant) world.log.error({ replicaId, error: String(error) }, 'creating a replica failed')
    return {
      replicaId,
      result: 'refused',
      row,
      short: error instanceof ComputeError && error.meaning === 'capacity_short',
      why: (error as Error).message,
    }
  }
}

/** Its provider was interrupted while it made it. */
function isAskedFor({ input }: Snapshot, replicaId: string): boolean {
  return input.replicas.some((view) => view.id === replicaId && wantsAgain(view))
}

async function makeOrder(world: TurnWorld, snapshot: Snapshot, row: store.ReplicaRow): Promise<ReplicaOrder> {
  const { spec } = snapshot.revisions.find((r) => r.id === row.revision_id)!
  const engine = world.engines.get(spec.engine.type)
  if (!engine) throw new ComputeError('rejected', `The engine ${spec.engine.type} cannot run on this server.`)
  await engine.known?.()
  const obstacle = engine.obstacle?.() ?? null
  if (obstacle !== null) throw new ComputeError('rejected', obstacle)
  const files = await world.models.bring(world.db, row.org_id, spec.modelId, spec.source)
  // Only engines that must be told at their start have any fixed.
  const fixed = spec.engine.adapterRoom?.fixed ?? []
  const adapters = fixed.length === 0 ? [] : await bringAdapters(world, row, fixed)
  const { adapterSets } = world.settings
  return {
    id: row.id as ReplicaId,
    deploymentId: row.deployment_id as DeploymentId,
    placement: placementOf(row),
    model: files,
    ...(adapters.length === 0 ? {} : { files: Object.fromEntries(adapters.map(({ id, path }) => [id, path])) }),
    launch: (host) =>
      engine.launch({
        spec: spec.engine,
        model: files,
        host,
        servedName: servedNameOf(spec.modelId),
        apiKey: engineKey(world.seal, row.id),
        adapters: adapters.map(({ id, path, rank }) => ({ engineName: id, path: host.files?.[id] ?? path, rank })),
        ...(adapterSets === undefined ? {} : { adapterSets }),
      }),
  }
}

/** Those that its launch names, with the paths at which they are here. */
async function bringAdapters({ db, models }: TurnWorld, row: store.ReplicaRow, ids: readonly string[]) {
  const order = { orgId: row.org_id, deploymentId: row.deployment_id, replicaId: row.id }
  return Promise.all(
    (await adaptersById(db, ids)).map(async (adapter) => {
      const brought = await models.adapters.bring(adapter, order)
      if ('path' in brought) return { ...adapter, path: brought.path }
      throw new ComputeError('not_ready', `The adapter ${adapter.name} is on its way: ${brought.detail}`)
    }),
  )
}

async function remove(world: TurnWorld, snapshot: Snapshot, replicaId: string): Promise<void> {
  const row = snapshot.replicas.find((r) => r.id === replicaId)
  const driver = row && world.computes.get(row.provider)
  if (!driver) return
  try {
    // One that answers nobody will not heed a polite word either; its place may be waited for.
    const graceSeconds = row.unhealthy_since === null ? world.stopGraceSeconds : 0
    await within(world, driver.delete(replicaId as ReplicaId, { graceSeconds }))
  } catch (error) {
    world.log.warn(
      { replicaId, error: (error as Error).message },
      'the provider could not be asked to remove a replica',
    )
  }
}

async function within<T>(world: TurnWorld, work: Promise<T>): Promise<T> {
  const stop = new AbortController()
  const late = world.clock.sleep(actDeadlineMs, stop.signal).then(() => {
    throw new ComputeError('unavailable', `The provider did not answer within ${actDeadlineMs / 1000} s.`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    stop.abort()
    late.catch(() => {})
  }
}

/** Writes what came of it; `nextAt` is when to look again by itself. Gives those that were started, for the watcher. */
export async function applyOutcomes(
  world: TurnWorld,
  lease: Lease,
  snapshot: Snapshot,
  { outcomes, nextAt }: { outcomes: Outcome[]; nextAt: number | null },
): Promise<Followed[]> {
  const at = new Date(world.clock.now())
  const asked = new Date(snapshot.input.now)
  const started = outcomes.filter((outcome) => outcome.result === 'started')
  const refused = outcomes.filter((outcome) => outcome.result === 'refused')
  const unanswered = outcomes.length - started.length - refused.length
  const counts = { started: started.length, refused: refused.length, unanswered }
  const again = lookAfterActingAt({ nextAt, ...counts, now: at.getTime() })
  const isHeld = await world.db.tx(async (tx) => {
    const held = await withLease(tx, lease, async () => {
      for (const { replicaId } of started) await store.markStarted(tx, replicaId, at, asked)
      for (const outcome of refused) await applyRefusal(tx, world, snapshot, { ...outcome, at })
    })
    if (held) await release(tx, lease, again)
    return held
  })
  world.due(again)
  return isHeld ? started.map(({ row }) => startedNow(row, snapshot, at, asked)) : []
}

/** As `markStarted` leaves the row. */
function startedNow(row: store.ReplicaRow, snapshot: Snapshot, at: Date, asked: Date): Followed {
  const phases = row.after_replica === null ? row.start_phases : { ...row.start_phases, hardware: asked.getTime() }
  const now = { ...row, phase: 'starting' as const, started_at: at, start_phases: phases }
  return {
    view: viewOf(now, [], at.getTime()),
    provider: row.provider,
    engine: engineOf(snapshot, row.revision_id),
  }
}

/** Nothing was started. Short of hardware is waiting; anything else counts as a failed start. */
async function applyRefusal(
  tx: Tx,
  { settings }: TurnWorld,
  { deployment }: Snapshot,
  outcome: Extract<Outcome, { result: 'refused' }> & { at: Date },
): Promise<void> {
  const { row, why, at } = outcome
  const ms = at.getTime()
  const exit = { at: ms, code: null, signal: null, lastLines: [], why }
  // One that took over a place goes as one that ran does: the place is passed on before it is free.
  const keepsPlace = row.after_replica !== null && !outcome.short
  const gone = keepsPlace ? { phase: 'deleting' as const } : { phase: 'gone' as const, goneAt: ms }
  await store.patchReplica(tx, row.id, { ...gone, endedAt: ms, exit })
  const data = { replica_id: row.id, why }
  await record(tx, { orgId: deployment.org_id, deploymentId: deployment.id, type: 'replica.refused', data, at })
  if (!outcome.short) return store.countFailedStart(tx, deployment.id, { revisionId: row.revision_id, at: ms, why })
  // The provider had offered it: until it is asked again, another choice or another place comes first.
  const until = ms + (settings.refusedMs ?? defaultRefusedMs)
  const refused = [{ provider: row.provider, gpuType: row.gpu_type, region: row.region, until }]
  await returnClaim(tx, deployment, row.claim, refused, ms)
}
