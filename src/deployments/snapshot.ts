/** Everything that one plan needs, read and observed; and what a row looks like to the plan. */
import { registered } from '../access/gateways.ts'
import type { EngineType, Readiness } from '../engines/contract.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Database } from '../store/database.ts'
import { askEngine, type ObserveWorld, observeMany, viewOf } from './observe.ts'
import { ceilingOf, choicesOf } from './prices.ts'
import { isCalm, type ReplicaView } from './replica.ts'
import type { Route } from './routes.ts'
import { floorOf, policyOf } from './scaling.ts'
import type { PlanInput, PlanSettings } from './situation.ts'
import type { Stopped } from './stopped.ts'
import * as store from './store.ts'

export interface World extends ObserveWorld {
  db: Database
  hardware: HardwareCatalogue
  settings: PlanSettings
  /** What the watcher last heard from an engine that was ready; null = nothing of late. */
  recall(replicaId: string): Readiness | null
  /** When the watcher last saw the replica run, ms since epoch; null, absent = it did not. */
  lastSeen?(replicaId: string): number | null
}

export interface Snapshot {
  deployment: store.ReadRow
  revisions: store.RevisionRow[]
  replicas: store.ReplicaRow[]
  /** What the gateways know of it. */
  route: Route | null
  input: PlanInput
}

/** Of those that exist, by deployment id; read together, with no hardware on offer yet. */
export async function takeSnapshots(world: World, ids: readonly string[]): Promise<Map<string, Snapshot>> {
  const { db } = world
  // First and alone: whatever is wished after this read is noticed when the turn records (see `sameWish`), so that the
  // wish is never newer than what was read for it.
  const deployments = await store.deploymentsById(db, ids)
  const [revisions, replicas, routes] = await Promise.all([
    store.revisionsOfMany(db, ids),
    store.liveReplicasOfMany(db, ids),
    store.routesOf(db, ids),
  ])
  const drains = replicas.some(({ phase }) => phase === 'draining')
  const gateways = drains ? await registered(db) : []
  const now = world.clock.now()
  const views = await observe(world, replicas, revisions, (row) => viewOf(row, gateways, now))
  const revisionsById = Map.groupBy(revisions, (row) => row.deployment_id)
  const replicasById = Map.groupBy(replicas, (row) => row.deployment_id)
  return new Map(
    deployments.map((deployment) => {
      const parts = {
        deployment,
        revisions: revisionsById.get(deployment.id) ?? [],
        replicas: replicasById.get(deployment.id) ?? [],
        route: routes.get(deployment.id) ?? null,
      }
      return [deployment.id, { ...parts, input: planInput(world, parts, views) }]
    }),
  )
}

function planInput(
  world: World,
  { deployment, revisions, replicas }: Omit<Snapshot, 'input'>,
  views: ReadonlyMap<string, ReplicaView>,
): PlanInput {
  return {
    deployment: {
      id: deployment.id,
      orgId: deployment.org_id,
      desired: deployment.desired,
      desiredReplicas: deployment.desired_replicas,
      phase: deployment.phase,
      reason: deployment.reason,
      starts: deployment.starts,
      stopped: stoppedOf(deployment),
      limited: deployment.limited,
    },
    revisions: revisions.map(({ id, number, spec, failed, proven, in_place: inPlace }) => {
      const choices = choicesOf(spec, floorOf(policyOf(deployment)), world.hardware)
      const hardware = choices.filter((c) => c.skipped === null)
      return { id, number, hardware, ceiling: ceilingOf(spec), failed, proven, inPlace }
    }),
    replicas: replicas.map(({ id }) => views.get(id)!),
    offers: [],
    now: world.clock.now(),
    settings: world.settings,
  }
}

function stoppedOf({ desired, stopped_by, calendar }: store.DeploymentRow): Stopped | null {
  if (desired !== 'stopped') return null
  return { by: stopped_by ?? 'person', until: calendar?.nextAt ?? null, refused: calendar?.refused ?? null }
}

/** The engine type of a revision's replicas. */
export function engineOf({ revisions }: Pick<Snapshot, 'revisions'>, revisionId: string): EngineType | undefined {
  return revisions.find(({ id }) => id === revisionId)?.spec.engine.type
}

/**
 * What was just seen of each. Engines that were ready are not asked here: the watcher does, and what it heard last
 * counts.
 */
async function observe(
  world: World,
  rows: readonly store.ReplicaRow[],
  revisions: readonly store.RevisionRow[],
  viewOf: (row: store.ReplicaRow) => ReplicaView,
): Promise<Map<string, ReplicaView>> {
  const byProvider = Map.groupBy(
    rows.filter(({ phase }) => phase !== 'planned'),
    ({ provider }) => provider,
  )
  const answers = await Promise.all(
    [...byProvider].map(([provider, of]) =>
      observeMany(
        world,
        provider,
        of.map(({ id }) => id),
      ),
    ),
  )
  const seen = new Map(answers.flatMap((answer) => [...answer]))
  const engines = new Map(revisions.map((revision) => [revision.id, revision.spec.engine.type]))
  const views = await Promise.all(
    rows.map(async (row) => {
      const known = viewOf(row)
      const seenAt = world.lastSeen?.(row.id) ?? known.seenAt
      const view = { ...known, seenAt, seen: seen.get(row.id) ?? null }
      const heard = view.readyAt === null ? null : world.recall(row.id)
      // One that is silent takes its time to say nothing, twice when two ask.
      if (heard !== null || isCalm(view)) return { ...view, probe: heard }
      if (view.phase === 'deleting' || view.seen?.state !== 'running') return view
      const engine = world.engines.get(engines.get(row.revision_id)!)
      const logs = view.phase === 'starting' ? world.computes.get(row.provider) : undefined
      return { ...view, probe: await askEngine(world, row.id, view.seen, engine, logs) }
    }),
  )
  return new Map(views.map((view) => [view.id, view]))
}
