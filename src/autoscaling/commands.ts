/** Use cases of scaling: the policy, waking and putting to sleep by hand, what was decided and why. */
import type { LimitsChange } from '../access/limits.ts'
import type { Once } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import { type CalendarWish, changeCalendar, makeCalendar } from '../deployments/calendar-change.ts'
import { changeDeployment, type Write } from '../deployments/change.ts'
import type { Page } from '../deployments/commands.ts'
import { allowed, type DeploymentContext } from '../deployments/context.ts'
import { Lifecycle, type RollOptions, type SpecChange } from '../deployments/lifecycle.ts'
import { writeLimits } from '../deployments/limits.ts'
import { freeOffers, readMarket } from '../deployments/offers.ts'
import {
  checkPresetHardware,
  type PresetName,
  presetEngine,
  presetHardware,
  presetScaling,
} from '../deployments/presets.ts'
import { checkCeiling } from '../deployments/prices.ts'
import { checkGrowth } from '../deployments/quota.ts'
import { checkRoom } from '../deployments/room.ts'
import {
  boundsOf,
  changeScaling,
  clamp,
  fixedScaling,
  floorOf,
  limitsOf,
  maySleep,
  policyOf,
  type ScalingPolicy,
} from '../deployments/scaling.ts'
import { type DeploymentRow, deploymentById } from '../deployments/store.ts'
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { Tx } from '../store/database.ts'
import { decisionsOf, savePolicy, savePreset, setDesiredReplicas } from './store.ts'

export interface ScalingView {
  policy: ScalingPolicy
  /** Wanted now; 0 while asleep or stopped. */
  desiredReplicas: number
  readyReplicas: number
}

export interface DecisionView {
  seq: number
  at: Date
  from: number
  to: number
  cause: string
  why: string
}

/** What may change at once: the spec (rolled to), the policy, lease and schedule, limits, or just how many there are to be. */
export interface DeploymentChange {
  spec: SpecChange
  scaling: Partial<ScalingPolicy>
  calendar?: CalendarWish
  limits?: LimitsChange
  /** Exactly that many, autoscaling off. */
  replicas?: number
  /** The roll may leave nobody to answer for longer than requests are held. */
  allowDowntime?: boolean
  force?: boolean
}

export interface PresetWish extends RollOptions {
  preset: PresetName
  /** All but the hardware. */
  keepHardware: boolean
}

export class Scaling {
  readonly #context: DeploymentContext
  readonly #lifecycle: Lifecycle
  constructor(context: DeploymentContext) {
    this.#context = context
    this.#lifecycle = new Lifecycle(context)
  }

