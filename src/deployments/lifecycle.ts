/** Use cases that change a deployment that exists: stop, start, restart, another spec, back to an earlier one. */
import { propagated } from '../access/gateways.ts'
import type { Principal } from '../access/permissions.ts'
import type { EventData } from '../events/catalogue.ts'
import { record } from '../events/store.ts'
import { canonical } from '../kernel/canonical.ts'
import { Fault } from '../kernel/fault.ts'
import { newId } from '../runtime/ids.ts'
import type { Tx } from '../store/database.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { type DeploymentSpec, type DeploymentWish, makeSpec } from './spec.ts'
import * as store from './store.ts'

/** A part of the spec; absent = as before. */
export type SpecChange = Partial<Omit<DeploymentWish, 'name' | 'replicas'>>

export interface RevisionView {
  number: number
  spec: DeploymentSpec
  /** The one that runs or is being rolled to. */
  current: boolean
  failed: boolean
  failedWhy: string | null
  createdAt: Date
}

export class Lifecycle {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  /** Frees the hardware and ends billing; `start` brings it back. Works while it is still starting. Idempotent. */
  async stop(principal: Principal, idOrName: string): Promise<void> {
    await this.#change(principal, idOrName, async (tx, row, at) => {
      if (row.desired === 'stopped') return
      await store.setDesired(tx, row.id, 'stopped', at)
      await event(tx, row, 'deployment.stop_asked', { by: principal.keyId }, at)
      const route = await store.routeOf(tx, row.id)
      const reason = { code: 'stopping', message: 'It is being stopped.', since: at.toISOString(), retry_after: 10 }
      if (route) await store.publishRoute(tx, { ...route, phase: 'stopping', reason })
    })
  }

  /** Brings a stopped or failed deployment back; a running one is left as it is. */
  async start(principal: Principal, idOrName: string): Promise<void> {
    await this.#change(principal, idOrName, async (tx, row, at) => {
      if (row.desired === 'running' && row.phase !== 'failed') return
      await store.setDesired(tx, row.id, 'running', at)
      await store.resetStarts(tx, row.id, Math.max(1, row.desired_replicas))
      await event(tx, row, 'deployment.start_asked', { by: principal.keyId }, at)
    })
  }

  /** New replicas of the same spec, rolled in without a gap where there is room. A stopped one is started. */
  async restart(principal: Principal, idOrName: string): Promise<void> {
    await this.#change(principal, idOrName, async (tx, row, at) => {
      const revision = await this.#addRevision(tx, row, row.spec, at)
      await store.setDesired(tx, row.id, 'running', at)
      await event(tx, row, 'deployment.restart_asked', { by: principal.keyId, revision }, at)
    })
  }

  /** Another spec = another revision, rolled to. Nothing changed = nothing done. Throws as `create` does. */
  async change(principal: Principal, idOrName: string, change: SpecChange): Promise<void> {
    await this.#change(principal, idOrName, async (tx, row, at) => {
      const { spec } = makeSpec(
        { ...wishOf(row), ...change, engine: { ...wishOf(row).engine, ...change.engine } },
        this.#context,
      )
      const changed = changedFields(row.spec, spec)
      if (changed.length === 0) return
      const revision = await this.#addRevision(tx, row, spec, at)
      await event(tx, row, 'deployment.changed', { revision, by: principal.keyId, changed }, at)
    })
  }

  /** Rolls to an earlier revision's spec (default: the newest before the current that did not fail), as a new revision. */
  async rollback(principal: Principal, idOrName: string, number?: number): Promise<void> {
    await this.#change(principal, idOrName, async (tx, row, at) => {
      const revisions = await store.revisionsOf(tx, row.id)
      const target =
        number === undefined
          ? revisions.find((r) => r.number < row.revision && !r.failed)
          : revisions.find((r) => r.number === number)
      if (!target)
        throw new Fault(
          'not_found',
          number === undefined ? 'There is no earlier revision.' : `There is no revision ${number}.`,
        )
      if (target.number === row.revision) return
      await this.#addRevision(tx, row, target.spec, at)
      await event(tx, row, 'revision.rolled_back', { from: row.revision, to: target.number, by: principal.keyId }, at)
    })
  }

  async revisions(principal: Principal, idOrName: string): Promise<RevisionView[]> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const revisions = await store.revisionsOf(this.#context.db, row.id)
    return revisions.map((r) => ({
      number: r.number,
      spec: r.spec,
      current: r.number === row.revision,
      failed: r.failed,
      failedWhy: r.failed_why,
      createdAt: r.created_at,
    }))
  }

  async #addRevision(tx: Tx, row: store.DeploymentRow, spec: DeploymentSpec, at: Date): Promise<number> {
    const [newest] = await store.revisionsOf(tx, row.id)
    const number = (newest?.number ?? 0) + 1
    await store.insertRevision(tx, { id: newId('rev', this.#context.clock), deployment_id: row.id, number, spec }, at)
    await store.setRevision(tx, row.id, number, spec)
    await store.resetStarts(tx, row.id, row.desired_replicas)
    return number
  }

  /** Every change: allowed, under the row's lock, in one transaction; then the reconciler looks and gateways know. */
  async #change(
    principal: Principal,
    idOrName: string,
    write: (tx: Tx, row: store.DeploymentRow, at: Date) => Promise<void>,
  ): Promise<void> {
    const { db, clock } = this.#context
    const { id } = await allowed(this.#context, principal, idOrName, 'deployment:write')
    const version = await db.tx(async (tx) => {
      const row = await store.lockDeployment(tx, id)
      if (!row || row.desired === 'deleted')
        throw new Fault('not_found', `There is no deployment "${idOrName}" in this organisation.`)
      const at = new Date(clock.now())
      await write(tx, row, at)
      await store.touch(tx, id, at)
      return (await store.routeOf(tx, id))?.version ?? 0
    })
    this.#context.wake()
    await propagated(db, clock, 'routes', version)
  }
}

/** The wish that makes this spec again. */
export function wishOf(row: Pick<store.DeploymentRow, 'name' | 'spec'>): DeploymentWish {
  const { modelId, hardware, engine, replicas } = row.spec
  const first = hardware[0]!
  return {
    name: row.name,
    modelId,
    gpuType: first.gpuType,
    gpuCount: first.gpuCount,
    ...(first.region === null ? {} : { region: first.region }),
    replicas,
    engine: { ...engine },
  }
}

function changedFields(before: DeploymentSpec, after: DeploymentSpec): string[] {
  const keys = Object.keys(after) as (keyof DeploymentSpec)[]
  return keys.filter((key) => key !== 'engineWhy' && canonical(before[key]) !== canonical(after[key]))
}

async function event<T extends keyof EventData>(
  tx: Tx,
  row: store.DeploymentRow,
  type: T,
  data: EventData[T],
  at: Date,
): Promise<void> {
  await record(tx, { orgId: row.org_id, deploymentId: row.id, type, data, at })
}
