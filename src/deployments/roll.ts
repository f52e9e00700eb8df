/**
 * Who goes and who comes. Pure. A change of revision is a roll: one more replica than wanted (surge), traffic moves when
 * the new one is ready, old ones drain. Without a spare place the roll goes in place: an old replica makes room, and the
 * new one has its hardware reserved from the start, so that nobody else takes it meanwhile. One that does not answer any
 * more is replaced in the same way: its successor first, where there is a place for it.
 */
import type { Placement } from '../compute/contract.ts'
import type { Action } from './plan.ts'
import type { Claim } from './queue.ts'
import { isAnswering, isLost, isStaying, type ReplicaPatch, type ReplicaView } from './replica.ts'
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
  let again = missingOf(situation)
  for (const replica of replicas) {
    if (replica.phase !== 'draining') continue
    // Wanted again: it serves sooner than any other, also when nothing is left on it.
    if (again > 0 && canServeAgain(situation, replica)) {
      again -= 1
      continue
    }
    const overdue = replica.drainAt !== null && now - replica.drainAt >= settings.drainDeadlineMs
    if (!replica.drained && !overdue && deployment.desired !== 'deleted') continue
    patches.set(replica.id, { phase: 'deleting', endedAt: replica.endedAt ?? now })
    why.push(`${replica.id} ${replica.drained ? 'has nothing in flight' : 'is past its drain deadline'}: removing it.`)
  }
  for (const replica of surplus(situation)) {
    const patch = farewell(situation, replica)
    patches.set(replica.id, patch)
    const drains = patch.phase === 'draining'
    why.push(patch.exit?.why ?? `${replica.id} is not wanted any more: ${drains ? 'draining' : 'removing'} it.`)
  }
  return patches
}

/** How a staying replica goes: what serves finishes what it has; what answered no more ended when it fell silent. */
function farewell({ input: { now, deployment, settings } }: Situation, replica: ReplicaView): ReplicaPatch {
  const { id, unhealthySince: since } = replica
  if (since !== null && isLost(replica, now, settings)) {
    const why = `The engine of ${id} answered no probe for ${Math.round((now - since) / 1000)} s.`
    return { phase: 'deleting', endedAt: since, exit: { at: since, code: null, signal: null, lastLines: [], why } }
  }
  const atOnce = deployment.desired === 'deleted' || replica.phase !== 'ready'
  return atOnce ? { phase: 'deleting', endedAt: now } : { phase: 'draining', drainAt: now }
}

/** Staying replicas, those that answer no more apart. */
function stayingOf(situation: Situation, leaving?: ReadonlyMap<string, ReplicaPatch>) {
  const { now, settings } = situation.input
  const all = situation.replicas.filter((r) => isStaying(r) && !leaving?.has(r.id))
  const lost = all.filter((r) => isLost(r, now, settings))
  return { lost, good: all.filter((r) => !lost.includes(r)) }
}

/** Replicas of the revision that should run which are wanted and not there. */
function missingOf(situation: Situation): number {
  const { good } = stayingOf(situation)
  return wantedReplicas(situation) - good.filter((r) => r.revisionId === situation.target?.id).length
}

/** Staying replicas beyond what is wanted: old revisions that were taken over, then not yet ready ones, then the youngest. */
function surplus(situation: Situation): ReplicaView[] {
  const { lost, good } = stayingOf(situation)
  const wanted = wantedReplicas(situation)
  const isOld = (r: ReplicaView) => r.revisionId !== situation.target?.id
  const ofTarget = good.filter((r) => !isOld(r))
  // An old revision keeps serving until the new one has taken over, one for one. What never served has nothing to keep.
  const old = good.filter(isOld).sort(leastUsefulFirst)
  const oldToKeep = Math.max(0, wanted - ofTarget.filter(isAnswering).length)
  const oldToGo = old.filter((r, i) => r.phase !== 'ready' || i < old.length - oldToKeep)
  const excess = Math.max(0, ofTarget.length - wanted)
  // One that answers no more may come back until others have its place.
  const lostToKeep = Math.max(0, wanted - good.filter((r) => r.phase === 'ready').length)
  const lostToGo = lost.sort(leastUsefulFirst).slice(0, Math.max(0, lost.length - lostToKeep))
  return [...oldToGo, ...ofTarget.sort(leastUsefulFirst).slice(0, excess), ...lostToGo]
}

