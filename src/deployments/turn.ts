/**
 * One turn of the reconciler for one deployment: load → decide → record the intent → act → apply. The process may die
 * between any two of these; the next turn, by whoever, continues from what is. Everything written is guarded by the
 * lease's token: a turn that lost its lease writes nothing.
 */
import { record } from '../events/store.ts'
import { canonical } from '../kernel/canonical.ts'
import type { ModelCatalogue } from '../models/catalogue.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import { newId } from '../runtime/ids.ts'
import type { Log } from '../runtime/log.ts'
import type { Tx } from '../store/database.ts'
import { type Lease, release, wake, wakeMany, withLease } from '../store/leases.ts'
import { act, applyOutcomes } from './act.ts'
import { lookAgainAt } from './look-again.ts'
import { engineKey } from './observe.ts'
import { type Market, queueFor, readMarket, wakeNext } from './offers.ts'
import { hasRoom } from './place.ts'
import { type Action, type Plan, plan } from './plan.ts'
import { emulatedNow, makeRoute, sameRoute } from './publish.ts'
import type { Claim } from './queue.ts'
import { returnClaim } from './queue-store.ts'
import { recordUpdate } from './replica-record.ts'
import type { Route } from './routes.ts'
import { sameWish, type Wish } from './situation.ts'
import { engineOf, type Snapshot, takeSnapshots, type World } from './snapshot.ts'
import * as store from './store.ts'
import type { Followed } from './watch.ts'

export interface TurnWorld extends World {
  models: ModelCatalogue
  hardware: HardwareCatalogue
  stopGraceSeconds: number
  log: Log
  /** Tells the watcher how the deployment's replicas are now. */
  follow(deploymentId: string, replicas: Followed[]): void
}

/** A deployment with what was decided for it. */
export interface Decided {
  snapshot: Snapshot
  result: Plan
}

export async function turn(world: TurnWorld, lease: Lease): Promise<void> {
  const snapshot = (await takeSnapshots(world, [lease.id])).get(lease.id)
  if (snapshot === undefined) await release(world.db, lease, null)
  else await takeTurn(world, lease, await decide(world, snapshot, () => readMarket(world)))
}

/**
 * Asks what hardware is free, and who waits for it, only where that matters (to start something, or to say what will be started), because the
 * answer counts all replicas.
 */
export async function decide(
  { hardware }: Pick<World, 'hardware'>,
  snapshot: Snapshot,
  market: () => Promise<Market>,
): Promise<Decided> {
  const result = plan(snapshot.input)
  const serves = snapshot.replicas.some(({ phase }) => phase === 'ready' || phase === 'draining')
  if (serves && !result.asksHardware) return { snapshot, result }
  const seen = await market()
  const { id, spec, waiting } = snapshot.deployment
  const queue = queueFor(seen, hardware, { id, hardware: spec.hardware, waiting })
  const input = { ...snapshot.input, offers: seen.offers, queue }
  return { snapshot: { ...snapshot, input }, result: plan(input) }
}

/** From the decision on: record the intent → act → apply. */
export async function takeTurn(world: TurnWorld, lease: Lease, { snapshot, result }: Decided): Promise<void> {
  const created = await recordIntent(world, lease, snapshot, result)
  if (created === null) return
  world.follow(lease.id, followed({ snapshot, result }))
  await wakeOthers(world, snapshot, result)
  const calls = [...created, ...result.actions.filter((action) => action.do === 'create' || action.do === 'delete')]
  if (calls.length === 0) return
  const outcomes = await act(world, snapshot, calls)
  await applyOutcomes(world, lease, snapshot, outcomes)
  if (outcomes.some(({ result }) => result === 'refused')) await wakeNext(world)
}

/** Hardware became free, or somebody left the queue: whoever may take what is free now looks at once. */
async function wakeOthers(world: TurnWorld, { deployment, input }: Snapshot, result: Plan): Promise<void> {
  const freed = result.actions.some((action) => action.do === 'update' && action.patch.phase === 'gone')
  const wants = (claim: Claim | null) => claim?.missing ?? 0
  if (freed || wants(result.waiting) < wants(deployment.waiting)) await wakeNext(world)
  else if (result.nudge.length > 0) await world.db.tx((tx) => wakeMany(tx, 'deployments', result.nudge, input.now))
}

