/** How many replicas a deployment may have, and what decides it: the policy as data, checked. Pure. */
import { Fault } from '../kernel/fault.ts'
import type { Calendar } from './calendar.ts'
import type { Override } from './schedule.ts'

export const scalingPolicies = ['steps', 'target', 'slo'] as const

export interface ScalingPolicy {
  /** Off: exactly `minReplicas`. */
  autoscalingEnabled: boolean
  /** steps: queue depth and latency, three looks, one at a time. target: concurrency per replica. slo: by SLA targets. */
  policy: (typeof scalingPolicies)[number]
  /** The floor while awake; 0 = may sleep, and wakes to one. */
  minReplicas: number
  maxReplicas: number
  scaleToZero: boolean
  /** Quiet time before it sleeps. */
  idleTimeoutSeconds: number
  /** Delay before scaling down above the floor. */
  cooldownSeconds: number
  /** Requests at once that one replica carries well; null = what its engine takes. */
  targetConcurrency: number | null
  /** Quiet time before it is stopped, and stays so; 0 = never. */
  inactiveTimeoutMinutes: number
  /** A start that takes longer is told as missed; null = as the server has it, 0 = none is. */
  coldStartTargetSeconds: number | null
}

export interface ScalingLimits {
  replicasMaximum: number
  /** The cooldown must be longer than this. */
  cooldownMinimumSeconds: number
  idleTimeoutMinimumSeconds: number
}

export const defaultScaling: ScalingPolicy = {
  autoscalingEnabled: true,
  policy: 'steps',
  minReplicas: 1,
  maxReplicas: 2,
  scaleToZero: false,
  idleTimeoutSeconds: 300,
  cooldownSeconds: 300,
  targetConcurrency: null,
  inactiveTimeoutMinutes: 0,
  coldStartTargetSeconds: null,
}

/** Exactly `replicas`, for ever. */
export function fixedScaling(replicas: number): ScalingPolicy {
  return { ...defaultScaling, autoscalingEnabled: false, minReplicas: replicas, maxReplicas: replicas }
}

/** The policy of a deployment as stored. Without one, as before there were policies: as many replicas as asked for. */
export function policyOf(row: { scaling: Partial<ScalingPolicy>; spec: { replicas: number } }): ScalingPolicy {
  const stored = Object.keys(row.scaling).length > 0
  return stored ? { ...defaultScaling, ...row.scaling } : fixedScaling(row.spec.replicas)
}

/** The policy of a new deployment. `replicas` alone fixes their number; with a policy it is how many there are at first. */
export function firstScaling(
  wish: { replicas?: number; scaling?: Partial<ScalingPolicy>; inactiveTimeoutMinutes?: number },
  limits: ScalingLimits,
): { policy: ScalingPolicy; replicas: number } {
  const { replicas, scaling, inactiveTimeoutMinutes } = wish
  const inactive = inactiveTimeoutMinutes === undefined ? {} : { inactiveTimeoutMinutes }
  if (scaling === undefined) {
    const policy = replicas === undefined ? defaultScaling : fixedScaling(replicas)
    return { policy: changeScaling(policy, inactive, limits), replicas: floorOf(policy) }
  }
  const asked = scaling.autoscalingEnabled === false && replicas !== undefined ? { minReplicas: replicas } : {}
  const base = { ...defaultScaling, maxReplicas: Math.max(defaultScaling.maxReplicas, replicas ?? 1) }
  const policy = changeScaling(base, { ...inactive, ...asked, ...scaling }, limits)
  const first = replicas ?? floorOf(policy)
  if (first < floorOf(policy) || first > policy.maxReplicas)
    throw new Fault(
      'invalid_request',
      `replicas (${first}) must be ${floorOf(policy)} to ${policy.maxReplicas}, as scaling has it.`,
    )
  return { policy, replicas: first }
}

/** What a window of the schedule says about the number of replicas of one that runs. */
export type WindowLimits = Exclude<Override, { action: 'stop' }>

export interface Bounds {
  /** While awake. */
  floor: number
  ceiling: number
  maySleep: boolean
}

/** The window in force. One that says stop says nothing about what a person started in its middle. */
export function limitsOf({ calendar }: { calendar: Pick<Calendar, 'override'> | null }): WindowLimits | null {
  const override = calendar?.override ?? null
  return override?.action === 'stop' ? null : override
}

