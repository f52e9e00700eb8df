/**
 * What is to be done about adapters on the replicas of one deployment. Pure: every step may be done twice, so whoever
 * dies in between is followed by one that does it again.
 */
import type { AdapterOrigin } from '../../models/adapters/sources.ts'

export type AdapterState = 'pending' | 'loading' | 'ready' | 'failed'

export interface AdapterPart {
  id: string
  name: string
  path: string
  rank: number
  /** Absent, null: its path is where it is. */
  origin?: AdapterOrigin | null
  removed: boolean
}

export interface StatePart {
  adapterId: string
  replicaId: string
  state: AdapterState
  detail: string | null
  handle: string | null
  tries: number
  nextAt: number
}

export interface ReplicaPart {
  id: string
  /** It answers and gets traffic. */
  ready: boolean
  /** Its engine lists what it has. */
  listedAt: number
}

export type AdapterStep =
  | { do: 'load'; replicaId: string; adapter: AdapterPart; tries: number }
  | { do: 'unload'; replicaId: string; adapter: AdapterPart; tries: number }
  /** Does the engine still have what we think it has? */
  | { do: 'verify'; replicaId: string; adapters: AdapterPart[] }
  /** Its replica is gone. */
  | { do: 'forget'; replicaId: string; adapterId: string }

export interface AdapterWorld {
  adapters: readonly AdapterPart[]
  replicas: readonly ReplicaPart[]
  states: readonly StatePart[]
  now: number
}

/** How often it is looked whether an engine has what it should: one that was started anew by others has nothing. */
export const verifyEveryMs = 10_000
const firstPauseMs = 1_000
const longestPauseMs = 60_000
/** Calls that an engine refused are worth no more. */
export const triesMaximum = 5

export function adapterSteps({ adapters, replicas, states, now }: AdapterWorld): AdapterStep[] {
  const steps: AdapterStep[] = []
  for (const { adapterId, replicaId } of states)
    if (!replicas.some(({ id }) => id === replicaId)) steps.push({ do: 'forget', replicaId, adapterId })
  for (const replica of replicas) {
    const of = (adapter: AdapterPart) =>
      states.find(({ adapterId, replicaId }) => adapterId === adapter.id && replicaId === replica.id)
    for (const adapter of adapters) {
      const state = of(adapter)
      const { tries = 0, nextAt = 0 } = state ?? {}
      const isDue = nextAt <= now
      if (adapter.removed && state !== undefined && isDue)
        steps.push({ do: 'unload', replicaId: replica.id, adapter, tries })
      else if (!adapter.removed && replica.ready && isDue && state?.state !== 'ready' && state?.state !== 'failed')
        steps.push({ do: 'load', replicaId: replica.id, adapter, tries })
    }
    const has = adapters.filter((adapter) => !adapter.removed && of(adapter)?.state === 'ready')
    if (replica.ready && has.length > 0 && now - replica.listedAt >= verifyEveryMs)
      steps.push({ do: 'verify', replicaId: replica.id, adapters: has })
  }
  return steps
}

/** When a call that came to nothing is tried again, ms since epoch. */
export function againAt(tries: number, now: number): number {
  return now + Math.min(longestPauseMs, firstPauseMs * 2 ** tries)
}
