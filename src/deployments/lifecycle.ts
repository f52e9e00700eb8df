/** Use cases that change a deployment that exists: stop, start, restart, another spec, back to an earlier one. */
import type { Once } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import type { EventData } from '../events/catalogue.ts'
import { record } from '../events/store.ts'
import { canonical } from '../kernel/canonical.ts'
import { Fault } from '../kernel/fault.ts'
import { reasonOf } from '../kernel/phase.ts'
import { newId } from '../runtime/ids.ts'
import type { Tx } from '../store/database.ts'
import { changeDeployment, type Write } from './change.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { freeOffers } from './offers.ts'
import { checkCeiling } from './prices.ts'
import { checkGrowth, checkQuota } from './quota.ts'
import { checkRoom } from './room.ts'
import { floorOf, policyOf } from './scaling.ts'
import { type DeploymentSpec, type DeploymentWish, makeSpec } from './spec.ts'
import * as store from './store.ts'

/** A part of the spec; absent = as before. `undefined` = the default again. */
export type SpecChange = Partial<
  Omit<DeploymentWish, 'name' | 'replicas' | 'scaling' | 'inactiveTimeoutMinutes' | 'failFast'>
>

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
  async stop(principal: Principal, idOrName: string, once: Once | null = null): Promise<void> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      if (row.desired === 'stopped') return
      await store.setDesired(tx, row.id, 'stopped', at)
      await event(tx, row, 'deployment.stop_asked', { by: principal.keyId }, at)
      const route = await store.routeOf(tx, row.id)
      if (route) await store.publishRoute(tx, { ...route, phase: 'stopping', reason: reasonOf('stopping', at) })
    })
  }

  /** Brings a stopped or failed deployment back; a running one is left as it is. `failFast`: as at a create. */
  async start(
    principal: Principal,
    idOrName: string,
    once: Once | null = null,
    { failFast = false }: { failFast?: boolean } = {},
  ): Promise<void> {
    const offers = failFast ? await freeOffers(this.#context) : []
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      if (row.desired === 'running' && row.phase !== 'failed') return
      if (failFast) checkRoom(row.spec, floorOf(policyOf(row)), offers, this.#context.hardware)
      await this.#bringBack(tx, row, at)
      await event(tx, row, 'deployment.start_asked', { by: principal.keyId }, at)
    })
  }

  /** New replicas of the same spec, rolled in without a gap where there is room. A stopped one is started. */
  async restart(principal: Principal, idOrName: string, once: Once | null = null): Promise<void> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const revision = await this.#addRevision(tx, row, row.spec, at)
      if (row.desired === 'stopped' || row.phase === 'failed') await this.#bringBack(tx, row, at)
      await event(tx, row, 'deployment.restart_asked', { by: principal.keyId, revision }, at)
    })
  }

  /** Another spec = another revision, rolled to. Nothing changed = nothing done. Throws as `create` does. */
  async change(
    principal: Principal,
    idOrName: string,
    change: SpecChange,
    once: Once | null = null,
    alongside?: Write,
  ): Promise<void> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      await alongside?.(tx, row, at)
      const after = alongside ? (await store.deploymentById(tx, row.id))! : row
      const { spec } = makeSpec(changedWish(after, change), this.#context)
      const changed = changedFields(row.spec, spec)
      if (changed.length === 0) return
      await this.#checkGrowth(tx, after, spec)
      const revision = await this.#addRevision(tx, row, spec, at)
      await event(tx, row, 'deployment.changed', { revision, by: principal.keyId, changed }, at)
    })
  }

  /** Rolls to an earlier revision's spec (default: the newest before the current that did not fail), as a new revision. */
  async rollback(principal: Principal, idOrName: string, number?: number, once: Once | null = null): Promise<void> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const revisions = await store.revisionsOf(tx, row.id)
      const target =
        number === undefined
          ? revisions.find((r) => r.number < row.revision && !r.failed)
          : revisions.find((r) => r.number === number)
      if (!target)
        throw number === undefined
          ? new Fault('conflict', 'There is no earlier revision.')
          : new Fault('invalid_request', `revision: there is no revision ${number} among the latest.`)
      if (target.number === row.revision) return
      checkCeiling(target.spec, floorOf(policyOf(row)), this.#context.hardware)
      await this.#checkGrowth(tx, row, target.spec)
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

  /** What does not run holds nothing of the quota: it is checked as if it were new. */
  async #bringBack(tx: Tx, row: store.DeploymentRow, at: Date): Promise<void> {
    const replicas = floorOf(policyOf(row))
    const desiredReplicas = Math.max(replicas, row.desired_replicas)
    const asked = { id: row.id, spec: row.spec, scaling: policyOf(row), desiredReplicas }
    await checkQuota(tx, row.org_id, asked, this.#context)
    await store.setDesired(tx, row.id, 'running', at)
    await store.resetStarts(tx, row.id, replicas)
  }

  async #checkGrowth(tx: Tx, row: store.DeploymentRow, spec: DeploymentSpec): Promise<void> {
    if (row.desired !== 'running') return
    const before = { id: row.id, spec: row.spec, scaling: policyOf(row), desiredReplicas: row.desired_replicas }
    await checkGrowth(tx, row.org_id, before, { ...before, spec }, this.#context)
  }

  async #addRevision(tx: Tx, row: store.DeploymentRow, spec: DeploymentSpec, at: Date): Promise<number> {
    const [newest] = await store.revisionsOf(tx, row.id)
    const number = (newest?.number ?? 0) + 1
    await store.insertRevision(tx, { id: newId('rev', this.#context.clock), deployment_id: row.id, number, spec }, at)
    await store.setRevision(tx, row.id, number, spec, at)
    await store.resetStarts(tx, row.id, 0)
    return number
  }
}

/** The wish that makes this spec again. `replicas` as the policy has them, for the price ceiling. */
export function wishOf(row: Pick<store.DeploymentRow, 'name' | 'spec' | 'scaling'>): DeploymentWish {
  const { modelId, hardware, maxHourlyUsd, engine } = row.spec
  return {
    name: row.name,
    modelId,
    hardware,
    ...(maxHourlyUsd === undefined ? {} : { maxHourlyUsd }),
    replicas: floorOf(policyOf(row)),
    engine: { ...engine },
  }
}

/** The wish with the change on top. A type, a count or a region alone changes the one choice there is. */
function changedWish(row: store.DeploymentRow, change: SpecChange): DeploymentWish {
  const { gpuType, gpuCount, region, hardware, engine, ...rest } = change
  const before = wishOf(row)
  const wish = { ...before, ...rest, engine: { ...before.engine, ...engine } }
  if (hardware !== undefined) return { ...wish, hardware }
  const named = (['gpuType', 'gpuCount', 'region'] as const).filter((key) => key in change)
  if (named.length === 0) return wish
  const [first, ...others] = row.spec.hardware
  if (others.length > 0 && gpuType === undefined)
    throw new Fault(
      'invalid_request',
      'It has a list of hardware: change `hardware`, or name gpu_type as the one choice.',
    )
  const base = others.length > 0 ? null : first!
  return {
    ...wish,
    hardware: undefined,
    gpuType: gpuType ?? base?.gpuType,
    gpuCount: gpuCount ?? base?.gpuCount ?? 1,
    region: 'region' in change ? region : (base?.region ?? undefined),
  }
}

function changedFields(before: DeploymentSpec, after: DeploymentSpec): string[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])] as (keyof DeploymentSpec)[]
  const own = keys.filter((key) => key !== 'engineWhy' && key !== 'replicas')
  return own.filter((key) => canonical(before[key]) !== canonical(after[key]))
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
