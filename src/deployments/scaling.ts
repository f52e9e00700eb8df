/** How many replicas a deployment may have, and what decides it: the policy as data, checked. Pure. */
import { Fault } from '../kernel/fault.ts'

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
}

/** Exactly `replicas`, for ever. */
export function fixedScaling(replicas: number): ScalingPolicy {
  return { ...defaultScaling, autoscalingEnabled: false, minReplicas: replicas, maxReplicas: replicas }
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
  const after = { ...before, ...change }
  // A floor above the ceiling follows whichever was named.
  if (change.maxReplicas === undefined && after.minReplicas > after.maxReplicas) after.maxReplicas = after.minReplicas
  if (!after.autoscalingEnabled) after.maxReplicas = Math.max(1, after.minReplicas)
  const problems = problemsOf(after, limits)
  if (problems.length > 0) throw new Fault('invalid_request', problems.join(' '), { detail: { problems } })
  return after
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
