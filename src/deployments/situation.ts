/** The data that the decisions of this folder share. */
import type { LimitsChange } from '../access/limits.ts'
import type { Offer } from '../compute/contract.ts'
import type { StartPhase } from '../engines/contract.ts'
import { canonical } from '../kernel/canonical.ts'
import type { MicroUsd } from '../kernel/money.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import type { AdapterSummary } from './adapters/summary.ts'
import type { Limited } from './limited.ts'
import type { Wanted } from './place.ts'
import type { Claim, Held } from './queue.ts'
import type { ReplicaView } from './replica.ts'
import type { StopCause, Stopped } from './stopped.ts'
import type { Waiting } from './waiting.ts'

export interface PlanSettings {
  startDeadlineMs: number
  /** Of each part; files: without progress. Absent = only the whole start has one. */
  phaseDeadlineMs?: Partial<Record<StartPhase, number>>
  /** Of deployments that have no target of their own; absent, 0 = none. */
  coldStartTargetSeconds?: number
  /** A start has worked when its replica has been ready this long; absent, 0 = at once. */
  stableMs?: number
  brakeAfter: number
  /** Failed starts after which a new revision gives way to the one before it. */
  rollbackAfter: number
  backoffMs: number
  backoffMaximumMs: number
  unresponsiveMs: number
  drainDeadlineMs: number
  /** Who waits longer for hardware than this has a place kept for it; default: queue.ts's. */
  reserveAfterMs?: number
  /** A place whose provider had nothing although it offered is not asked again this long; default: act.ts's. */
  refusedMs?: number
  /** Contexts for adapters that an embedded engine may hold; absent = the engine's default. */
  adapterSets?: number
}

/** The queue for hardware, as far as a plan needs it. */
export interface QueueInput {
  /** What others wait for. */
  others: Claim[]
  /** What organisations hold, by organisation. */
  held: Record<string, Held>
  /** What it waited for itself at its last turn. */
  mine: Waiting | null
  /** GPUs of one unit, by hardware type. */
  gpus: Record<string, number>
  /** Hardware that can stand in for what is wanted. */
  comparable: Wanted[]
}

/** Failed starts in a row, as stored with the deployment. */
export interface Starts {
  failed: number
  lastAt: number
  why: string
  lastLines: string[]
}

export const noStarts: Starts = { failed: 0, lastAt: 0, why: '', lastLines: [] }

export interface PlanInput {
  deployment: {
    id: string
    orgId?: string
    desired: 'running' | 'stopped' | 'deleted'
    desiredReplicas: number
    phase: Phase
    reason: Reason | null
    starts: Starts
    /** Growth that was refused; absent, null = none was. */
    limited?: Limited | null
    /** Why it is stopped; null = it is not. */
    stopped?: Stopped | null
  }
  /** Newest first; the first that has not failed is the one that should run. */
  revisions: {
    id: string
    number: number
    /** Usable choices in order of preference; `price`: of one replica, an hour. */
    hardware: (Wanted & { price?: MicroUsd })[]
    /** What an hour of all replicas may cost; absent, null = no ceiling. */
    ceiling?: MicroUsd | null
    failed: boolean
    /** A replica of it was ready: that others do not start is no reason to give it up. */
    proven: boolean
    /** It may take the place of the only one that answers; absent = it may. */
    inPlace?: boolean
  }[]
  /** All that are not gone. */
  replicas: ReplicaView[]
  offers: Offer[]
  /** Absent: nobody else wants anything. */
  queue?: QueueInput
  now: number
  settings: PlanSettings
}

export interface Situation {
  input: PlanInput
  /** The revision that should run; null when all have failed. */
  target: PlanInput['revisions'][number] | null
  /** After what was observed, without the gone ones. */
  replicas: ReplicaView[]
  starts: Starts
  /** Replicas that served and were just seen to have ended by themselves. */
  died: number
  /** Too many failed starts in a row and nothing that serves: it stays down until somebody starts it again. */
  braked: boolean
  /** No new start before this moment, ms since epoch. */
  retryAt: number
  /** When the start that came up since the last failure turns out to have worked, ms since epoch; null = there is none. */
  forgivenAt: number | null
}

/** What a plan stands on and others write while it is made: the people and the autoscaler, who take no turn. */
export interface Wish {
  desired: PlanInput['deployment']['desired']
  desiredReplicas: number
  /** Number of the revision that should run. */
  revision: number
  stoppedBy: StopCause | null
  /** People reset them. */
  starts: Pick<Starts, 'failed' | 'lastAt'>
  /** For the route. */
  limits?: LimitsChange
  adapters?: AdapterSummary | null
}

/** True when a plan made for `planned` is right for `now` as well. */
export function sameWish(planned: Wish, now: Wish): boolean {
  return (
    planned.desired === now.desired &&
    planned.desiredReplicas === now.desiredReplicas &&
    planned.stoppedBy === now.stoppedBy &&
    planned.revision === now.revision &&
    planned.starts.failed === now.starts.failed &&
    planned.starts.lastAt === now.starts.lastAt &&
    canonical(planned.limits) === canonical(now.limits) &&
    canonical(planned.adapters ?? null) === canonical(now.adapters ?? null)
  )
}
