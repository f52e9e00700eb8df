/** What a turn asks of the providers. What stays unanswered is asked again by a later turn. */
import { ComputeError, type ReplicaOrder } from '../compute/contract.ts'
import { Fault } from '../kernel/fault.ts'
import type { DeploymentId, ReplicaId } from '../kernel/ids.ts'
import { engineKey, placementOf } from './observe.ts'
import type { Action } from './plan.ts'
import type { Snapshot } from './snapshot.ts'
import * as store from './store.ts'
import type { TurnWorld } from './turn.ts'

/** Longest a provider call may take before the turn goes on without it. */
const actDeadlineMs = 60_000

export type Outcome =
  | { replicaId: string; result: 'started'; row: store.ReplicaRow }
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
  if (row?.phase !== 'planned' || !snapshot.revisions.some(({ id }) => id === row.revision_id)) return null
  try {
    const driver = world.computes.get(row.provider)
    if (!driver) throw new ComputeError('rejected', `There is no compute driver "${row.provider}".`)
    await within(world, driver.create(makeOrder(world, snapshot, row)))
    return { replicaId, result: 'started', row }
  } catch (error) {
    if (error instanceof ComputeError && (error.meaning === 'unavailable' || error.meaning === 'not_ready')) {
      world.log.warn({ replicaId, error: error.message }, 'the provider could not be asked to create a replica')
      return null
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

function makeOrder(world: TurnWorld, snapshot: Snapshot, row: store.ReplicaRow): ReplicaOrder {
  const { spec } = snapshot.revisions.find((r) => r.id === row.revision_id)!
  const engine = world.engines.get(spec.engine.type)
  if (!engine) throw new ComputeError('rejected', `The engine ${spec.engine.type} cannot run on this server.`)
  const { files } = world.models.resolve(spec.modelId)
  return {
    id: row.id as ReplicaId,
    deploymentId: row.deployment_id as DeploymentId,
    placement: placementOf(row),
    model: files,
    launch: (host) =>
      engine.launch({
        spec: spec.engine,
        model: files,
        host,
        servedName: spec.modelId,
        apiKey: engineKey(world.seal, row.id),
      }),
  }
}

async function remove(world: TurnWorld, snapshot: Snapshot, replicaId: string): Promise<void> {
  const row = snapshot.replicas.find((r) => r.id === replicaId)
  const driver = row && world.computes.get(row.provider)
  if (!driver) return
  try {
    await within(world, driver.delete(replicaId as ReplicaId, { graceSeconds: world.stopGraceSeconds }))
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
