/** Everything that one plan needs, read and observed; and what a row looks like to the plan. */
import { type DrainRow, isDrained, registered } from '../access/gateways.ts'
import type { ComputeDriver, Observation, Offer, Placement } from '../compute/contract.ts'
import type { EngineDriver, EngineType, Readiness } from '../engines/contract.ts'
import type { ReplicaId } from '../kernel/ids.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Database } from '../store/database.ts'
import { probeEngine } from './probe.ts'
import type { ReplicaView } from './replica.ts'
import type { PlanInput, PlanSettings } from './situation.ts'
import * as store from './store.ts'

export interface World {
  db: Database
  clock: Clock
  seal: Seal
  computes: ReadonlyMap<string, ComputeDriver>
  engines: ReadonlyMap<EngineType, EngineDriver>
  settings: PlanSettings
}

export interface Snapshot {
  deployment: store.DeploymentRow
  revisions: store.RevisionRow[]
  replicas: store.ReplicaRow[]
  input: PlanInput
}

/** The key that a replica's engine demands; the same for ever, so that a re-adopted engine is still ours. */
export function engineKey(seal: Seal, replicaId: string): string {
  return seal.derive(`engine/${replicaId}`)
}

export async function takeSnapshot(world: World, deploymentId: string): Promise<Snapshot | null> {
  const { db } = world
  const [deployment, revisions, replicas, gateways, offers] = await Promise.all([
    store.deploymentById(db, deploymentId),
    store.revisionsOf(db, deploymentId),
    store.liveReplicasOf(db, deploymentId),
    registered(db),
    freeOffers(world),
  ])
  if (!deployment) return null
  const views = await Promise.all(replicas.map((row) => observe(world, row, revisions, gateways)))
  const input: PlanInput = {
    deployment: {
      id: deployment.id,
      desired: deployment.desired,
      desiredReplicas: deployment.desired_replicas,
      phase: deployment.phase,
      reason: deployment.reason,
      starts: deployment.starts,
    },
    revisions: revisions.map((r) => ({ id: r.id, number: r.number, hardware: r.spec.hardware, failed: r.failed })),
    replicas: views,
    offers,
    now: world.clock.now(),
    settings: world.settings,
  }
  return { deployment, revisions, replicas, input }
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

export function placementOf(row: store.ReplicaRow): Placement {
  return {
    provider: row.provider,
    gpuType: row.gpu_type,
    gpuCount: row.gpu_count,
    region: row.region,
    emulated: row.emulated,
  }
}

async function observe(
  world: World,
  row: store.ReplicaRow,
  revisions: store.RevisionRow[],
  gateways: DrainRow[],
): Promise<ReplicaView> {
  const driver = world.computes.get(row.provider)
  const seen = row.phase === 'planned' ? null : await (driver?.observe(row.id as ReplicaId).catch(() => null) ?? null)
  const engine = world.engines.get(revisions.find((r) => r.id === row.revision_id)?.spec.engine.type as EngineType)
  const probe = engine && row.phase !== 'deleting' ? await ask(world, row, seen, engine) : null
  const drained =
    row.phase === 'draining' &&
    row.drain_version !== null &&
    isDrained(gateways, row.id, Number(row.drain_version), world.clock.now())
  return {
    id: row.id,
    revisionId: row.revision_id,
    phase: row.phase,
    placement: placementOf(row),
    after: row.after_replica,
    createdAt: row.created_at.getTime(),
    startedAt: row.started_at?.getTime() ?? null,
    readyAt: row.ready_at?.getTime() ?? null,
    drainAt: row.drain_at?.getTime() ?? null,
    endedAt: row.ended_at?.getTime() ?? null,
    unhealthySince: row.unhealthy_since?.getTime() ?? null,
    startPhases: row.start_phases,
    exit: row.exit,
    seen,
    probe,
    drained,
  }
}

async function ask(
  world: World,
  row: store.ReplicaRow,
  seen: Observation | null,
  engine: EngineDriver,
): Promise<Readiness | null> {
  if (seen?.state !== 'running') return null
  const { status, body } = await probeEngine(seen.address, seen.port, engine.healthPath, engineKey(world.seal, row.id))
  return engine.readiness(status, body)
}