/** Floor and ceiling now. A window of the schedule with a floor of its own keeps it awake; with 0 it may sleep. */
export function boundsOf(policy: ScalingPolicy, limits: WindowLimits | null): Bounds {
  const own = { floor: floorOf(policy), ceiling: policy.maxReplicas, maySleep: maySleep(policy) }
  const scheduled =
    limits?.action === 'scale'
      ? { floor: Math.max(1, limits.min), ceiling: limits.max, maySleep: limits.min === 0 }
      : { ...own, maySleep: own.maySleep || limits?.action === 'sleep' }
  const ceiling = policy.autoscalingEnabled ? Math.max(scheduled.ceiling, scheduled.floor) : scheduled.floor
  return { ...scheduled, ceiling }
}

/** `replicas` within the bounds while awake. */
export function clamp(replicas: number, { floor, ceiling }: Bounds): number {
  return Math.min(Math.max(replicas, floor), ceiling)
}

/** True when it sleeps while nobody asks. */
export function maySleep(policy: ScalingPolicy): boolean {
  return policy.autoscalingEnabled && (policy.scaleToZero || policy.minReplicas === 0)
}

/** Replicas while awake, at least. */
export function floorOf(policy: ScalingPolicy): number {
  return Math.max(1, policy.minReplicas)
}

/** The policy with `change` on top. Throws Fault `invalid_request` that names every problem. */
export function changeScaling(
  before: ScalingPolicy,
  change: Partial<ScalingPolicy>,
  limits: ScalingLimits,
): ScalingPolicy {
  // Whoever names what only autoscaling has, means it: a fixed number of replicas becomes a range.
  const implied = change.autoscalingEnabled === undefined && impliesAutoscaling(before, change)
  const after = { ...before, ...change, ...(implied ? { autoscalingEnabled: true } : {}) }
  // Turned on without a word about the ceiling, it has room to scale: the default's.
  if (change.autoscalingEnabled && !before.autoscalingEnabled && change.maxReplicas === undefined)
    after.maxReplicas = Math.min(limits.replicasMaximum, Math.max(after.maxReplicas, defaultScaling.maxReplicas))
  // When the floor is above the ceiling, the one that was not named follows the other.
  if (after.minReplicas > after.maxReplicas) {
    if (change.maxReplicas === undefined) after.maxReplicas = after.minReplicas
    else if (change.minReplicas === undefined) after.minReplicas = after.maxReplicas
  }
  if (!after.autoscalingEnabled) after.maxReplicas = Math.max(1, after.minReplicas)
  const problems = problemsOf(after, limits)
  if (problems.length > 0) throw new Fault('invalid_request', problems.join(' '), { detail: { problems } })
  return after
}

function impliesAutoscaling(before: ScalingPolicy, change: Partial<ScalingPolicy>): boolean {
  const { minReplicas, maxReplicas, scaleToZero, policy, targetConcurrency } = change
  if (scaleToZero === true || minReplicas === 0 || policy !== undefined || targetConcurrency !== undefined) return true
  return maxReplicas !== undefined && maxReplicas !== (minReplicas ?? before.minReplicas)
}

function problemsOf(policy: ScalingPolicy, limits: ScalingLimits): string[] {
  const problems: string[] = []
  const { minReplicas, maxReplicas, cooldownSeconds, idleTimeoutSeconds, targetConcurrency } = policy
  if (minReplicas < 0 || minReplicas > limits.replicasMaximum)
    problems.push(`min_replicas must be 0 to ${limits.replicasMaximum}.`)
  if (maxReplicas < 1 || maxReplicas > limits.replicasMaximum)
    problems.push(`max_replicas must be 1 to ${limits.replicasMaximum}.`)
  if (minReplicas > maxReplicas) problems.push(`min_replicas (${minReplicas}) is above max_replicas (${maxReplicas}).`)
  if (!policy.autoscalingEnabled && minReplicas === 0) problems.push('min_replicas 0 needs autoscaling_enabled: true.')
  if (cooldownSeconds <= limits.cooldownMinimumSeconds)
    problems.push(`cooldown_seconds must be more than ${limits.cooldownMinimumSeconds}.`)
  if (idleTimeoutSeconds < limits.idleTimeoutMinimumSeconds)
    problems.push(`idle_timeout_seconds must be at least ${limits.idleTimeoutMinimumSeconds}.`)
  if (targetConcurrency !== null && targetConcurrency < 1) problems.push('target_concurrency must be at least 1.')
  return problems
}
