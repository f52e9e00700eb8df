/**
 * What to do next for one deployment, and why. Pure: everything it needs is in the argument, hysteresis included, so
 * that it can be tested by the million, explained and replayed. Actions are intents: the loop records each before it
 * acts on it.
 */
import type { Placement } from '../compute/contract.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import { type Advance, advance } from './advance.ts'
import { judge } from './judge.ts'
import type { ReplicaPatch } from './replica.ts'
import { arrive, leave } from './roll.ts'
import { noStarts, type PlanInput, type PlanSettings, type Situation, type Starts } from './situation.ts'
import type { Waiting } from './waiting.ts'

export type Action =
  /** `after`: the replica whose hardware it takes over; null = free hardware. */
  | { do: 'plan_replica'; revisionId: string; placement: Placement; after: string | null }
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
  const counted = countStarts(deployment.starts, advances)
  const rollback = findRollback(input, counted)
  if (rollback) why.push(rollback.why)
  // The revision before it starts with a clean slate.
  const starts = rollback ? noStarts : counted
  const situation: Situation = {
    input,
    target: targetRevision(input, rollback?.revisionId),
    replicas: advances.map((a) => a.replica).filter((r) => r.phase !== 'gone'),
    starts,
    lost: advances.filter((a, at) => input.replicas[at]!.phase === 'ready' && a.patch?.exit !== undefined).length,
    braked: deployment.desired === 'running' && starts.failed >= settings.brakeAfter,
    retryAt: starts.failed === 0 ? 0 : starts.lastAt + backoffMs(starts.failed, settings),
  }
  const leaving = leave(situation, why)
  const arriving = arrive(situation, leaving, why)
  const patches = mergePatches(advances, new Map([...leaving, ...arriving.patches]))
  const verdict = judge(situation, { leaving, lack: arriving.lack, waiting: arriving.waiting })
  return {
    actions: [
      ...(rollback ? [rollback] : []),
      ...[...patches].map(([replicaId, patch]): Action => ({ do: 'update', replicaId, patch })),
      ...arriving.actions,
      ...providerCalls(situation, leaving),
    ],
    ...verdict,
    starts,
    why: [...why, ...verdict.why],
    waiting: arriving.waiting,
    nudge: arriving.nudge,
  }
}

function targetRevision(input: PlanInput, failing: string | undefined): Situation['target'] {
  return input.revisions.find((revision) => !revision.failed && revision.id !== failing) ?? null
}

/** A revision that does not start gives way to the one before it, once there is one that did not fail. */
function findRollback(input: PlanInput, starts: Starts): Extract<Action, { do: 'fail_revision' }> | null {
  const [target, before] = input.revisions.filter((revision) => !revision.failed)
  if (!target || !before || starts.failed < input.settings.rollbackAfter) return null
  const why = `Revision ${target.number} did not start ${starts.failed} times (${starts.why}): going back to revision ${before.number}.`
  return { do: 'fail_revision', revisionId: target.id, why }
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
    const waits = situation.replicas.some((other) => other.id === replica.after)
    if (phase === 'planned' && !waits) calls.push({ do: 'create', replicaId: replica.id })
    if (phase === 'deleting') calls.push({ do: 'delete', replicaId: replica.id })
  }
  return calls
}