function leastUsefulFirst(a: ReplicaView, b: ReplicaView): number {
  return rank(a) - rank(b) || b.createdAt - a.createdAt
}

function rank(replica: ReplicaView): number {
  if (replica.phase === 'planned') return 0
  if (replica.phase === 'starting') return 1
  return isAnswering(replica) ? 3 : 2
}

export interface Arrival extends Pick<Taking, 'lack' | 'waiting' | 'nudge'> {
  actions: Action[]
  patches: Map<string, ReplicaPatch>
  /** What is free was looked at. */
  asked: boolean
}

export function arrive(situation: Situation, leaving: Map<string, ReplicaPatch>, why: string[]): Arrival {
  const nothing: Arrival = { actions: [], patches: new Map(), lack: null, waiting: null, nudge: [], asked: false }
  const { input, target, retryAt } = situation
  if (target === null) return nothing
  const { lost, good } = stayingOf(situation, leaving)
  const ofTarget = good.filter((r) => r.revisionId === target.id)
  const missing = wantedReplicas(situation) - ofTarget.length
  if (missing <= 0) return nothing
  const kept = callOffDrains(situation, leaving, missing, why)
  const inherited = inherit(situation, leaving, missing - kept.size, why)
  const given = { ...nothing, actions: inherited, patches: kept }
  const rolling = good.length > ofTarget.length
  const left = missing - kept.size - inherited.length
  const room = rolling ? Math.max(0, wantedReplicas(situation) + surge - good.length - inherited.length) : left
  const count = Math.min(left, room)
  if (count <= 0) return given
  if (input.now < retryAt) {
    // Nothing starts beside it: then its own place may be the better one.
    return { ...given, actions: [...inherited, ...replaceInPlace(situation, leaving, lost.slice(0, count), why)] }
  }
  // Old replicas of a roll are not counted: for its own time it may cost more.
  const counted = situation.replicas.filter((r) => ofTarget.includes(r) || kept.has(r.id))
  const spent = counted.reduce((sum, { price = 0n }) => sum + price, 0n)
  const surplus = rolling && good.length >= wantedReplicas(situation) && typeof victimOf(situation, good) !== 'string'
  const taken = take(situation, { count, has: good.length, silent: lost.length, spent, surplus })
  const { placements, claims, nudge } = taken
  if (taken.lack === 'ceiling') return { ...given, lack: 'ceiling' }
  for (const { gpuCount, gpuType, region } of placements)
    why.push(`A replica is missing: starting one on ${gpuCount} × ${gpuType} in ${region}.`)
  const actions = [...inherited, ...placements.map((placement, at) => planned(situation, placement, null, claims[at]))]
  const short = taken.sought - placements.length
  const replaced = replaceInPlace(situation, leaving, lost.slice(0, short), why)
  if (placements.length === 0 && replaced.length === 0 && rolling) {
    const made = inPlace(situation, leaving, good, why)
    return Array.isArray(made)
      ? { ...given, actions: [...inherited, ...made], nudge, asked: true }
      : { ...given, lack: made, waiting: taken.waiting, nudge, asked: true }
  }
  const lack = replaced.length < short ? 'hardware' : null
  const waiting = replaced.length === 0 || lack !== null ? taken.waiting : null
  return { ...given, actions: [...actions, ...replaced], lack, waiting, nudge, asked: true }
}

function planned(
  { target }: Situation,
  placement: Placement,
  after: string | null,
  claim: Claim | null = null,
): Action {
  return { do: 'plan_replica', revisionId: target!.id, placement, after, claim }
}

