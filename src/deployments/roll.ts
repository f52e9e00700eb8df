/**
 * Who goes and who comes. Pure. A change of revision is a roll: one more replica than wanted (surge), traffic moves when
 * the new one is ready, old ones drain. Without a spare place the roll goes in place: an old replica makes room, and the
 * new one has its hardware reserved from the start, so that nobody else takes it meanwhile.
 */
import { place } from './place.ts'
import type { Action } from './plan.ts'
import { affordable } from './prices.ts'
import { isStaying, type ReplicaPatch, type ReplicaView } from './replica.ts'
import type { Situation } from './situation.ts'

/** Replicas beyond the wanted number while a roll is under way. */
const surge = 1

export function wantedReplicas(situation: Situation): number {
  if (situation.braked || situation.input.deployment.desired !== 'running') return 0
  return situation.input.deployment.desiredReplicas
}

/** Which replicas go, and how: patches by replica id. Never a serving one while a starting one can go instead. */
export function leave(situation: Situation, why: string[]): Map<string, ReplicaPatch> {
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

/** Staying replicas beyond what is wanted: old revisions that were taken over, then not yet ready ones, then the youngest. */
function surplus(situation: Situation): ReplicaView[] {
  const staying = situation.replicas.filter(isStaying)
  const wanted = wantedReplicas(situation)
  const ofTarget = staying.filter((r) => r.revisionId === situation.target?.id)
  const readyOfTarget = ofTarget.filter((r) => r.phase === 'ready').length
  // An old revision keeps serving until the new one has taken over, one for one. What never served has nothing to keep.
  const old = staying.filter((r) => r.revisionId !== situation.target?.id).sort(leastUsefulFirst)
  const oldToKeep = Math.max(0, wanted - readyOfTarget)
  const oldToGo = old.filter((r, i) => r.phase !== 'ready' || i < old.length - oldToKeep)
  const excess = Math.max(0, ofTarget.length - wanted)
  return [...oldToGo, ...ofTarget.sort(leastUsefulFirst).slice(0, excess)]
}

function leastUsefulFirst(a: ReplicaView, b: ReplicaView): number {
  return rank(a) - rank(b) || b.createdAt - a.createdAt
}

function rank(replica: ReplicaView): number {
  return replica.phase === 'planned' ? 0 : replica.phase === 'starting' ? 1 : 2
}

/** What keeps wanted replicas from being started: none is free, or another would cost more than the ceiling. */
export type Lack = 'hardware' | 'ceiling' | null

export interface Arrival {
  actions: Action[]
  patches: Map<string, ReplicaPatch>
  lack: Lack
  /** What is free was looked at. */
  asked: boolean
}

export function arrive(situation: Situation, leaving: Map<string, ReplicaPatch>, why: string[]): Arrival {
  const nothing: Arrival = { actions: [], patches: new Map(), lack: null, asked: false }
  const { input, target, retryAt } = situation
  if (target === null) return nothing
  const staying = situation.replicas.filter((r) => isStaying(r) && !leaving.has(r.id))
  const ofTarget = staying.filter((r) => r.revisionId === target.id)
  const missing = wantedReplicas(situation) - ofTarget.length
  if (missing <= 0) return nothing
  const kept = callOffDrains(situation, leaving, missing, why)
  const rolling = staying.length > ofTarget.length
  const room = rolling ? Math.max(0, wantedReplicas(situation) + surge - staying.length) : missing
  const count = Math.min(missing - kept.size, room)
  if (count <= 0 || input.now < retryAt) return { ...nothing, patches: kept }
  // Old replicas of a roll are not counted: for its own time it may cost more.
  const counted = situation.replicas.filter((r) => ofTarget.includes(r) || kept.has(r.id))
  const spent = counted.reduce((sum, { price = 0n }) => sum + price, 0n)
  const within = affordable(target.hardware, target.ceiling ?? null, spent, count)
  if (within.hardware.length === 0) return { ...nothing, patches: kept, lack: 'ceiling' }
  const placements = place(within.hardware, input.offers, within.count)
  for (const { gpuCount, gpuType, region } of placements)
    why.push(`A replica is missing: starting one on ${gpuCount} × ${gpuType} in ${region}.`)
  const actions = placements.map(
    (placement): Action => ({ do: 'plan_replica', revisionId: target.id, placement, after: null }),
  )
  if (placements.length === 0 && rolling)
    return inPlace(situation, leaving, staying, why) ?? { actions, patches: kept, lack: 'hardware', asked: true }
  return { actions, patches: kept, lack: placements.length < within.count ? 'hardware' : null, asked: true }
}

/** Replicas that were draining serve again: nothing starts faster. */
function callOffDrains(
  situation: Situation,
  leaving: Map<string, ReplicaPatch>,
  missing: number,
  why: string[],
): Map<string, ReplicaPatch> {
  const patches = new Map<string, ReplicaPatch>()
  for (const replica of situation.replicas) {
    if (patches.size >= missing) break
    const alive = replica.phase === 'draining' && replica.seen?.state === 'running' && replica.unhealthySince === null
    if (!alive || leaving.has(replica.id) || replica.revisionId !== situation.target?.id) continue
    patches.set(replica.id, { phase: 'ready', drainAt: null })
    why.push(`${replica.id} is wanted again: its drain is called off.`)
  }
  return patches
}

/** One at a time: an old replica drains, and the new one waits for its hardware. Null when that hardware does not suit. */
function inPlace(
  situation: Situation,
  leaving: Map<string, ReplicaPatch>,
  staying: ReplicaView[],
  why: string[],
): Arrival | null {
  const { target, input } = situation
  if (staying.some((r) => r.revisionId === target!.id && r.phase !== 'ready'))
    return { actions: [], patches: new Map(), lack: null, asked: true }
  const suits = (replica: ReplicaView) =>
    target!.hardware.some(
      (h) =>
        h.gpuType === replica.placement.gpuType &&
        h.gpuCount === replica.placement.gpuCount &&
        (h.region ?? replica.placement.region) === replica.placement.region,
    )
  const victim = staying.filter((r) => r.revisionId !== target!.id && suits(r)).sort(leastUsefulFirst)[0]
  if (!victim) return null
  why.push(`There is no spare hardware: ${victim.id} makes room for its successor.`)
  leaving.set(victim.id, { phase: 'draining', drainAt: input.now })
  const action: Action = { do: 'plan_replica', revisionId: target!.id, placement: victim.placement, after: victim.id }
  return { actions: [action], patches: new Map([[victim.id, leaving.get(victim.id)!]]), lack: null, asked: true }
}
