/** Everything that one plan needs, read and observed; and what a row looks like to the plan. */
import { registered } from '../access/gateways.ts'
import type { EngineType, Readiness } from '../engines/contract.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Database } from '../store/database.ts'
import { askEngine, type ObserveWorld, observeMany, viewOf } from './observe.ts'
import { freeOffers, readQueue } from './offers.ts'
import { ceilingOf, choicesOf } from './prices.ts'
import { isStaying, type ReplicaView } from './replica.ts'
import { floorOf, policyOf } from './scaling.ts'
import type { PlanInput, PlanSettings, QueueInput } from './situation.ts'
import * as store from './store.ts'

export interface World extends ObserveWorld {
  db: Database
  hardware: HardwareCatalogue
  settings: PlanSettings
  /** What the watcher last heard from an engine that was ready; null = nothing of late. */
  recall(replicaId: string): Readiness | null
}

export interface Snapshot {
  deployment: store.DeploymentRow
  revisions: store.RevisionRow[]
  replicas: store.ReplicaRow[]
  input: PlanInput
}

export async function takeSnapshot(world: World, deploymentId: string): Promise<Snapshot | null> {
  const { db } = world
  // First and alone: whatever is wished after this read is noticed when the turn records (see `sameWish`), so that the
  // wish is never newer than what was read for it.
  const deployment = await store.deploymentById(db, deploymentId)
  if (!deployment) return null
  const [revisions, replicas, gateways, offers] = await Promise.all([
    store.revisionsOf(db, deploymentId),
    store.liveReplicasOf(db, deploymentId),
    registered(db),
    freeOffers(world),
  ])
  const views = await Promise.all(
    replicas.map((row) =>
      observe(world, viewOf(row, gateways, world.clock.now()), row, engineOf({ revisions }, row.revision_id)),
    ),
  )
  const queue = await seekQueue(world, { deployment, revisions, views })
  const input: PlanInput = {
    deployment: {
      id: deployment.id,
      orgId: deployment.org_id,
      desired: deployment.desired,
      desiredReplicas: deployment.desired_replicas,
      phase: deployment.phase,
      reason: deployment.reason,
      starts: deployment.starts,
    },
    revisions: revisions.map(({ id, number, spec, failed }) => {
      const choices = choicesOf(spec, floorOf(policyOf(deployment)), world.hardware)
      return { id, number, hardware: choices.filter((c) => c.skipped === null), ceiling: ceilingOf(spec), failed }
    }),
    replicas: views,
    offers,
    ...(queue === null ? {} : { queue }),
    now: world.clock.now(),
    settings: world.settings,
  }
  return { deployment, revisions, replicas, input }
}

/** The queue for hardware, for one that wants some: it has fewer replicas than it wants that may live on. */
async function seekQueue(
  world: World,
  seen: { deployment: store.DeploymentRow; revisions: store.RevisionRow[]; views: ReplicaView[] },
): Promise<QueueInput | null> {
  const { deployment, revisions, views } = seen
  const target = revisions.find(({ failed }) => !failed)
  const lives = (view: ReplicaView) => view.seen?.state !== 'exited' && view.seen?.state !== 'not_found'
  const there = views.filter((view) => view.revisionId === target?.id && isStaying(view) && lives(view)).length
  if (deployment.desired !== 'running' || there >= deployment.desired_replicas) return null
  const { id, org_id, spec, waiting } = deployment
  return { ...(await readQueue(world, { id, orgId: org_id, hardware: spec.hardware })), mine: waiting }
}

/** The engine type of a revision's replicas. */
export function engineOf({ revisions }: Pick<Snapshot, 'revisions'>, revisionId: string): EngineType | undefined {
  return revisions.find(({ id }) => id === revisionId)?.spec.engine.type
}

/**
 * What was just seen of one replica. An engine that was ready is not asked here: the watcher does, and what it heard
 * last counts.
 */
async function observe(world: World, view: ReplicaView, row: store.ReplicaRow, engine: EngineType | undefined) {
  const seen = row.phase === 'planned' ? null : ((await observeMany(world, row.provider, [row.id])).get(row.id) ?? null)
  const calm = (row.phase === 'ready' || row.phase === 'draining') && view.unhealthySince === null
  if (calm) return { ...view, seen, probe: world.recall(row.id) }
  const probe = row.phase === 'deleting' ? null : await askEngine(world, row.id, seen, world.engines.get(engine!))
  return { ...view, seen, probe }
}