function canServeAgain({ target }: Situation, replica: ReplicaView): boolean {
  const alive = replica.seen?.state === 'running' && replica.unhealthySince === null
  return replica.phase === 'draining' && alive && replica.revisionId === target?.id
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
    if (leaving.has(replica.id) || !canServeAgain(situation, replica)) continue
    patches.set(replica.id, { phase: 'ready', drainAt: null })
    why.push(`${replica.id} is wanted again: its drain is called off.`)
  }
  return patches
}

/**
 * The place of a successor that goes without having been ready (it failed, or a newer revision came) is for the next try:
 * it was reserved until one of them is ready. While the one before it is there, the place is still that one's.
 */
function inherit(
  situation: Situation,
  leaving: ReadonlyMap<string, ReplicaPatch>,
  missing: number,
  why: string[],
): Action[] {
  const { replicas } = situation
  const goes = (one: ReplicaView) => (leaving.get(one.id)?.phase ?? one.phase) === 'deleting'
  const isThere = (id: string) => replicas.some((other) => other.id === id)
  const hasHeir = (one: ReplicaView) =>
    replicas.some((other) => !goes(other) && (other.after === one.id || (other !== one && other.after === one.after)))
  const heirless = replicas.filter(
    (one) => one.after !== null && one.readyAt === null && goes(one) && suits(situation, one) && !hasHeir(one),
  )
  return heirless.slice(0, Math.max(0, missing)).map((one) => {
    why.push(`The place of ${one.id} is kept for another start.`)
    return planned(situation, one.placement, isThere(one.after!) ? one.after : one.id)
  })
}

/**
 * Replicas that answer no more go, and each one's successor waits for its place. Not where their provider cannot be asked
 * either: then it may be us whom nobody hears.
 */
function replaceInPlace(
  situation: Situation,
  leaving: Map<string, ReplicaPatch>,
  lost: readonly ReplicaView[],
  why: string[],
): Action[] {
  return lost
    .filter((replica) => replica.seen?.state === 'running' && suits(situation, replica))
    .map((replica) => {
      const patch = farewell(situation, replica)
      leaving.set(replica.id, patch)
      why.push(`${patch.exit?.why} There is no other place for its successor: it makes room.`)
      return planned(situation, replica.placement, replica.id)
    })
}

/** One at a time: an old replica drains, and the new one waits for its hardware. Or why that cannot be. */
function inPlace(
  situation: Situation,
  leaving: Map<string, ReplicaPatch>,
  staying: ReplicaView[],
  why: string[],
): Action[] | 'hardware' | 'spare' {
  const { target } = situation
  if (staying.some((r) => r.revisionId === target!.id && r.phase !== 'ready')) return []
  const victim = victimOf(situation, staying)
  if (typeof victim === 'string') return victim
  why.push(`There is no spare hardware: ${victim.id} makes room for its successor.`)
  leaving.set(victim.id, farewell(situation, victim))
  return [planned(situation, victim.placement, victim.id)]
}

/** The old replica that can best make room for a new one; or why none can. */
function victimOf(situation: Situation, staying: readonly ReplicaView[]): ReplicaView | 'hardware' | 'spare' {
  const { target } = situation
  const old = staying.filter((r) => r.revisionId !== target!.id && suits(situation, r))
  const victim = old.sort(leastUsefulFirst)[0]
  if (!victim) return 'hardware'
  const others = staying.some((one) => one !== victim && isAnswering(one))
  return target!.inPlace === false && isAnswering(victim) && !others ? 'spare' : victim
}

/** Could the revision that should run take over this replica's hardware? */
function suits({ target }: Situation, { placement }: ReplicaView): boolean {
  return target!.hardware.some(
    (h) =>
      h.gpuType === placement.gpuType &&
      h.gpuCount === placement.gpuCount &&
      (h.region ?? placement.region) === placement.region,
  )
}
