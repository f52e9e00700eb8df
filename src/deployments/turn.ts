/**
 * One turn of the reconciler for one deployment: load → decide → record the intent → act → apply. The process may die
 * between any two of these; the next turn, by whoever, continues from what is. Everything written is guarded by the
 * lease's token: a turn that lost its lease writes nothing.
 */
import { ComputeError, type ReplicaOrder } from '../compute/contract.ts'
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { DeploymentId, ReplicaId } from '../kernel/ids.ts'
import type { ModelCatalogue } from '../models/catalogue.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import { newId } from '../runtime/ids.ts'
import type { Log } from '../runtime/log.ts'
import type { Tx } from '../store/database.ts'
import { type Lease, release, wake, withLease } from '../store/leases.ts'
import { hasRoom } from './place.ts'
import { type Action, type Plan, plan } from './plan.ts'
import { makeRoute, sameRoute } from './publish.ts'
import { sameWish, type Wish } from './situation.ts'
import { engineKey, placementOf, type Snapshot, takeSnapshot, type World } from './snapshot.ts'
import * as store from './store.ts'

export interface TurnWorld extends World {
  models: ModelCatalogue
  hardware: HardwareCatalogue
  stopGraceSeconds: number
  log: Log
}

/** Longest a provider call may take before the turn goes on without it. */
const actDeadlineMs = 60_000
const takenPauseMs = 100

export async function turn(world: TurnWorld, lease: Lease): Promise<void> {
  const snapshot = await takeSnapshot(world, lease.id)
  if (snapshot === null) {
    await release(world.db, lease, null)
    return
  }
  const result = plan(snapshot.input)
  const created = await recordIntent(world, lease, snapshot, result)
  if (created === null) return
  const calls = [...created, ...result.actions.filter((action) => action.do === 'create' || action.do === 'delete')]
  if (calls.length === 0) return
  await applyOutcomes(world, lease, snapshot, await act(world, snapshot, calls))
}

type Created = Extract<Action, { do: 'create' }>

/**
 * Writes what the plan decided; null when the lease was lost or the wish has changed. Returns the creates that its new
 * rows call for.
 */
async function recordIntent(
  world: TurnWorld,
  lease: Lease,
  snapshot: Snapshot,
  result: Plan,
): Promise<Created[] | null> {
  const at = new Date(snapshot.input.now)
  const asks = result.actions.some((action) => action.do === 'create' || action.do === 'delete')
  const places = result.actions.some((action) => action.do === 'plan_replica')
  return world.db.tx(async (tx) => {
    const created: Created[] = []
    let outdated = false
    const held = await withLease(tx, lease, async () => {
      // Somebody stopped, deleted, scaled or started it while we looked: what was decided without that is void.
      outdated = !sameWish(wishOf(snapshot.deployment), wishOf((await store.deploymentById(tx, lease.id))!))
      if (outdated) return
      for (const action of result.actions) {
        if (action.do === 'update') await recordUpdate(tx, snapshot, action, at)
        if (action.do === 'fail_revision') await recordRollback(tx, snapshot, action, at)
        if (action.do === 'plan_replica') created.push(...(await reserve(world, tx, snapshot, action, at)))
      }
      await recordVerdict(tx, snapshot, result, at)
      await recordRoute(world, tx, snapshot, result)
    })
    if (!held) return null
    if (outdated) {
      await release(tx, lease, snapshot.input.now)
      return null
    }
    // With provider calls ahead the claim is kept until their outcome is applied. When all places were taken by
    // others meanwhile, the next turn sees it.
    const nextAt = places && created.length === 0 ? snapshot.input.now + takenPauseMs : result.wakeAt
    if (!asks && created.length === 0) await release(tx, lease, nextAt)
    else if (nextAt !== null) await wake(tx, lease.table, lease.id, nextAt)
    return created
  })
}

function wishOf(row: store.DeploymentRow): Wish {
  return { desired: row.desired, desiredReplicas: row.desired_replicas, revision: row.revision, starts: row.starts }
}

