/** What a replica's row and what is seen of the replica say together. */
import { type DrainRow, isDrained } from '../access/gateways.ts'
import type { ComputeDriver, Observation, Placement } from '../compute/contract.ts'
import type { EngineDriver, EngineType } from '../engines/contract.ts'
import type { ReplicaId } from '../kernel/ids.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Seal } from '../runtime/seal.ts'
import { probeEngine } from './probe.ts'
import type { Heard, ReplicaView } from './replica.ts'
import type { ReplicaRow } from './store.ts'

export interface ObserveWorld {
  clock: Clock
  seal: Seal
  computes: ReadonlyMap<string, ComputeDriver>
  engines: ReadonlyMap<EngineType, EngineDriver>
}

/** The key that a replica's engine demands; the same for ever, so that a re-adopted engine is still ours. */
export function engineKey(seal: Seal, replicaId: string): string {
  return seal.derive(`engine/${replicaId}`)
}

export function placementOf(row: ReplicaRow): Placement {
  return {
    provider: row.provider,
    gpuType: row.gpu_type,
    gpuCount: row.gpu_count,
    region: row.region,
    emulated: row.emulated,
  }
}

/** The row as a plan sees it, with nothing seen yet. */
export function viewOf(row: ReplicaRow, gateways: readonly DrainRow[], now: number): ReplicaView {
  return {
    id: row.id,
    revisionId: row.revision_id,
    phase: row.phase,
    placement: placementOf(row),
    price: BigInt(row.price_micro_usd_per_unit_hour) * BigInt(row.gpu_count),
    after: row.after_replica,
    createdAt: row.created_at.getTime(),
    startedAt: row.started_at?.getTime() ?? null,
    readyAt: row.ready_at?.getTime() ?? null,
    drainAt: row.drain_at?.getTime() ?? null,
    endedAt: row.ended_at?.getTime() ?? null,
    unhealthySince: row.unhealthy_since?.getTime() ?? null,
    seenAt: row.seen_at?.getTime() ?? null,
    startPhases: row.start_phases,
    progress: row.start_progress,
    exit: row.exit,
    seen: null,
    probe: null,
    drained:
      row.phase === 'draining' &&
      row.drain_version !== null &&
      isDrained(gateways, row.id, Number(row.drain_version), now),
  }
}

/** What the providers say of these; what they cannot be asked, or do not say, is absent. */
export async function observeMany(
  world: Pick<ObserveWorld, 'computes'>,
  provider: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Observation>> {
  const driver = world.computes.get(provider)
  if (driver === undefined || ids.length === 0) return new Map()
  if (driver.observeAll) return driver.observeAll(ids as ReplicaId[]).catch(() => new Map())
  const found = new Map<string, Observation>()
  const queue = [...ids]
  const work = async () => {
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      const seen = await driver.observe(id as ReplicaId).catch(() => null)
      if (seen !== null) found.set(id, seen)
    }
  }
  await Promise.all(Array.from({ length: Math.min(observationsAtOnce, ids.length) }, work))
  return found
}

/** Replicas that one provider is asked about at the same time, where it cannot be asked about all together. */
const observationsAtOnce = 32

/** An engine that captures graphs may print a line for each. */
const logLines = 400

/** The engine's own word, its moments by our clock; null = it was not asked, because nothing runs. */
export async function askEngine(
  world: Pick<ObserveWorld, 'seal' | 'clock'>,
  id: string,
  seen: Observation | null,
  engine: EngineDriver | undefined,
  /** Of the provider that has it, when it has never been ready: an engine may say only there how far it is. */
  logs?: Pick<ComputeDriver, 'logs'>,
): Promise<Heard | null> {
  if (seen?.state !== 'running' || engine === undefined) return null
  const { status, body } = await probeEngine(seen.address, seen.port, engine.healthPath, engineKey(world.seal, id))
  const said = engine.readiness(status, body)
  if (status === null && said.state === 'not_ready' && engine.phaseOfLog !== undefined && logs !== undefined) {
    const lines = await logs.logs(id as ReplicaId, logLines).catch(() => [])
    return { ...said, phase: engine.phaseOfLog(lines) ?? said.phase }
  }
  if (said.state === 'broken' || said.agoMs === undefined) return said
  const now = world.clock.now()
  const began = Object.entries(said.agoMs).map(([moment, ms]) => [moment, now - ms])
  return { ...said, began: Object.fromEntries(began) }
}
