/** A dry run on the native API: what a create would do, with its fit, its price and advice. */
import { z } from 'zod'
import type { Fault } from '../../kernel/fault.ts'
import { type MicroUsd, usdNumber } from '../../kernel/money.ts'
import { type DeploymentShape, deployment, renderTuned } from './deployment.ts'
import { errorBody } from './error.ts'
import { orNull, usd } from './fields.ts'
import { type FitShape, fit, renderFit } from './fit.ts'
import { shownChoice, wantedFrom } from './hardware.ts'
import { type ScalingShape, scaling } from './scaling.ts'

const hoursPerDay = 24n
/** As the seed counts a month. */
const hoursPerMonth = 730n

const onOffer = z.object({
  gpu_type: z.string(),
  gpu_count: z.int().meta({ description: 'Units per replica.' }),
  hourly_cost_usd: usd.meta({ description: 'Of one replica.' }),
  fit,
})

const condition = z.object({
  condition: z.enum([
    'compute_bound',
    'memory_intensive',
    'single_node_scalability',
    'low_latency',
    'io_bound',
    'request_concurrency',
    'fault_tolerance',
    'multi_node_scalability',
  ]),
  axis: z
    .enum(['gpus_per_replica', 'replicas'])
    .meta({ description: 'What there should be more of where it applies.' }),
  applies: z.boolean(),
  why: z.string(),
})

const { policy, min_replicas, max_replicas, scale_to_zero, idle_timeout_seconds, cooldown_seconds } = scaling.shape
const { autoscaling_enabled } = scaling.shape

export const prediction = z
  .object({
    dry_run: z.literal(true),
    would_create: z.boolean(),
    refusals: z
      .array(errorBody.shape.error.omit({ request_id: true }))
      .meta({ description: 'What a create would be refused for now; empty: it would be created.' }),
    name: z.string(),
    model_id: z.string(),
    preset: orNull(z.string()),
    replicas: z.int().meta({ description: 'At first.' }),
    engine: deployment.shape.engine,
    scaling: z.object({
      autoscaling_enabled,
      policy,
      min_replicas,
      max_replicas,
      scale_to_zero,
      idle_timeout_seconds,
      cooldown_seconds,
    }),
    hardware: z.array(shownChoice.extend({ fit: orNull(fit) })).meta({
      description:
        'In order of preference. `fit` null: not checked, because nobody knows enough of the model, or it is a CPU that runs it with another engine than llama.cpp.',
    }),
    fit: orNull(fit).meta({ description: 'On the first choice of hardware.' }),
    cheapest: orNull(onOffer).meta({ description: 'The cheapest hardware on offer on which it fits.' }),
    runs_on: z.array(onOffer).meta({ description: 'All hardware on offer on which it runs, the cheapest first.' }),
    price: z
      .object({
        hourly_cost_usd: usd.meta({ description: 'With the replicas that there are at first.' }),
        hourly_cost_max_usd: usd.meta({ description: 'With as many as there can be.' }),
        daily_cost_usd: usd,
        monthly_cost_usd: usd.meta({ description: 'Of 730 hours, with the replicas that there are at first.' }),
        asleep_cost_usd: usd.meta({ description: 'An hour asleep, stopped or queued.' }),
      })
      .meta({ description: 'Prediction; what really runs is what is paid for.' }),
    advice: orNull(
      z.object({
        recommend: z.enum(['gpus_per_replica', 'replicas', 'other_hardware']),
        why: z.string(),
        gpu_count: orNull(z.int()).meta({ description: 'Units per replica that are advised; null: as many as now.' }),
        conditions: z.array(condition),
      }),
    ).meta({ description: 'More GPUs per replica, or more replicas: eight conditions, and what follows from them.' }),
    emulated: z.boolean(),
    simulated: z.boolean(),
    served_by: orNull(z.string()),
  })
  .meta({ id: 'Prediction' })
export type Prediction = z.output<typeof prediction>

interface OnOfferShape {
  hardware: { slug: string }
  units: number
  price: MicroUsd
  fit: FitShape
}

export interface PredictionShape {
  name: string
  spec: DeploymentShape['spec']
  scaling: ScalingShape
  preset: string | null
  engineSettings: DeploymentShape['engineSettings']
  choices: DeploymentShape['choices']
  fits: { fit: FitShape | null }[]
  runsOn: OnOfferShape[]
  cheapest: OnOfferShape | null
  advice: {
    recommend: 'gpus_per_replica' | 'replicas' | 'other_hardware'
    why: string
    units: number | null
    conditions: z.output<typeof condition>[]
  } | null
  hourlyCost: MicroUsd
  hourlyCostMax: MicroUsd
  emulated: boolean
  servedBy: string | null
  refusals: Pick<Fault, 'code' | 'message' | 'action' | 'detail'>[]
}

export function renderPrediction(view: PredictionShape): Prediction {
  const { spec, scaling: own, hourlyCost } = view
  return {
    dry_run: true,
    would_create: view.refusals.length === 0,
    refusals: view.refusals.map(({ code, message, action, detail }) => {
      return { code, message, action, ...(detail === undefined ? {} : { detail }) }
    }),
    name: view.name,
    model_id: spec.modelId,
    preset: view.preset,
    replicas: spec.replicas,
    engine: renderTuned(view),
    scaling: {
      autoscaling_enabled: own.autoscalingEnabled,
      policy: own.policy,
      min_replicas: own.minReplicas,
      max_replicas: own.maxReplicas,
      scale_to_zero: own.scaleToZero,
      idle_timeout_seconds: own.idleTimeoutSeconds,
      cooldown_seconds: own.cooldownSeconds,
    },
    hardware: view.choices.map(({ price, skipped, ...wanted }, at) => {
      const checked = view.fits[at]?.fit ?? null
      const shown = { ...wantedFrom(wanted), hourly_cost_usd: usdNumber(price), skipped }
      return { ...shown, fit: checked === null ? null : renderFit(checked) }
    }),
    fit: view.fits[0]?.fit ? renderFit(view.fits[0].fit) : null,
    cheapest: view.cheapest === null ? null : renderOnOffer(view.cheapest),
    runs_on: view.runsOn.map(renderOnOffer),
    price: {
      hourly_cost_usd: usdNumber(hourlyCost),
      hourly_cost_max_usd: usdNumber(view.hourlyCostMax),
      daily_cost_usd: usdNumber(hourlyCost * hoursPerDay),
      monthly_cost_usd: usdNumber(hourlyCost * hoursPerMonth),
      asleep_cost_usd: 0,
    },
    advice: renderAdvice(view.advice),
    emulated: view.emulated,
    simulated: spec.engine.type === 'simulated',
    served_by: view.servedBy,
  }
}

function renderOnOffer({ hardware, units, price, fit: own }: OnOfferShape): z.output<typeof onOffer> {
  return { gpu_type: hardware.slug, gpu_count: units, hourly_cost_usd: usdNumber(price), fit: renderFit(own) }
}

function renderAdvice(advice: PredictionShape['advice']): Prediction['advice'] {
  if (advice === null) return null
  const { recommend, why, units, conditions } = advice
  return { recommend, why, gpu_count: units, conditions }
}
