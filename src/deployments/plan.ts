/**
 * What to do next for one deployment, and why. Pure: everything it needs is in the argument, hysteresis included, so
 * that it can be tested by the million, explained and replayed. Actions are intents: the loop records each before it
 * acts on it.
 */
import type { Placement } from '../compute/contract.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import { type Advance, advance } from './advance.ts'
import { judge } from './judge.ts'
import type { Claim } from './queue.ts'
import { isLost, type ReplicaPatch, wantsAgain } from './replica.ts'
import { arrive, leave } from './roll.ts'
import { noStarts, type PlanInput, type Situation, type Starts } from './situation.ts'
import { countStarts, forgivenAt, retryAt } from './starts.ts'
import type { Waiting } from './waiting.ts'

export type Action =
  /** `after`: the replica whose hardware it takes over; null = free hardware. `claim`: what it had waited with for it. */
  | { do: 'plan_replica'; revisionId: string; placement: Placement; after: string | null; claim: Claim | null }
  | { do: 'fail_revision'; revisionId: string; why: string }
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
  /** What hardware is free made a difference. */
  asksHardware: boolean
  why: string[]
  /** What it waits for; null = for nothing. */
  waiting: Waiting | null
  /** Other deployments for which hardware is free. */
  nudge: string[]
}

export function plan(input: PlanInput): Plan {
  const { deployment, now, settings } = input
  const advances = input.replicas.map((replica) => advance(replica, now, settings))
  const why = advances.flatMap((a) => (a.why === null ? [] : [a.why]))
  const replicas = advances.map((a) => a.replica).filter((r) => r.phase !== 'gone')
  const serves = replicas.some((r) => r.phase === 'ready' && !isLost(r, now, settings))
  const counted = countStarts(input, advances, serves, targetRevision(input)?.id)
  const rollback = findRollback(input, counted, advances)
  why.push(...rollback.map((action) => action.why))
  // The revision before it starts with a clean slate.
  const starts = rollback.length > 0 ? noStarts : counted
  const target = targetRevision(input, rollback)
  const own = replicas.filter((replica) => replica.revisionId === target?.id)
  const situation: Situation = {
    input,
    target,
    replicas,
    starts,
    died: advances.filter((a, at) => input.replicas[at]!.phase === 'ready' && a.patch?.exit !== undefined).length,
    braked: deployment.desired === 'running' && !serves && starts.failed >= settings.brakeAfter,
    retryAt: retryAt(starts, own, settings),
    forgivenAt: forgivenAt(starts, own, settings),
  }
  const leaving = leave(situation, why)
  const arriving = arrive(situation, leaving, why)
  const patches = mergePatches(advances, new Map([...leaving, ...arriving.patches]))
  const verdict = judge(situation, { leaving, lack: arriving.lack, waiting: arriving.waiting })
  return {
    actions: [
      ...rollback,
      ...[...patches].map(([replicaId, patch]): Action => ({ do: 'update', replicaId, patch })),
      ...arriving.actions,
      ...providerCalls(situation, leaving),
    ],
    ...verdict,
    asksHardware: arriving.asked,
    starts,
    why: [...why, ...verdict.why],
    waiting: arriving.waiting,
    nudge: arriving.nudge,
  }
}

type FailRevision = Extract<Action, { do: 'fail_revision' }>

function targetRevision(input: PlanInput, failing: readonly FailRevision[] = []): Situation['target'] {
  const given = (id: string) => failing.some(({ revisionId }) => revisionId === id)
  return input.revisions.find((revision) => !revision.failed && !given(revision.id)) ?? null
}

/**
 * A revision that does not start gives way to the newest before it that did. Those between were superseded before they
 * started. One that has been ready is never given up: then it is not the revision that is wrong.
 */
function findRollback(input: PlanInput, starts: Starts, advances: readonly Advance[]): FailRevision[] {
  const left = input.revisions.filter((revision) => !revision.failed)
  const [target, ...others] = left
  const before = others.find((revision) => revision.proven)
  if (!target || !before || target.proven || starts.failed < input.settings.rollbackAfter) return []
  if (advances.some(({ becameReady, replica }) => becameReady && replica.revisionId === target.id)) return []
  // Given up already, and changed since: that revision was not tried, and stays as it is until somebody starts it.
  if (input.deployment.phase === 'failed' || input.deployment.desired !== 'running') return []
  return left.slice(0, left.indexOf(before)).map(({ id, number }): FailRevision => {
    const why =
      id === target.id
        ? `Revision ${number} did not start ${starts.failed} times (${starts.why}): going back to revision ${before.number}.`
        : `Revision ${number} was superseded before it started.`
    return { do: 'fail_revision', revisionId: id, why }
  })
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
    // A successor waits for its place, and through the pause after a failed start, so that nobody else gets it.
    const waits =
      situation.replicas.some((other) => other.id === replica.after) ||
      (replica.after !== null && situation.input.now < situation.retryAt)
    if (phase === 'planned' && !waits) calls.push({ do: 'create', replicaId: replica.id })
    if (phase === 'starting' && wantsAgain(replica)) calls.push({ do: 'create', replicaId: replica.id })
    if (phase === 'deleting') calls.push({ do: 'delete', replicaId: replica.id })
  }
  return calls
}
