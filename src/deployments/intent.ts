/**
 * What a turn writes before it acts: everything that a plan decided, in one transaction, guarded by the claim. What others
 * wait for (the sum of what hardware is held, the version of the routes) is locked last, so that they wait for as little
 * as possible.
 */
import type { EventType } from '../events/catalogue.ts'
import { type NewEvent, recordMany } from '../events/store.ts'
import { newId } from '../runtime/ids.ts'
import type { Tx } from '../store/database.ts'
import { type Lease, lockLease, release } from '../store/leases.ts'
import { lookAgainAt } from './look-again.ts'
import { hasRoom } from './place.ts'
import type { Action, Plan } from './plan.ts'
import { sameRoute } from './publish.ts'
import type { Claim } from './queue.ts'
import { returnClaim } from './queue-store.ts'
import { recordUpdate, type Tell } from './replica-record.ts'
import type { Route } from './routes.ts'
import { sameWish, type Wish } from './situation.ts'
import type { Snapshot } from './snapshot.ts'
import * as store from './store.ts'
import type { TurnWorld } from './turn.ts'
import { emulatedOf, routeFor, sameVerdict, type Verdict } from './verdict.ts'

export type Created = Extract<Action, { do: 'create' }>
type Places = Extract<Action, { do: 'plan_replica' }>
type Updates = Extract<Action, { do: 'update' }>

export interface Recorded {
  /** The creates that its new rows call for. */
  created: Created[]
  /** When to look again by itself, ms since epoch. */
  nextAt: number | null
}

/** null when the claim was lost or the wish has changed: then nothing is written. */
export function recordIntent(
  world: TurnWorld,
  lease: Lease,
  snapshot: Snapshot,
  result: Plan,
): Promise<Recorded | null> {
  return world.db.tx(async (tx) => {
    const route = await stillSo(tx, lease, snapshot)
    if (route === undefined) return null
    const writing = new Writing(world, tx, snapshot)
    await writing.updates(result.actions)
    const replicas = snapshot.replicas.flatMap((row) => patched(row, result) ?? [])
    const verdict = { ...result, emulated: emulatedOf(world, snapshot, replicas) }
    const isNews = !sameVerdict(snapshot, verdict)
    if (isNews) await store.saveVerdict(tx, lease.id, verdict, new Date(snapshot.input.now))
    await writing.exchange(result.actions)
    if (isNews) writing.tellVerdict(verdict)
    await recordMany(tx, writing.told)
    for (const claim of writing.taken) await returnClaim(tx, snapshot.deployment, claim, [], snapshot.input.now)
    const recorded = writing.outcome(result)
    // With provider calls ahead the claim is kept until their outcome is applied, which may never come.
    const acts = recorded.created.length > 0 || result.actions.some(isCall)
    if (!acts) await release(tx, lease, recorded.nextAt)
    await publish(tx, routeFor(world, snapshot, verdict, replicas), route, replicas)
    return recorded
  })
}

/**
 * The route as it is, while nothing that was decided upon has changed; else undefined, with the claim released or lost.
 * Whoever wishes something, or publishes the route, writes the deployment's row.
 */
async function stillSo(
  tx: Tx,
  lease: Lease,
  { deployment, route, input }: Snapshot,
): Promise<Route | null | undefined> {
  const written = await lockLease(tx, lease)
  if (written === deployment.written) return route
  if (written === null) return undefined
  // Somebody stopped, deleted, scaled or started it while we looked: what was decided without that is void.
  if (sameWish(wishOf(deployment), wishOf((await store.deploymentById(tx, lease.id))!)))
    return store.routeOf(tx, lease.id)
  await release(tx, lease, input.now)
  return undefined
}

function wishOf(row: store.DeploymentRow): Wish {
  return {
    desired: row.desired,
    desiredReplicas: row.desired_replicas,
    revision: row.revision,
    stoppedBy: row.stopped_by,
    starts: row.starts,
    limits: row.limits,
    adapters: row.adapters,
  }
}

function isCall({ do: what }: Action): boolean {
  return what === 'create' || what === 'delete'
}

/** The row as it is once the plan's patch of it is written; null = gone. */
function patched(row: store.ReplicaRow, { actions }: Plan): store.ReplicaRow | null {
  const action = actions.find((one): one is Updates => one.do === 'update' && one.replicaId === row.id)
  if (action === undefined) return row
  const { phase = row.phase, address = row.address, port = row.port, unhealthySince, drainAt } = action.patch
  if (phase === 'gone') return null
  const since = unhealthySince === undefined ? row.unhealthy_since : unhealthySince
  return {
    ...row,
    phase,
    address,
    port,
    unhealthy_since: since === null ? null : new Date(since),
    drain_version: drainAt === null ? null : row.drain_version,
  }
}