async function recordRollback(
  tx: Tx,
  { deployment, revisions }: Snapshot,
  action: Extract<Action, { do: 'fail_revision' }>,
  at: Date,
): Promise<void> {
  await store.failRevision(tx, deployment.id, action.revisionId, action.why)
  const number = revisions.find((r) => r.id === action.revisionId)?.number ?? 0
  const data = { revision: number, why: action.why }
  await record(tx, { orgId: deployment.org_id, deploymentId: deployment.id, type: 'revision.failed', data, at })
}

async function recordUpdate(
  tx: Tx,
  snapshot: Snapshot,
  action: Extract<Action, { do: 'update' }>,
  at: Date,
): Promise<void> {
  const { deployment } = snapshot
  const before = snapshot.replicas.find((r) => r.id === action.replicaId)!
  await store.patchReplica(tx, action.replicaId, action.patch)
  const base = { orgId: deployment.org_id, deploymentId: deployment.id, at }
  const { phase, exit } = action.patch
  if (phase === 'ready') {
    const start_ms = at.getTime() - before.created_at.getTime()
    await record(tx, {
      ...base,
      type: 'replica.ready',
      data: { replica_id: before.id, start_ms, phases: action.patch.startPhases ?? before.start_phases },
    })
  }
  if (phase === 'draining') await record(tx, { ...base, type: 'replica.draining', data: { replica_id: before.id } })
  if (phase === 'gone') {
    await record(tx, { ...base, type: 'replica.gone', data: { replica_id: before.id } })
    await store.wakeQueued(tx, at)
  }
  if (exit) {
    const { why, code, signal, lastLines } = exit
    await record(tx, {
      ...base,
      type: 'replica.ended',
      data: { replica_id: before.id, why, code, signal, last_lines: lastLines },
    })
  }
}

/** Inserts the row that holds the hardware, unless somebody was faster: then nothing, and the next turn sees it. */
async function reserve(
  world: TurnWorld,
  tx: Tx,
  snapshot: Snapshot,
  action: Extract<Action, { do: 'plan_replica' }>,
  at: Date,
): Promise<Created[]> {
  const { placement } = action
  await store.lockHardware(tx, placement)
  // One that takes over a place has it already.
  if (action.after === null && !hasRoom(placement, snapshot.input.offers, await store.heldUnits(tx))) return []
  const { deployment } = snapshot
  const id = newId('rep', world.clock)
  const price = world.hardware.get(placement.gpuType)?.price ?? 0n
  const row = {
    id,
    deployment_id: deployment.id,
    revision_id: action.revisionId,
    org_id: deployment.org_id,
    after_replica: action.after,
  }
  await store.insertReplica(tx, row, placement, price, at)
  const data = { replica_id: id, gpu_type: placement.gpuType, gpu_count: placement.gpuCount, region: placement.region }
  await record(tx, { orgId: deployment.org_id, deploymentId: deployment.id, type: 'replica.planned', data, at })
  return action.after === null ? [{ do: 'create', replicaId: id }] : []
}

async function recordVerdict(tx: Tx, snapshot: Snapshot, result: Plan, at: Date): Promise<void> {
  const { deployment } = snapshot
  const same =
    deployment.phase === result.phase &&
    deployment.ready_replicas === result.readyReplicas &&
    JSON.stringify(deployment.plan_why) === JSON.stringify(result.why) &&
    deployment.starts.failed === result.starts.failed &&
    deployment.reason?.code === result.reason?.code &&
    deployment.reason?.message === result.reason?.message
  if (same) return
  await store.saveVerdict(tx, deployment.id, result, at)
  if (deployment.phase === result.phase) return
  const base = { orgId: deployment.org_id, deploymentId: deployment.id, at }
  const { code, message } = result.reason ?? {}
  await record(tx, {
    ...base,
    type: 'deployment.phase',
    data: { from: deployment.phase, to: result.phase, code, message },
  })
  if (result.phase === 'failed')
    await record(tx, {
      ...base,
      type: 'deployment.failed',
      data: { code: code ?? '', message: message ?? '', last_lines: result.starts.lastLines },
    })
}

