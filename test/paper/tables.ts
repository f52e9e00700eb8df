/**
 * The database on paper: rows, and what the SQL of `src/` does to them, one method per statement. Every fact has its
 * writers; whoever else writes it has broken "one writer per fact".
 */
import { strict as assert } from 'node:assert'
import type { GatewayReport } from '../../src/access/gateways.ts'
import type { Placement } from '../../src/compute/contract.ts'
import type { HeldUnits, Wanted } from '../../src/deployments/place.ts'
import type { ReplicaPatch, ReplicaView } from '../../src/deployments/replica.ts'
import type { Route } from '../../src/deployments/routes.ts'
import type { ScalingPolicy, WindowLimits } from '../../src/deployments/scaling.ts'
import type { Starts, Wish } from '../../src/deployments/situation.ts'
import type { StopCause } from '../../src/deployments/stopped.ts'
import type { Phase, Reason } from '../../src/kernel/phase.ts'

/** A row of `replicas`. */
export interface Row extends Omit<ReplicaView, 'seen' | 'probe' | 'drained'> {
  deploymentId: string
  goneAt: number | null
  drainVersion: number | null
  /** For the invariants: it was removed because the handshake said that nobody uses it. */
  drainedAway: boolean
  /** For the invariants: it ended soon after it was ready, and that was noted. */
  endCounted: boolean
  /** For the invariants: it was there when the clock was changed, so its times say little. */
  clockMoved: boolean
}

export interface Revision {
  id: string
  number: number
  hardware: Wanted[]
  failed: boolean
  /** A replica of it was ready once. */
  proven: boolean
  /** Its engines become ready and soon die. */
  fragile: boolean
  /** Never becomes ready. */
  bad: boolean
  /** Made while the deployment was given up. */
  late: boolean
  /** For the invariants: starts of it that really failed since people last reset the count. */
  failures: number
}

/** What others write; each fact has its writers. */
interface Facts {
  desired: 'running' | 'stopped' | 'deleted'
  desiredReplicas: number
  scaling: ScalingPolicy
  autoscaler: object
  phase: Phase
  reason: Reason | null
  starts: Starts
  readyReplicas: number
  why: string[]
  stoppedBy: StopCause | null
  /** What a window of the schedule says now. */
  window: WindowLimits | null
}

/** A row of `deployments`, with its revisions (newest first) and its replicas that are not gone. */
export interface Deployment extends Facts {
  readonly id: string
  revisions: Revision[]
  /** Number of the revision that should run. */
  revision: number
  rows: Row[]
  nextAt: number | null
  lease: { token: string; claim: number; until: number } | null
  /** For the invariants. */
  notes: Notes
}

export interface Notes {
  /** Claims of this row so far; a turn of an earlier one may write nothing. */
  claims: number
  /** Starts of any revision that really failed since people last reset the count. */
  failures: number
  /** People stopped or deleted it, and said so on its route. */
  shut: boolean
  /** People told it to sleep, and nobody had to wait since; null = that cannot be said. */
  told: boolean | null
  /** The last turn wanted more replicas than the deployment does. */
  overshoot: boolean
  /** The last turn took a serving replica away although fewer than wanted were left. */
  gap: boolean
  /** The last turn removed a drained replica that could have served again, and was wanted. */
  wasted: boolean
  /** The last turn gave up although a replica served. */
  struck: boolean
  /** The last turn let one go that answers no more, with nothing in its place. */
  hasty: boolean
}

/** A row of `gateways`. */
export type Registered = GatewayReport & { seenAt: Date }

export type Writer = 'people' | 'turn' | 'autoscaler' | 'calendar'
const writers: Record<keyof Facts, readonly Writer[]> = {
  desired: ['people', 'autoscaler'],
  desiredReplicas: ['people', 'autoscaler'],
  scaling: ['people'],
  autoscaler: ['autoscaler'],
  // It follows a wish at once; the reconciler takes it from there.
  phase: ['turn', 'people', 'autoscaler'],
  reason: ['turn', 'people', 'autoscaler'],
  starts: ['turn', 'people'],
  readyReplicas: ['turn'],
  why: ['turn'],
  stoppedBy: ['people', 'autoscaler'],
  window: ['calendar'],
}

export const leaseMs = 90_000

