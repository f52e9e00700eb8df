/** Everything that one plan needs, read and observed; and what a row looks like to the plan. */
import { registered } from '../access/gateways.ts'
import type { Offer } from '../compute/contract.ts'
import type { EngineType, Readiness } from '../engines/contract.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Database } from '../store/database.ts'
import { askEngine, type ObserveWorld, observeMany, viewOf } from './observe.ts'
import { ceilingOf, choicesOf } from './prices.ts'
import type { ReplicaView } from './replica.ts'
import { floorOf, policyOf } from './scaling.ts'
import type { PlanInput, PlanSettings } from './situation.ts'
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
  const input: PlanInput = {
    deployment: {
      id: deployment.id,
      desired: deployment.desired,
      desiredReplicas: deployment.desired_replicas,
      phase: deployment.phase,
      reason: deployment.reason,
      starts: deployment.starts,
    },
    revisions: revisions.map(({ id, number, spec, failed, proven }) => {
      const choices = choicesOf(spec, floorOf(policyOf(deployment)), world.hardware)
      const hardware = choices.filter((c) => c.skipped === null)
      return { id, number, hardware, ceiling: ceilingOf(spec), failed, proven }
    }),
    replicas: views,
    offers,
    now: world.clock.now(),
    settings: world.settings,
  }
  return { deployment, revisions, replicas, input }
}

/** The engine type of a revision's replicas. */
export function engineOf({ revisions }: Pick<Snapshot, 'revisions'>, revisionId: string): EngineType | undefined {
  return revisions.find(({ id }) => id === revisionId)?.spec.engine.type
}

/** What is free: the providers' word, less what rows already hold that the provider may not know yet. */
export async function freeOffers(world: Pick<World, 'db' | 'computes'>): Promise<Offer[]> {
  const [held, ...perProvider] = await Promise.all([
    store.heldUnits(world.db),
    ...[...world.computes.values()].map((driver) => driver.offers().catch(() => [] as Offer[])),
  ])
  return perProvider.flat().map((offer) => {
    const ours = held.find(
      (h) => h.provider === offer.provider && h.gpuType === offer.gpuType && h.region === offer.region,
    )
    return { ...offer, freeUnits: Math.max(0, Math.min(offer.freeUnits, offer.totalUnits - (ours?.units ?? 0))) }
  })
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
