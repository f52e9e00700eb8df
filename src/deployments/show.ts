/** Reads what others see of deployments: their rows with prices, cost so far, and the hardware that they really have. */
import { allLimits } from '../access/limits.ts'
import { costSoFar } from '../usage/serving.ts'
import type { DeploymentContext } from './context.ts'
import { type EngineSettings, engineSettings } from './engine-settings.ts'
import { ceilingOf, choicesOf, hourlyMost, hourlyNow } from './prices.ts'
import { floorOf, policyOf, type ScalingPolicy } from './scaling.ts'
import { isOverruled } from './schedules.ts'
import type { DeploymentSpec } from './spec.ts'
import * as store from './store.ts'
import type { DeploymentView, RunsOn } from './view.ts'

export async function showDeployments(
  context: DeploymentContext,
  rows: readonly store.DeploymentRow[],
): Promise<DeploymentView[]> {
  if (rows.length === 0) return []
  const { db, clock } = context
  const ids = rows.map((row) => row.id)
  const [intervals, replicas] = await Promise.all([store.servingIntervals(db, ids), store.stayingReplicas(db, ids)])
  return rows.map((row) => {
    const ofThis = (one: { deployment_id: string }) => one.deployment_id === row.id
    const cost = costSoFar(intervals.filter(ofThis).map(toInterval), clock.now())
    return show(context, row, { cost, running: replicas.filter(ofThis) })
  })
}

const costsNothing = new Set(['queued', 'asleep', 'stopping', 'stopped', 'failed', 'deleted'])

function show(
  { engines, hardware, models }: DeploymentContext,
  row: store.DeploymentRow,
  { cost, running }: { cost: bigint; running: store.StayingRow[] },
): DeploymentView {
  const policy = policyOf(row)
  const floor = floorOf(policy)
  const choices = choicesOf(row.spec, floor, hardware)
  const isPaid = row.desired === 'running' && !costsNothing.has(row.phase)
  const prices = running.map((one) => BigInt(one.price) * BigInt(one.gpu_count))
  return {
    id: row.id,
    orgId: row.org_id,
    name: row.name,
    // How many there are at least: asked for at first, by the scaling policy since.
    spec: { ...row.spec, replicas: floor },
    choices,
    runsOn: runsOn(running),
    waiting: row.desired === 'running' && row.waiting !== null && row.waiting.position > 0 ? row.waiting : null,
    desired: row.desired,
    phase: row.phase,
    reason: row.reason,
    desiredReplicas: row.desired === 'running' ? row.desired_replicas : 0,
    readyReplicas: row.ready_replicas,
    revision: row.revision,
    hourlyCost: isPaid ? hourlyNow(prices, row.desired_replicas, choices, ceilingOf(row.spec)) : 0n,
    hourlyCostMax: hourlyMost(mostReplicas(row, policy), choices, ceilingOf(row.spec)),
    cost,
    emulated: row.emulated,
    servedBy: models.standIn(row.spec.modelId),
    expiresAt: row.expires_at,
    schedule: scheduleShown(row),
    preset: row.preset,
    engineSettings: settingsOf(row.spec, engines, hardware),
    limits: allLimits(row.limits),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    deletedAt: row.deleted_at,
  }
}

function settingsOf(
  { engine, hardware, quantization }: DeploymentSpec,
  engines: DeploymentContext['engines'],
  catalogue: DeploymentContext['hardware'],
): EngineSettings {
  const first = catalogue.get(hardware[0]?.gpuType ?? '')
  return engineSettings(engine, engines.get(engine.type), quantization ?? null, first)
}

/** Windows of a schedule may allow more than the policy does. */
function mostReplicas({ schedule }: store.DeploymentRow, { maxReplicas }: ScalingPolicy): number {
  const windows = schedule?.windows ?? []
  return Math.max(maxReplicas, ...windows.map((window) => (window.action === 'scale' ? window.max : 0)))
}

/** As the calendar found it at its last look. */
function scheduleShown(row: store.DeploymentRow): DeploymentView['schedule'] {
  const { schedule, calendar } = row
  if (schedule === null) return null
  const { window = null, override = null, nextAt = null } = calendar ?? {}
  return {
    windows: schedule.windows.length,
    active: window === null || override === null ? null : { window, override, overruled: isOverruled(row, override) },
    // 0: the lease is over.
    nextChangeAt: nextAt === null || nextAt === 0 ? null : new Date(nextAt),
  }
}

/** Equal hardware together, in the order of the replicas. */
function runsOn(replicas: readonly store.StayingRow[]): RunsOn[] {
  const groups = new Map<string, RunsOn>()
  for (const { gpu_type, gpu_count, region, emulated, price } of replicas) {
    const key = `${gpu_type}/${gpu_count}/${region}/${emulated}/${price}`
    const group = groups.get(key) ?? {
      gpuType: gpu_type,
      gpuCount: gpu_count,
      region,
      emulated,
      replicas: 0,
      price: BigInt(price) * BigInt(gpu_count),
    }
    groups.set(key, { ...group, replicas: group.replicas + 1 })
  }
  return [...groups.values()]
}

function toInterval(row: store.CostRow) {
  return {
    priceMicroUsdPerUnitHour: BigInt(row.price),
    units: row.units,
    from: Number(row.from_ms),
    to: row.to_ms === null ? null : Number(row.to_ms),
  }
}