/** A replica that is planned and nothing more. */
export function plannedRow(
  facts: Pick<Row, 'id' | 'deploymentId' | 'revisionId' | 'placement' | 'after' | 'createdAt'>,
): Row {
  return {
    ...facts,
    phase: 'planned',
    startedAt: null,
    readyAt: null,
    drainAt: null,
    drainVersion: null,
    endedAt: null,
    goneAt: null,
    unhealthySince: null,
    startPhases: {},
    exit: null,
    drainedAway: false,
    endCounted: false,
    clockMoved: false,
  }
}

export class Tables {
  readonly deployments: Deployment[] = []
  /** All that are not gone, by id. */
  readonly live = new Map<string, Row>()
  readonly gone = new Map<string, Row>()
  readonly routes = new Map<string, Route>()
  routesVersion = 0
  readonly register = new Map<string, Registered>()
  #count = 0

  id(prefix: string): string {
    this.#count += 1
    return `${prefix}_${this.#count}`
  }

  set(deployment: Deployment, writer: Writer, facts: Partial<Facts>): void {
    for (const fact of Object.keys(facts) as (keyof Facts)[])
      assert(writers[fact].includes(writer), `one writer per fact: ${writer} wrote ${fact} of ${deployment.id}`)
    Object.assign(deployment, facts)
  }

  /** Null: it is not due, or somebody holds it. */
  claim(deployment: Deployment, owner: string, now: number): string | null {
    const { lease, nextAt, notes } = deployment
    const due = lease === null ? nextAt !== null && nextAt <= now : lease.until <= now
    if (!due) return null
    notes.claims += 1
    const token = `${owner}.${notes.claims}`
    deployment.lease = { token, claim: notes.claims, until: now + leaseMs }
    deployment.nextAt = nextAt !== null && nextAt > now ? nextAt : null
    return token
  }

  release(deployment: Deployment, token: string, nextAt: number | null): void {
    if (deployment.lease?.token !== token) return
    deployment.lease = null
    if (nextAt !== null) this.wake(deployment, nextAt)
  }

  wake(deployment: Deployment, at: number): void {
    deployment.nextAt = Math.min(deployment.nextAt ?? at, at)
  }

  /** A process of this owner begins: what an earlier one had claimed is free, and everything is looked at once. */
  takeOver(owner: string, now: number): void {
    for (const deployment of this.deployments) {
      if (deployment.lease?.token.startsWith(`${owner}.`)) deployment.lease = null
      if (deployment.phase !== 'deleted') this.wake(deployment, now)
    }
  }

  wakeQueued(now: number): void {
    for (const deployment of this.deployments)
      if (deployment.phase === 'queued' || deployment.reason?.code === 'capacity_short') this.wake(deployment, now)
  }

  wishOf({ desired, desiredReplicas, revision, stoppedBy, starts }: Deployment): Wish {
    const { failed, lastAt } = starts
    return { desired, desiredReplicas, revision, stoppedBy, starts: { failed, lastAt } }
  }

  insertReplica(deployment: Deployment, revisionId: string, placement: Placement, after: string | null, at: number) {
    const row = plannedRow({
      id: this.id('rep'),
      deploymentId: deployment.id,
      revisionId,
      placement,
      after,
      createdAt: at,
    })
    row.startPhases = { hardware: at }
    this.live.set(row.id, row)
    deployment.rows.push(row)
    return row
  }

  /** An interval that was closed stays closed: the first end is the true one. */
  patchReplica(row: Row, { endedAt, address: _address, port: _port, ...patch }: ReplicaPatch): void {
    if (patch.drainAt === null) row.drainVersion = null
    Object.assign(row, patch)
    if (endedAt !== undefined) row.endedAt = Math.min(row.endedAt ?? endedAt, endedAt)
    if (row.phase !== 'gone') return
    this.live.delete(row.id)
    this.gone.set(row.id, row)
    const deployment = this.deployments.find((d) => d.id === row.deploymentId)!
    deployment.rows = deployment.rows.filter((one) => one !== row)
  }

  /** What rows hold, successors beside those whose place they take. */
  heldUnits(): HeldUnits[] {
    let units = 0
    for (const row of this.live.values()) units += row.placement.gpuCount
    return [{ provider: 'paper', gpuType: 'h100', region: 'nyc2', units }]
  }

  publish(route: Route): number {
    this.routesVersion += 1
    this.routes.set(route.deploymentId, { ...route, version: this.routesVersion })
    return this.routesVersion
  }

  routesSince(version: number): Route[] {
    if (version >= this.routesVersion) return []
    return [...this.routes.values()].filter((route) => route.version > version).sort((a, b) => a.version - b.version)
  }
}
