/**
 * How long it took until a deployment answered: from the first request that waited, the wake, the start or the creation
 * to the first replica that was ready; and of each replica beyond, from its hardware on. Compared with a target. Pure.
 */
import type { StartMoments, StartPhase } from '../engines/contract.ts'
import { durationsOf } from './start.ts'

/** `request`: one came while it slept. `wake`: a person or the schedule. `replica`: it answered already. */
export type ColdFrom = 'create' | 'start' | 'wake' | 'request' | 'replica'

/** Since when nothing answers although something should. */
export interface ColdBegan {
  from: ColdFrom
  /** ms since epoch, as all moments here. */
  at: number
}

export interface ColdStart {
  from: ColdFrom
  replicaId: string
  /** When it was ready. */
  at: number
  actualMs: number
  /** null = there was none. */
  targetMs: number | null
  /** Before hardware was asked for: the queue, failed starts, our own work. */
  waitedMs: number
  phaseMs: Partial<Record<StartPhase, number>>
}

export function coldStartOf(
  began: ColdBegan | null,
  replica: { id: string; createdAt: number; moments: StartMoments },
  readyAt: number,
  targetMs: number | null,
): ColdStart {
  const asked = replica.moments.hardware ?? replica.createdAt
  const since = Math.min(began?.at ?? asked, readyAt)
  return {
    from: began?.from ?? 'replica',
    replicaId: replica.id,
    at: readyAt,
    actualMs: readyAt - since,
    targetMs,
    waitedMs: Math.max(0, asked - since),
    phaseMs: durationsOf(replica.moments, readyAt),
  }
}

export function isMissed({ actualMs, targetMs }: Pick<ColdStart, 'actualMs' | 'targetMs'>): boolean {
  return targetMs !== null && actualMs > targetMs
}

/** The deployment's own target, else the server's; 0 = none. */
export function targetMsOf(own: number | null, servers: number): number | null {
  const seconds = own ?? servers
  return seconds === 0 ? null : seconds * 1000
}
