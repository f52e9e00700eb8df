/**
 * One engine on one piece of hardware.
 *
 *   planned ──create──▶ starting ──ready probe──▶ ready ──drain──▶ draining
 *      │                   │                        │                 │
 *      └───────────────────┴────────────────────────┴──▶ deleting ◀───┘ ──provider says not found──▶ gone
 *
 * A row exists (planned) before any provider call; it is gone only when the provider says so.
 */
import type { Exit, Observation, Placement } from '../compute/contract.ts'
import type { Readiness, StartMoments } from '../engines/contract.ts'
import type { MicroUsd } from '../kernel/money.ts'

export const replicaPhases = ['planned', 'starting', 'ready', 'draining', 'deleting', 'gone'] as const
export type ReplicaPhase = (typeof replicaPhases)[number]

export type Heard = Readiness & { began?: StartMoments }

/** A replica's row together with what was just seen of it. All times in ms since epoch. */
export interface ReplicaView {
  id: string
  revisionId: string
  phase: ReplicaPhase
  placement: Placement
  /** Of this replica, an hour; absent = nothing. */
  price?: MicroUsd
  /** Takes over the hardware of that replica: it is created only when the other is gone. */
  after: string | null
  createdAt: number
  /** The provider acknowledged the create. */
  startedAt: number | null
  readyAt: number | null
  drainAt: number | null
  /** Serving or starting ended: death as recorded, or the moment removal was decided. Billing stops here. */
  endedAt: number | null
  /** First probe that went unanswered since the last answered one. */
  unhealthySince: number | null
  /** When its provider was last seen to run it; absent, null = not since it was ready. */
  seenAt?: number | null
  /** Where the start stands: when each part began, and when it was ready. */
  startPhases: StartMoments
  /** The last change in what is told of its files, and when it was seen; absent, null = nothing was told yet. */
  progress?: { at: number; detail: string } | null
  exit: Exit | null
  /** What the provider says now; null = it could not be asked. */
  seen: Observation | null
  /** What the engine says now, with the moments of its start by our clock; null = not asked. */
  probe: Heard | null
  /** Every gateway has acknowledged the drain and reports nothing in flight. */
  drained: boolean
}

/** Columns that a plan changes. */
export interface ReplicaPatch {
  phase?: ReplicaPhase
  startedAt?: number
  readyAt?: number
  /** null = serving again: the drain was called off. */
  drainAt?: number | null
  endedAt?: number
  goneAt?: number
  unhealthySince?: number | null
  startPhases?: StartMoments
  progress?: { at: number; detail: string }
  exit?: Exit
  address?: string
  port?: number
}

/** Its provider began to make it, was interrupted, and has to be asked again. */
export function wantsAgain({ seen }: Pick<ReplicaView, 'seen'>): boolean {
  return seen?.state === 'pending' && seen.again === true
}

/** The gateway may send to it. */
export function isAnswering(replica: Pick<ReplicaView, 'phase' | 'unhealthySince'>): boolean {
  return replica.phase === 'ready' && replica.unhealthySince === null
}

/** It was ready and has answered no probe for so long that another one takes its place. */
export function isLost(
  replica: Pick<ReplicaView, 'phase' | 'unhealthySince'>,
  now: number,
  { unresponsiveMs }: { unresponsiveMs: number },
): boolean {
  return replica.phase === 'ready' && replica.unhealthySince !== null && now - replica.unhealthySince >= unresponsiveMs
}

/** Takes part in the deployment: not on its way out. */
export function isStaying(replica: Pick<ReplicaView, 'phase'>): boolean {
  return replica.phase === 'planned' || replica.phase === 'starting' || replica.phase === 'ready'
}

/** Nothing is expected of it but that it goes on. */
export function isCalm(replica: Pick<ReplicaView, 'phase' | 'unhealthySince'>): boolean {
  return (replica.phase === 'ready' || replica.phase === 'draining') && replica.unhealthySince === null
}

/** Machines at a provider that no row owns. `owned` was read after the list: a row is there before its machine. */
export function orphansAmong<Id extends string>(listed: readonly Id[], owned: ReadonlySet<string>): Id[] {
  return listed.filter((id) => !owned.has(id))
}