/** True when a turn would write nothing and call nobody. */
export function isQuiet(world: TurnWorld, { snapshot, result }: Decided): boolean {
  const { replicas, route } = snapshot
  const verdict = { ...result, emulated: emulatedOf(world, snapshot, replicas) }
  if (result.actions.length > 0 || result.nudge.length > 0 || !sameVerdict(snapshot, verdict)) return false
  if (replicas.some(({ phase, drain_version }) => phase === 'draining' && drain_version === null)) return false
  return sameRoute(route, routeFor(world, snapshot, verdict, replicas))
}

/** The replicas as the plan leaves them. New ones are followed from the turn that finds them started. */
export function followed({ snapshot, result }: Decided): Followed[] {
  const patches = new Map(result.actions.flatMap((a) => (a.do === 'update' ? [[a.replicaId, a.patch] as const] : [])))
  return snapshot.input.replicas.map((view, at) => ({
    view: { ...view, ...patches.get(view.id) },
    provider: snapshot.replicas[at]!.provider,
    engine: engineOf(snapshot, view.revisionId),
  }))
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
    const taken: Claim[] = []
    let outdated = false
    const held = await withLease(tx, lease, async () => {
      // Somebody stopped, deleted, scaled or started it while we looked: what was decided without that is void.
      outdated = !sameWish(wishOf(snapshot.deployment), wishOf((await store.deploymentById(tx, lease.id))!))
      if (outdated) return
      for (const action of result.actions) {
        if (action.do === 'update') await recordUpdate(world.settings, tx, snapshot, action, at)
        if (action.do === 'fail_revision') await recordRollback(tx, snapshot, action, at)
        if (action.do !== 'plan_replica') continue
        const reserved = await reserve(world, tx, snapshot, action, at)
        if (reserved !== null) created.push(...reserved)
        else if (action.claim !== null) taken.push(action.claim)
      }
      const replicas = await store.liveReplicasOf(tx, snapshot.deployment.id)
      const emulated = emulatedOf(world, snapshot, replicas)
      await recordVerdict(tx, snapshot, { ...result, emulated }, at)
      for (const claim of taken) await returnClaim(tx, snapshot.deployment, claim, [], snapshot.input.now)
      await recordRoute(world, tx, snapshot, { ...result, emulated, replicas })
    })
    if (!held) return null
    if (outdated) {
      await release(tx, lease, snapshot.input.now)
      return null
    }
    // With provider calls ahead the claim is kept until their outcome is applied, which may never come.
    const { wakeAt } = result
    const nextAt = lookAgainAt({ wakeAt, wanted: places, created: created.length, now: snapshot.input.now })
    if (!asks && created.length === 0) await release(tx, lease, nextAt)
    else if (nextAt !== null) await wake(tx, lease.table, lease.id, nextAt)
    return created
  })
}

