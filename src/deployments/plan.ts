/**
 * What to do next for one deployment, and why. Pure: everything it needs is in the argument, hysteresis included, so
 * that it can be tested by the million, explained and replayed. Actions are intents: the loop records each before it
 * acts on it.
 */
import type { Placement } from '../compute/contract.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import { type Advance, advance } from './advance.ts'
import { judge } from './judge.ts'
import { place } from './place.ts'
import { isStaying, type ReplicaPatch, type ReplicaView } from './replica.ts'
import { noStarts, type PlanInput, type PlanSettings, type Situation, type Starts } from './situation.ts'

export type Action =
  | { do: 'plan_replica'; revisionId: string; placement: Placement }
  | { do: 'create'; replicaId: string }
  | { do: 'update'; replicaId: string; patch: ReplicaPatch }
  | { do: 'delete'; replicaId: string }

export interface Plan {
  actions: Action[]
  phase: Phase
  reason: Reason | null
  readyReplicas: number
  starts: Starts
  /** When to look again at the latest, ms since epoch; null = only when something changes. */
  wakeAt: number | null
  why: string[]
}

export function plan(input: PlanInput): Plan {
  const { deployment, now, settings } = input
  const advances = input.replicas.map((replica) => advance(replica, now, settings))
  const starts = countStarts(deployment.starts, advances)
  const situation: Situation = {
    input,
    replicas: advances.map((a) => a.replica).filter((r) => r.phase !== 'gone'),
    starts,
    braked: deployment.desired === 'running' && starts.failed >= settings.brakeAfter,
    retryAt: starts.failed === 0 ? 0 : starts.lastAt + backoffMs(starts.failed, settings),
  }
  const why = advances.flatMap((a) => (a.why === null ? [] : [a.why]))
  const leaving = leave(situation, why)
  const arriving = arrive(situation, leaving, why)
  const patches = mergePatches(advances, leaving)
  const verdict = judge(situation, { leaving, short: arriving.short })
  return {
    actions: [
      ...[...patches].map(([replicaId, patch]): Action => ({ do: 'update', replicaId, patch })),
      ...arriving.actions,
      ...providerCalls(situation, leaving),
    ],
    ...verdict,
    starts,
    why: [...why, ...verdict.why],
  }
}

/** Failures since the last start that worked. A replica that became ready forgives all before it. */
function countStarts(before: Starts, advances: Advance[]): Starts {
  let starts = advances.some((a) => a.becameReady) ? noStarts : before
  for (const { failedStart } of advances) {
    if (failedStart === null) continue
    starts = {
      failed: starts.failed + 1,
      lastAt: Math.max(starts.lastAt, failedStart.at),
      why: failedStart.why,
      lastLines: failedStart.lastLines,
    }
  }
  return starts
}

/** Exponential: base, 2 × base, 4 × base … up to the maximum. */
export function backoffMs(failed: number, settings: Pick<PlanSettings, 'backoffMs' | 'backoffMaximumMs'>): number {
  return Math.min(settings.backoffMaximumMs, settings.backoffMs * 2 ** Math.min(failed - 1, 30))
}

export function wantedReplicas(situation: Situation): number {
  if (situation.braked || situation.input.deployment.desired !== 'running') return 0
  return situation.input.deployment.desiredReplicas
}

/** Which replicas go, and how: patches by replica id. Never a serving one while a starting one can go instead. */
function leave(situation: Situation, why: string[]): Map<string, ReplicaPatch> {
  const { input, replicas } = situation
  const { now, deployment, settings } = input
  const patches = new Map<string, ReplicaPatch>()
  for (const replica of replicas) {
    if (replica.phase !== 'draining') continue
    const overdue = replica.drainAt !== null && now - replica.drainAt >= settings.drainDeadlineMs
    if (!replica.drained && !overdue && deployment.desired !== 'deleted') continue
    patches.set(replica.id, { phase: 'deleting', endedAt: replica.endedAt ?? now })
    why.push(`${replica.id} ${replica.drained ? 'has nothing in flight' : 'is past its drain deadline'}: removing it.`)
  }
  for (const replica of surplus(situation)) {
    const atOnce = deployment.desired === 'deleted' || replica.phase !== 'ready'
    patches.set(replica.id, atOnce ? { phase: 'deleting', endedAt: now } : { phase: 'draining', drainAt: now })
    why.push(`${replica.id} is not wanted any more: ${atOnce ? 'removing' : 'draining'} it.`)
  }
  return patches
}

/** Staying replicas beyond what is wanted: not yet ready ones first, then old revisions, then the youngest. */
function surplus(situation: Situation): ReplicaView[] {
  const current = situation.input.revisions[0]?.id
  const staying = situation.replicas.filter(isStaying)
  const wanted = wantedReplicas(situation)
  const ofCurrent = staying.filter((r) => r.revisionId === current)
  const readyOfCurrent = ofCurrent.filter((r) => r.phase === 'ready').length
  // An old revision keeps serving until the new one has taken over, one for one.
  const old = staying.filter((r) => r.revisionId !== current)
  const oldToGo = old.slice(0, Math.max(0, old.length - Math.max(0, wanted - readyOfCurrent)))
  const excess = Math.max(0, ofCurrent.length - wanted)
  const order = [...ofCurrent].sort((a, b) => rank(a) - rank(b) || b.createdAt - a.createdAt)
  return [...oldToGo, ...order.slice(0, excess)]
}

function rank(replica: ReplicaView): number {
  return replica.phase === 'planned' ? 0 : replica.phase === 'starting' ? 1 : 2
}

function arrive(
  situation: Situation,
  leaving: Map<string, unknown>,
  why: string[],
): { actions: Action[]; short: boolean } {
  const { input, replicas, retryAt } = situation
  const revision = input.revisions[0]
  if (!revision) return { actions: [], short: false }
  const staying = replicas.filter((r) => isStaying(r) && !leaving.has(r.id) && r.revisionId === revision.id)
  const missing = wantedReplicas(situation) - staying.length
  if (missing <= 0) return { actions: [], short: false }
  if (input.now < retryAt) return { actions: [], short: false }
  const placements = place(revision.hardware, input.offers, missing)
  for (const placement of placements)
    why.push(
      `A replica is missing: starting one on ${placement.gpuCount} × ${placement.gpuType} in ${placement.region}.`,
    )
  const actions = placements.map((placement): Action => ({ do: 'plan_replica', revisionId: revision.id, placement }))
  return { actions, short: placements.length < missing }
}

function mergePatches(advances: Advance[], leaving: Map<string, ReplicaPatch>): Map<string, ReplicaPatch> {
  const patches = new Map<string, ReplicaPatch>()
  for (const { replica, patch } of advances) {
    const merged = { ...patch, ...leaving.get(replica.id) }
    if (Object.keys(merged).length > 0) patches.set(replica.id, merged)
  }
  return patches
}

/** Calls that follow from recorded intents: creates that were never acknowledged, removals until not found. */
function providerCalls(situation: Situation, leaving: Map<string, ReplicaPatch>): Action[] {
  const calls: Action[] = []
  for (const replica of situation.replicas) {
    const phase = leaving.get(replica.id)?.phase ?? replica.phase
    if (phase === 'planned') calls.push({ do: 'create', replicaId: replica.id })
    if (phase === 'deleting') calls.push({ do: 'delete', replicaId: replica.id })
  }
  return calls
}