/** One transaction's writing, in the order in which locks are taken. */
class Writing {
  readonly told: NewEvent[] = []
  /** What was waited with for places that somebody else was faster to take. */
  readonly taken: Claim[] = []
  readonly #world: TurnWorld
  readonly #tx: Tx
  readonly #snapshot: Snapshot
  readonly #at: Date
  readonly #created: Created[] = []

  constructor(world: TurnWorld, tx: Tx, snapshot: Snapshot) {
    this.#world = world
    this.#tx = tx
    this.#snapshot = snapshot
    this.#at = new Date(snapshot.input.now)
  }

  /** All but what changes how much hardware is held. */
  async updates(actions: readonly Action[]): Promise<void> {
    for (const action of actions)
      if (action.do === 'update' && action.patch.phase !== 'gone') await this.#update(action)
      else if (action.do === 'fail_revision') await this.#giveUp(action)
  }

  outcome({ actions, wakeAt }: Plan): Recorded {
    const wanted = actions.some((action) => action.do === 'plan_replica')
    const created = this.#created
    return { created, nextAt: lookAgainAt({ wakeAt, wanted, created: created.length, now: this.#at.getTime() }) }
  }

  tellVerdict({ phase, reason, starts }: Verdict): void {
    const { deployment } = this.#snapshot
    const { code, message } = reason ?? {}
    if (deployment.phase === phase) return
    this.#tell('deployment.phase', { from: deployment.phase, to: phase, code, message })
    if (phase === 'failed')
      this.#tell('deployment.failed', { code: code ?? '', message: message ?? '', last_lines: starts.lastLines })
  }

  readonly #tell: Tell = (type, data) => {
    const { id, org_id } = this.#snapshot.deployment
    this.told.push({ orgId: org_id, deploymentId: id, type, data, at: this.#at } as NewEvent<EventType>)
  }

  #update(action: Updates): Promise<void> {
    return recordUpdate(this.#world.settings, this.#tx, this.#snapshot, action, this.#at, this.#tell)
  }

  async #giveUp({ revisionId, why }: Extract<Action, { do: 'fail_revision' }>): Promise<void> {
    const { deployment, revisions } = this.#snapshot
    await store.failRevision(this.#tx, deployment.id, revisionId, why)
    this.#tell('revision.failed', { revision: revisions.find((r) => r.id === revisionId)?.number ?? 0, why })
  }

  /** What is gone frees its hardware, what is planned takes some, unless somebody was faster: the next turn sees it. */
  async exchange(actions: readonly Action[]): Promise<void> {
    const frees = actions.filter((action) => action.do === 'update').filter(({ patch }) => patch.phase === 'gone')
    const places = actions.filter((action) => action.do === 'plan_replica')
    const freed = this.#snapshot.replicas.filter(({ id }) => frees.some(({ replicaId }) => replicaId === id))
    const touched = [
      ...freed.map(({ provider, gpu_type: gpuType, region }) => ({ provider, gpuType, region })),
      ...places.map(({ placement }) => placement),
    ]
    if (touched.length === 0) return
    let held = await store.lockHeld(this.#tx, touched)
    for (const action of frees) await this.#update(action)
    if (frees.length > 0 && places.length > 0) held = await store.heldUnits(this.#tx)
    for (const action of places) {
      const { placement, after, claim } = action
      // One that takes over a place has it already.
      if (after === null && !hasRoom(placement, this.#snapshot.input.offers, held)) {
        if (claim !== null) this.taken.push(claim)
        continue
      }
      await this.#reserve(action)
      const here = held.find(
        (h) => h.provider === placement.provider && h.gpuType === placement.gpuType && h.region === placement.region,
      )
      if (after === null && here) here.units += placement.gpuCount
    }
  }

  async #reserve({ placement, revisionId, after, claim }: Places): Promise<void> {
    const { deployment } = this.#snapshot
    const id = newId('rep', this.#world.clock)
    const row = {
      id,
      deployment_id: deployment.id,
      revision_id: revisionId,
      org_id: deployment.org_id,
      after_replica: after,
      claim,
    }
    const { gpuType, gpuCount, region } = placement
    const price = this.#world.hardware.get(gpuType)?.price ?? 0n
    await store.insertReplica(this.#tx, row, placement, price, this.#at)
    this.#tell('replica.planned', { replica_id: id, gpu_type: gpuType, gpu_count: gpuCount, region })
    if (after === null) this.#created.push({ do: 'create', replicaId: id })
  }
}

async function publish(
  tx: Tx,
  route: Route,
  before: Route | null,
  replicas: readonly store.ReplicaRow[],
): Promise<void> {
  const version = sameRoute(before, route) ? before!.version : await store.publishRoute(tx, route)
  for (const replica of replicas)
    if (replica.phase === 'draining' && replica.drain_version === null)
      await store.markDrainVersion(tx, replica.id, version)
}