async function recordRoute(world: TurnWorld, tx: Tx, snapshot: Snapshot, result: Plan): Promise<void> {
  const { deployment } = snapshot
  const engine = world.engines.get(deployment.spec.engine.type)
  const replicas = await store.liveReplicasOf(tx, deployment.id)
  const route = makeRoute({
    deployment: {
      id: deployment.id,
      orgId: deployment.org_id,
      name: deployment.name,
      modelId: deployment.spec.modelId,
      emulated: deployment.emulated,
      servedBy: world.models.standIn(deployment.spec.modelId),
      createdAt: deployment.created_at,
      desired: deployment.desired,
    },
    engine: deployment.spec.engine.type,
    contextTokens: engine ? contextTokens(world, snapshot) : 0,
    phase: result.phase,
    reason: result.reason,
    replicas: replicas.map((r) => ({
      id: r.id,
      phase: r.phase,
      address: r.address,
      port: r.port,
      key: engineKey(world.seal, r.id),
    })),
  })
  const before = await store.routeOf(tx, deployment.id)
  const version = sameRoute(before, route) ? before!.version : await store.publishRoute(tx, route)
  for (const replica of replicas)
    if (replica.phase === 'draining' && replica.drain_version === null)
      await store.markDrainVersion(tx, replica.id, version)
}

function contextTokens(world: TurnWorld, { deployment }: Snapshot): number {
  const { engine } = deployment.spec
  return engine.maxModelLen ?? world.models.all().find((m) => m.id === deployment.spec.modelId)?.contextSize ?? 0
}

type Outcome =
  | { replicaId: string; result: 'started' }
  | { replicaId: string; result: 'refused'; short: boolean; why: string }

/** Calls the providers, all at once, each with a deadline. What stays unanswered is asked again by a later turn. */
async function act(world: TurnWorld, snapshot: Snapshot, actions: Action[]): Promise<Outcome[]> {
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
  try {
    const row = (await store.liveReplicasOf(world.db, snapshot.deployment.id)).find((r) => r.id === replicaId)
    if (!row) return null
    const driver = world.computes.get(row.provider)
    if (!driver) throw new ComputeError('rejected', `There is no compute driver "${row.provider}".`)
    await within(world, driver.create(makeOrder(world, snapshot, row)))
    return { replicaId, result: 'started' }
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
      short: error instanceof ComputeError && error.meaning === 'capacity_short',
      why: (error as Error).message,
    }
  }
}

function makeOrder(world: TurnWorld, snapshot: Snapshot, row: store.ReplicaRow): ReplicaOrder {
  const { spec } = snapshot.revisions.find((r) => r.id === row.revision_id) ?? snapshot.deployment
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

async function applyOutcomes(world: TurnWorld, lease: Lease, snapshot: Snapshot, outcomes: Outcome[]): Promise<void> {
  const at = new Date(world.clock.now())
  await world.db.tx(async (tx) => {
    const held = await withLease(tx, lease, async () => {
      for (const outcome of outcomes) {
        if (outcome.result === 'started') await store.markStarted(tx, outcome.replicaId, at)
        else await applyRefusal(tx, snapshot, outcome, at)
      }
    })
    // What was started or refused is looked at again at once; a removal at the time that the plan set.
    if (held) await release(tx, lease, outcomes.length > 0 ? at.getTime() : null)
  })
}

/** Nothing was started. Short of hardware is waiting; anything else counts as a failed start. */
async function applyRefusal(
  tx: Tx,
  snapshot: Snapshot,
  outcome: Extract<Outcome, { result: 'refused' }>,
  at: Date,
): Promise<void> {
  const { deployment } = snapshot
  const ms = at.getTime()
  const exit = { at: ms, code: null, signal: null, lastLines: [], why: outcome.why }
  await store.patchReplica(tx, outcome.replicaId, { phase: 'gone', endedAt: ms, goneAt: ms, exit })
  const data = { replica_id: outcome.replicaId, why: outcome.why }
  await record(tx, { orgId: deployment.org_id, deploymentId: deployment.id, type: 'replica.refused', data, at })
  if (!outcome.short) await store.countFailedStart(tx, deployment.id, { at: ms, why: outcome.why })
}