  async get(principal: Principal, idOrName: string): Promise<ScalingView> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    return {
      policy: policyOf(row),
      desiredReplicas: row.desired === 'running' ? row.desired_replicas : 0,
      readyReplicas: row.ready_replicas,
    }
  }

  /** Throws Fault `invalid_request` that names every problem, `quota_exceeded` when the floor does not fit. */
  async change(
    principal: Principal,
    idOrName: string,
    change: Partial<ScalingPolicy>,
    once: Once | null = null,
  ): Promise<ScalingView> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const policy = changeScaling(policyOf(row), change, this.#context)
      if (floorOf(policy) > floorOf(policyOf(row))) checkCeiling(row.spec, floorOf(policy), this.#context.hardware)
      await this.#changePolicy(tx, { row, policy, by: principal.keyId, at })
    })
    return this.get(principal, idOrName)
  }

  /** Spec and policy in one transaction: all of it or nothing. A changed spec is rolled to, a changed policy is not. */
  async changeAll(
    principal: Principal,
    idOrName: string,
    change: DeploymentChange,
    once: Once | null = null,
  ): Promise<void> {
    const { spec, scaling, replicas, allowDowntime, force } = change
    if (replicas !== undefined && Object.keys(scaling).some((key) => key !== 'inactiveTimeoutMinutes'))
      throw new Fault('invalid_request', 'replicas is exactly that many; a change of scaling goes without it.')
    const made = makeCalendar(change.calendar ?? {}, this.#context, this.#context.clock.now())
    const alongside: Write<string[]> = async (tx, row, at) => {
      const { autoscalingEnabled, minReplicas, maxReplicas } = fixedScaling(replicas ?? 1)
      const fixed = replicas === undefined ? {} : { autoscalingEnabled, minReplicas, maxReplicas }
      const policy = changeScaling(policyOf(row), { ...fixed, ...scaling }, this.#context)
      const changed = await this.#changePolicy(tx, { row, policy, by: principal.keyId, at })
      await changeCalendar(this.#context, tx, (await deploymentById(tx, row.id))!, made, { by: principal.keyId, at })
      await writeLimits(tx, row, change.limits ?? {}, { by: principal.keyId, at })
      return changed
    }
    await this.#lifecycle.change(principal, idOrName, spec, once, { alongside, allowDowntime, force })
  }

  /**
   * Sets policy, engine and hardware as the preset has them; with `keepHardware` all but the hardware. Returns the names of what it
   * changed. Throws Fault `hardware_absent` when its hardware is not here, and what a change of hardware may throw.
   */
  async applyPreset(
    principal: Principal,
    idOrName: string,
    { preset, keepHardware, allowDowntime, force }: PresetWish,
    once: Once | null = null,
  ): Promise<string[]> {
    const { hardware } = this.#context
    const offers = keepHardware ? [] : await freeOffers(this.#context)
    const spec = (row: DeploymentRow) => ({
      ...presetEngine(preset, row.spec, this.#context.engines),
      ...(keepHardware ? {} : presetHardware(preset, row.spec, hardware)),
    })
    const alongside: Write<string[]> = async (tx, row, at) => {
      const by = principal.keyId
      if (spec(row).hardware !== undefined) checkPresetHardware(preset, offers, hardware)
      const before = policyOf(row)
      const policy = changeScaling(before, presetScaling(preset, before, this.#context), this.#context)
      const changed = await this.#changePolicy(tx, { row, policy, by, at })
      await savePreset(tx, row.id, preset)
      const data = { by, preset, changed: [...changed, ...Object.keys(spec(row))] }
      await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'deployment.preset_applied', data, at })
      return changed
    }
    return this.#lifecycle.change(principal, idOrName, spec, once, { alongside, allowDowntime, force })
  }

  async #changePolicy(
    tx: Tx,
    { row, policy, by, at }: { row: DeploymentRow; policy: ScalingPolicy; by: string; at: Date },
  ): Promise<(keyof ScalingPolicy)[]> {
    const before = policyOf(row)
    const keys = Object.keys(policy) as (keyof ScalingPolicy)[]
    const changed = keys.filter((key) => policy[key] !== before[key])
    if (changed.length === 0) return []
    const bounds = boundsOf(policy, limitsOf(row))
    const to = stays(row, before, policy) ? 0 : clamp(row.desired_replicas, bounds)
    if (row.desired === 'running') {
      const held = { id: row.id, spec: row.spec, scaling: before, desiredReplicas: row.desired_replicas }
      await checkGrowth(tx, row.org_id, held, { ...held, scaling: policy, desiredReplicas: to }, this.#context)
    }
    await savePolicy(tx, row.id, policy)
    const data = { by, changed }
    await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'deployment.scaling_changed', data, at })
    const why = `The limits are ${bounds.floor} to ${bounds.ceiling} now.`
    await setDesiredReplicas(tx, { row, to, cause: 'limits', why, at })
    return changed
  }

  /**
   * As many as while awake at least. One that is awake is left as it is. Throws Fault `conflict` when it is stopped;
   * with `failFast` `capacity_short` rather than to queue.
   */
  async wake(
    principal: Principal,
    idOrName: string,
    once: Once | null = null,
    { failFast = false }: { failFast?: boolean } = {},
  ): Promise<void> {
    const market = failFast ? await readMarket(this.#context) : null
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      refuseUnlessRunning(row)
      if (row.desired_replicas > 0) return
      const to = boundsOf(policyOf(row), limitsOf(row)).floor
      if (market) checkRoom({ id: row.id, orgId: row.org_id, spec: row.spec, replicas: to }, market, this.#context)
      const held = { id: row.id, spec: row.spec, scaling: policyOf(row), desiredReplicas: 0 }
      await checkGrowth(tx, row.org_id, held, { ...held, desiredReplicas: to }, this.#context)
      await setDesiredReplicas(tx, { row, to, cause: 'wake', why: 'Somebody woke it.', at })
    })
  }

  /** Frees the hardware; the next request wakes it. Throws Fault `conflict` when it is stopped or failed. */
  async sleep(principal: Principal, idOrName: string, once: Once | null = null): Promise<void> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      refuseUnlessRunning(row)
      await setDesiredReplicas(tx, { row, to: 0, cause: 'sleep', why: 'Somebody put it to sleep.', at })
    })
  }

  /** Newest first. */
  async decisions(
    principal: Principal,
    idOrName: string,
    page: Page,
  ): Promise<{ items: DecisionView[]; nextCursor: string | null }> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const before = page.cursor === undefined ? null : Number(page.cursor)
    if (before !== null && !Number.isSafeInteger(before)) throw new Fault('invalid_request', 'The cursor is damaged.')
    const rows = await decisionsOf(this.#context.db, row.id, before, page.limit + 1)
    const items = rows.slice(0, page.limit).map(({ seq, at, from_replicas, to_replicas, cause, why }) => {
      return { seq: Number(seq), at, from: from_replicas, to: to_replicas, cause, why }
    })
    return { items, nextCursor: rows.length > page.limit ? String(items.at(-1)!.seq) : null }
  }
}

/** One that sleeps goes on sleeping, unless sleeping was allowed before and no longer is. */
function stays(row: DeploymentRow, before: ScalingPolicy, after: ScalingPolicy): boolean {
  return row.desired_replicas === 0 && !(maySleep(before) && !maySleep(after))
}

function refuseUnlessRunning(row: DeploymentRow): void {
  if (row.desired === 'running' && row.phase !== 'failed') return
  const state = row.desired === 'stopped' ? 'stopped' : row.phase
  throw new Fault('conflict', `It is ${state}; only a running deployment sleeps and wakes.`, {
    action: 'Start it.',
  })
}
