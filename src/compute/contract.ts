/**
 * What the platform asks of a place that has hardware. Errors are meanings; nothing else crosses this line.
 * One suite runs over every driver (`contract.suite.ts`).
 */

import type { Launch, LaunchHost, ModelFiles, StartMoments } from '../engines/contract.ts'
import type { DeploymentId, ReplicaId } from '../kernel/ids.ts'

/** Units of one hardware type in one region. A unit of `mi300x_8` is eight GPUs. */
export interface Offer {
  provider: string
  gpuType: string
  region: string
  totalUnits: number
  freeUnits: number
  /** True when the units are slots on this machine dressed as another type (contract: `--fleet emulated`). */
  emulated: boolean
  /** Made up as well: no engine computes on it. */
  simulated?: boolean
}

/** Hardware that one replica occupies. */
export interface Placement {
  provider: string
  gpuType: string
  gpuCount: number
  region: string
  emulated: boolean
}

/** An order to run one replica. `id` is the idempotency key and the tag. */
export interface ReplicaOrder {
  id: ReplicaId
  deploymentId: DeploymentId
  placement: Placement
  model: ModelFiles
  /** Other files that the engine reads: name → path. */
  files?: Readonly<Record<string, string>>
  /** Builds the launch line once the driver knows the host. Pure. */
  launch(host: LaunchHost): Launch
}

export interface Exit {
  /** When it ended, ms since epoch, as its keeper or provider recorded it. */
  at: number
  code: number | null
  signal: string | null
  /** The engine's last lines, at most 50. */
  lastLines: string[]
  /** Why, in one sentence. */
  why: string
}

/**
 * `phase`: what a pending one waits for, files when it says nothing; a detail that changes is progress. `began`: when
 * parts of the start began, as far as the provider knows. `again`: whoever was at it is gone, and create is to be called
 * once more.
 */
export type Observation =
  | { state: 'pending'; detail: string; phase?: 'hardware' | 'files'; began?: StartMoments; again?: true }
  | { state: 'running'; address: string; port: number; startedAt: number; began?: StartMoments }
  | { state: 'exited'; exit: Exit }
  | { state: 'not_found' }

export type ComputeMeaning = 'not_found' | 'capacity_short' | 'rejected' | 'not_ready' | 'unavailable'

export class ComputeError extends Error {
  readonly meaning: ComputeMeaning
  constructor(meaning: ComputeMeaning, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'ComputeError'
    this.meaning = meaning
  }
}

export interface ComputeDriver {
  name: string
  offers(): Promise<Offer[]>
  /** Idempotent by `order.id`: a second call for the same id changes nothing. Throws ComputeError. */
  create(order: ReplicaOrder): Promise<void>
  observe(id: ReplicaId): Promise<Observation>
  /** Many in one question, for providers that can answer it; what is left out is unknown. Without it each is observed. */
  observeAll?(ids: readonly ReplicaId[]): Promise<Map<ReplicaId, Observation>>
  /** Everything tagged as ours, owned by a row or not. */
  list(): Promise<ReplicaId[]>
  /** Asks for removal; call again until `observe` says `not_found`. */
  delete(id: ReplicaId, options?: { graceSeconds?: number }): Promise<void>
  /**
   * Puts a file or folder where this replica's engine can read it, under a name of its own, and gives the path that the
   * engine sees; again the same when asked again. Absent: engines read what we read.
   */
  placeFile?(id: ReplicaId, name: string, path: string): Promise<string>
  /** The engine's recent output, oldest first; at most `lines`. */
  logs(id: ReplicaId, lines: number): Promise<string[]>
  /** Keeps replicas alive for another lease period; called every few seconds by whoever lives. */
  renew(ids: ReplicaId[]): Promise<void>
  /** Clears up what a crash left that is no replica (stray processes, unused copies); at a start and now and then. */
  sweep?(): Promise<unknown>
}
