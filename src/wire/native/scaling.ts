/** Scaling on the native API: the policy as sent and shown, and the list of decisions. */
import { z } from 'zod'
import { instant, iso } from './fields.ts'

export const scalingPolicies = ['steps', 'target', 'slo'] as const
const replicasMaximum = 1000
const yearSeconds = 366 * 86_400

const wished = {
  autoscaling_enabled: z
    .boolean()
    .meta({ description: '`false`: exactly `min_replicas`. Naming a range or `scale_to_zero` turns it on.' }),
  policy: z
    .enum(scalingPolicies)
    .meta({ description: '`steps`: one at a time, by queue and latency. `target`: by requests per replica.' }),
  min_replicas: z.int().min(0).max(replicasMaximum).meta({ description: 'While awake; 0: may sleep.', example: 1 }),
  max_replicas: z.int().min(1).max(replicasMaximum).meta({ example: 4 }),
  scale_to_zero: z.boolean().meta({ description: 'Sleeps while nobody asks; the next request wakes it.' }),
  idle_timeout_seconds: z
    .int()
    .min(0)
    .max(yearSeconds)
    .meta({ description: 'Quiet time before it sleeps.', example: 300 }),
  cooldown_seconds: z
    .int()
    .min(0)
    .max(yearSeconds)
    .meta({ description: 'Wait before a replica is taken away.', example: 300 }),
  target_concurrency: z.number().min(1).max(100_000).nullable().meta({
    description: 'Requests at once that one replica carries well; null: what its engine takes.',
  }),
  inactive_timeout_minutes: z
    .int()
    .min(0)
    .max(527_040)
    .meta({ description: 'Quiet time before it is stopped, and stays so; 0: never.' }),
  cold_start_target_seconds: z.number().min(0).max(86_400).nullable().meta({
    description:
      'A start that takes longer, from the first request that waits or the wake on, is told by the event `deployment.cold_start_missed`; null: as the server has it, 0: none is.',
  }),
}

export const changeScaling = z
  .strictObject(wished)
  .partial()
  .meta({ id: 'ChangeScaling', example: { min_replicas: 1, max_replicas: 4, scale_to_zero: true } })
export type ChangeScaling = z.input<typeof changeScaling>

export const scaling = z
  .object({
    ...wished,
    desired_replicas: z.int().nonnegative().meta({ description: 'Wanted now.' }),
    ready_replicas: z.int().nonnegative().meta({ description: 'Answering now.' }),
  })
  .meta({ id: 'Scaling' })
export type Scaling = z.output<typeof scaling>

/** The policy in our own words. */
export interface ScalingShape {
  autoscalingEnabled: boolean
  policy: (typeof scalingPolicies)[number]
  minReplicas: number
  maxReplicas: number
  scaleToZero: boolean
  idleTimeoutSeconds: number
  cooldownSeconds: number
  targetConcurrency: number | null
  inactiveTimeoutMinutes: number
  coldStartTargetSeconds: number | null
}

const ourWord = {
  autoscaling_enabled: 'autoscalingEnabled',
  policy: 'policy',
  min_replicas: 'minReplicas',
  max_replicas: 'maxReplicas',
  scale_to_zero: 'scaleToZero',
  idle_timeout_seconds: 'idleTimeoutSeconds',
  cooldown_seconds: 'cooldownSeconds',
  target_concurrency: 'targetConcurrency',
  inactive_timeout_minutes: 'inactiveTimeoutMinutes',
  cold_start_target_seconds: 'coldStartTargetSeconds',
} as const satisfies Record<keyof typeof wished, keyof ScalingShape>

/** Our words → theirs. */
export const wireNames: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(ourWord).map(([theirs, ours]) => [ours, theirs]),
)

/** What is absent stays absent. */
export function scalingFrom(body: z.output<typeof changeScaling>): Partial<ScalingShape> {
  const given = Object.entries(body).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given.map(([name, value]) => [ourWord[name as keyof typeof ourWord], value]))
}

export function renderScaling(view: { policy: ScalingShape; desiredReplicas: number; readyReplicas: number }): Scaling {
  const { policy } = view
  return {
    autoscaling_enabled: policy.autoscalingEnabled,
    policy: policy.policy,
    min_replicas: policy.minReplicas,
    max_replicas: policy.maxReplicas,
    scale_to_zero: policy.scaleToZero,
    idle_timeout_seconds: policy.idleTimeoutSeconds,
    cooldown_seconds: policy.cooldownSeconds,
    target_concurrency: policy.targetConcurrency,
    inactive_timeout_minutes: policy.inactiveTimeoutMinutes,
    cold_start_target_seconds: policy.coldStartTargetSeconds,
    desired_replicas: view.desiredReplicas,
    ready_replicas: view.readyReplicas,
  }
}

export const decision = z
  .object({
    seq: z.int(),
    at: instant,
    from_replicas: z.int().nonnegative(),
    to_replicas: z
      .int()
      .nonnegative()
      .meta({ description: 'Equal to `from_replicas`: more was wanted than could be.' }),
    cause: z
      .string()
      .meta({ description: 'load, idle, request, limits, wake, sleep, start or schedule.', example: 'load' }),
    why: z.string(),
  })
  .meta({ id: 'ScalingDecision' })
export type Decision = z.output<typeof decision>

export function renderDecision(view: {
  seq: number
  at: Date
  from: number
  to: number
  cause: string
  why: string
}): Decision {
  const { seq, at, from, to, cause, why } = view
  return { seq, at: iso(at), from_replicas: from, to_replicas: to, cause, why }
}
