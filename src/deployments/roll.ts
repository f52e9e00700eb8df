/**
 * Who goes and who comes. Pure. A change of revision is a roll: one more replica than wanted (surge), traffic moves when
 * the new one is ready, old ones drain. Without a spare place the roll goes in place: an old replica makes room, and the
 * new one has its hardware reserved from the start, so that nobody else takes it meanwhile.
 */
import type { Action } from './plan.ts'
import { isStaying, type ReplicaPatch, type ReplicaView } from './replica.ts'
import type { Situation } from './situation.ts'
import { type Taking, take } from './take.ts'

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

export interface Arrival extends Omit<Taking, 'placements'> {
  actions: Action[]
  patches: Map<string, ReplicaPatch>
}

export function arrive(situation: Situation, leaving: Map<string, ReplicaPatch>, why: string[]): Arrival {
  const nothing: Arrival = { actions: [], patches: new Map(), lack: null, waiting: null, nudge: [] }
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
  // A roll that can go in place takes no more than nobody else waits for.
  const surplus = rolling && staying.length >= wantedReplicas(situation) && findVictim(situation, staying) !== null
  const { placements, ...taking } = take(situation, { count, has: staying.length, spent, surplus })
  for (const { gpuCount, gpuType, region } of placements)
    why.push(`A replica is missing: starting one on ${gpuCount} × ${gpuType} in ${region}.`)
  const actions = placements.map(
    (placement): Action => ({ do: 'plan_replica', revisionId: target.id, placement, after: null }),
  )
  if (placements.length === 0 && rolling) {
    const changed = inPlace(situation, leaving, staying, why)
    if (changed) return { ...nothing, ...changed }
  }
  return { actions, patches: kept, ...taking }
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

/** One at a time: an old replica drains, and the new one waits for its hardware. Null when no such hardware suits. */
function inPlace(
  situation: Situation,
  leaving: Map<string, ReplicaPatch>,
  staying: ReplicaView[],
  why: string[],
): Pick<Arrival, 'actions' | 'patches'> | null {
  const { target, input } = situation
  if (staying.some((r) => r.revisionId === target!.id && r.phase !== 'ready'))
    return { actions: [], patches: new Map() }
  const victim = findVictim(situation, staying)
  if (victim === null) return null
  why.push(`There is no spare hardware: ${victim.id} makes room for its successor.`)
  leaving.set(victim.id, { phase: 'draining', drainAt: input.now })
  const action: Action = { do: 'plan_replica', revisionId: target!.id, placement: victim.placement, after: victim.id }
  return { actions: [action], patches: new Map([[victim.id, leaving.get(victim.id)!]]) }
}

/** The old replica whose hardware suits the new revision and that can best be spared. */
function findVictim({ target }: Situation, staying: readonly ReplicaView[]): ReplicaView | null {
  const suits = ({ placement }: ReplicaView) =>
    target!.hardware.some(
      (h) =>
        h.gpuType === placement.gpuType &&
        h.gpuCount === placement.gpuCount &&
        (h.region ?? placement.region) === placement.region,
    )
  return staying.filter((r) => r.revisionId !== target!.id && suits(r)).sort(leastUsefulFirst)[0] ?? null
}