function wishOf(row: store.DeploymentRow): Wish {
  return {
    desired: row.desired,
    desiredReplicas: row.desired_replicas,
    revision: row.revision,
    stoppedBy: row.stopped_by,
    starts: row.starts,
    limits: row.limits,
  }
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

/** Inserts the row that holds the hardware; null = somebody was faster. Gives the creates that it calls for. */
async function reserve(
  world: TurnWorld,
  tx: Tx,
  snapshot: Snapshot,
  action: Extract<Action, { do: 'plan_replica' }>,
  at: Date,
): Promise<Created[] | null> {
  const { placement } = action
  await store.lockHardware(tx, placement)
  // One that takes over a place has it already.
  if (action.after === null && !hasRoom(placement, snapshot.input.offers, await store.heldUnits(tx))) return null
  const { deployment } = snapshot
  const id = newId('rep', world.clock)
  const price = world.hardware.get(placement.gpuType)?.price ?? 0n
  const row = {
    id,
    deployment_id: deployment.id,
    revision_id: action.revisionId,
    org_id: deployment.org_id,
    after_replica: action.after,
    claim: action.claim,
  }
  await store.insertReplica(tx, row, placement, price, at)
  const data = { replica_id: id, gpu_type: placement.gpuType, gpu_count: placement.gpuCount, region: placement.region }
  await record(tx, { orgId: deployment.org_id, deploymentId: deployment.id, type: 'replica.planned', data, at })
  return action.after === null ? [{ do: 'create', replicaId: id }] : []
}

function emulatedOf(
  world: TurnWorld,
  { deployment, revisions, input }: Snapshot,
  rows: readonly store.ReplicaRow[],
): boolean {
  const serving = rows.filter((row) => row.phase === 'ready' || row.phase === 'draining')
  return emulatedNow({
    serving: serving.map(({ emulated, revision_id }) => {
      const { spec } = revisions.find((revision) => revision.id === revision_id) ?? deployment
      return { emulated, modelId: spec.modelId }
    }),
    target: deployment.spec,
    offers: input.offers,
    standIn: (modelId) => world.models.standIn(modelId),
    before: deployment.emulated,
  })
}

type Verdict = Plan & { emulated: boolean }

function sameVerdict({ deployment }: Snapshot, result: Verdict): boolean {
  return (
    deployment.emulated === result.emulated &&
    canonical(deployment.waiting) === canonical(result.waiting) &&
    deployment.phase === result.phase &&
    deployment.ready_replicas === result.readyReplicas &&
    JSON.stringify(deployment.plan_why) === JSON.stringify(result.why) &&
    deployment.starts.failed === result.starts.failed &&
    deployment.starts.lastAt === result.starts.lastAt &&
    deployment.reason?.code === result.reason?.code &&
    deployment.reason?.message === result.reason?.message
  )
}

async function recordVerdict(tx: Tx, snapshot: Snapshot, result: Verdict, at: Date): Promise<void> {
  const { deployment } = snapshot
  if (sameVerdict(snapshot, result)) return
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

async function recordRoute(
  world: TurnWorld,
  tx: Tx,
  snapshot: Snapshot,
  result: Verdict & { replicas: store.ReplicaRow[] },
): Promise<void> {
  const { deployment } = snapshot
  const { replicas } = result
  const route = routeFor(world, snapshot, result, replicas)
  const before = await store.routeOf(tx, deployment.id)
  const version = sameRoute(before, route) ? before!.version : await store.publishRoute(tx, route)
  for (const replica of replicas)
    if (replica.phase === 'draining' && replica.drain_version === null)
      await store.markDrainVersion(tx, replica.id, version)
}

function routeFor(
  world: TurnWorld,
  snapshot: Snapshot,
  { phase, reason, emulated }: Pick<Verdict, 'phase' | 'reason' | 'emulated'>,
  replicas: readonly store.ReplicaRow[],
): Route {
  const { deployment } = snapshot
  const engine = world.engines.get(deployment.spec.engine.type)
  return makeRoute({
    deployment: {
      id: deployment.id,
      orgId: deployment.org_id,
      name: deployment.name,
      modelId: deployment.spec.modelId,
      emulated,
      servedBy: world.models.standIn(deployment.spec.modelId),
      createdAt: deployment.created_at,
      desired: deployment.desired,
      limits: deployment.limits,
    },
    engine: deployment.spec.engine.type,
    contextTokens: engine ? contextTokens(world, snapshot) : 0,
    phase,
    reason,
    replicas: replicas.map((r) => {
      const revision = snapshot.revisions.find(({ id }) => id === r.revision_id)
      const { modelId, engine } = (revision ?? deployment).spec
      return {
        id: r.id,
        phase: r.phase,
        silent: r.unhealthy_since !== null,
        address: r.address,
        port: r.port,
        key: engineKey(world.seal, r.id),
        weight: revision?.weight ?? 100,
        modelId,
        engine: engine.type,
      }
    }),
  })
}

function contextTokens(world: TurnWorld, { deployment }: Snapshot): number {
  const { engine } = deployment.spec
  return engine.maxModelLen ?? world.models.all().find((m) => m.id === deployment.spec.modelId)?.contextSize ?? 0
}
