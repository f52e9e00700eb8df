/** Deployments on the native API: what a client sends, what it gets, and the translation from and to our own words. */
import { z } from 'zod'
import { type MicroUsd, usdNumber } from '../../kernel/money.ts'
import { answering, type Phase, phases, type Reason } from '../../kernel/phase.ts'
import { adapterWish } from './adapters.ts'
import { deploymentName, instant, iso, orNull, plainText, usd } from './fields.ts'
import {
  hardwareChoices,
  hardwareFrom,
  queue,
  renderHardware,
  renderQueue,
  runsOn,
  shownChoice,
  usdCeiling,
  usdFrom,
  type WaitingShape,
} from './hardware.ts'
import { type ModelSourceShape, modelSource, renderSource } from './hub.ts'
import { type ChangeLimits, type Limits, limitFields, limits, limitsFrom, saidTwice, saysTwice } from './limits.ts'
import { changeScaling, type ScalingShape, scalingFrom } from './scaling.ts'
import {
  type ActiveShape,
  type CalendarShape,
  calendarFields,
  calendarFrom,
  renderSummary,
  scheduleSummary,
} from './schedule.ts'
import { nativeStatus, nativeStatuses } from './status.ts'

export const presetNames = ['speed', 'latency', 'cost', 'balanced'] as const
export const engineTypes = ['auto', 'llamacpp', 'llama-server', 'vllm', 'sglang', 'simulated'] as const
type NamedEngine = Exclude<(typeof engineTypes)[number], 'auto'>

const engineWish = z.strictObject({
  type: z
    .enum(engineTypes)
    .optional()
    .meta({ description: 'Default `auto`: chosen by the format of the weights; the answer says why.' }),
  version: plainText(60).optional().meta({ description: 'Default: the newest version known here.' }),
  max_model_len: z
    .int()
    .min(1)
    .max(100_000_000)
    .optional()
    .meta({ description: 'Tokens per sequence; default: what the model was made for.' }),
  max_num_seqs: z.int().min(1).max(100_000).optional().meta({ description: 'Sequences at once.' }),
  additional_args: z
    .array(plainText(1000))
    .max(100)
    .optional()
    .meta({ description: 'Further arguments for the engine, checked against the list of allowed ones.' }),
})

export const createDeployment = z
  .strictObject({
    name: deploymentName,
    model_id: plainText(4096).meta({
      description:
        'An id from `GET /models`; `hf:<owner>/<name>[/<quantisation or GGUF file>][@<revision>]` for a repository of the Hub; or the absolute path of a GGUF file, or of a folder of safetensors, that the operator allowed.',
      example: 'paddock/starter',
    }),
    gpu_type: plainText(60).optional().meta({
      description: 'A `gpu_type` from `GET /gpu-types`; required unless there is `hardware` or a preset.',
      example: 'cpu',
    }),
    gpu_count: z.int().min(1).max(1000).optional().meta({ description: 'Units per replica; default 1.', example: 1 }),
    region: plainText(60).optional().meta({ description: 'Default: any.', example: 'nyc2' }),
    hardware: hardwareChoices.optional(),
    max_hourly_usd: usdCeiling.optional(),
    replicas: z.int().min(1).max(1000).optional().meta({
      description: 'Alone: exactly that many. With `scaling`: at first. Without both: 1 to 2, as load asks for.',
      example: 1,
    }),
    engine: engineWish.optional(),
    scaling: changeScaling.optional(),
    inactive_timeout_minutes: changeScaling.shape.inactive_timeout_minutes,
    ...calendarFields,
    ...limitFields,
    adapters: z.array(adapterWish).max(256).optional().meta({
      description: 'LoRA adapters that it has from the start; later `POST /deployments/{id}/adapters`.',
    }),
    preset: z.enum(presetNames).optional().meta({
      description:
        'Scaling, and hardware unless it is named, as a preset of `GET /presets` has them. What is named here goes before it.',
    }),
    dry_run: z.boolean().optional().meta({
      description: '`true`: nothing is created; the answer says whether it fits and what it would cost.',
    }),
    force: z.boolean().optional().meta({
      description: '`true`: created although the fit check says that it will not run; without it that is 422.',
    }),
    fail_fast: z.boolean().optional().meta({
      description: '`true`: 503, and nothing is created, unless all replicas that are wanted at first can start now.',
    }),
  })
  // Also when other fields are wrong, so that everything is said at once.
  .refine(
    ({ gpu_type, hardware, preset }) => gpu_type !== undefined || hardware !== undefined || preset !== undefined,
    {
      path: ['gpu_type'],
      when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value),
    },
  )
  .refine((wish) => !saysTwice(wish), saidTwice)
  .meta({ id: 'CreateDeployment', example: { name: 'my-first', model_id: 'paddock/starter', gpu_type: 'cpu' } })
export type CreateDeployment = z.input<typeof createDeployment>

/** For a POST that asks for hardware. */
export const starting = z
  .strictObject({
    fail_fast: z
      .boolean()
      .optional()
      .meta({ description: '`true`: 503, and nothing changes, unless all replicas that are wanted can start now.' }),
  })
  .meta({ id: 'Starting' })
export type Starting = z.input<typeof starting>

export const reason = z
  .object({
    code: z.string().meta({ example: 'starting' }),
    message: z.string(),
    since: instant,
    retry_after: z.number().optional().meta({ description: 'Seconds.' }),
  })
  .meta({ id: 'Reason', description: 'Why the deployment is not simply serving.' })

export const engineShown = z.object({
  type: z.enum(engineTypes),
  version: orNull(z.string()),
  max_model_len: orNull(z.int()),
  max_num_seqs: orNull(z.int()),
  additional_args: z.array(z.string()),
  why: z.string().meta({ description: 'Why this engine.' }),
})

const engineTuned = engineShown.extend({
  preset_sets: z.array(z.string()).meta({
    description: 'What its preset sets of the engine, as arguments; what is named above goes before it.',
    example: ['--performance-mode', 'throughput'],
  }),
  preset_sequences: orNull(z.int()).meta({ description: 'Sequences at once by its preset; null: it says nothing.' }),
  preset_leaves_out: z.array(z.string()).meta({ description: 'What its preset would set and does not, and why.' }),
})

export const deployment = z
  .object({
    id: z.string().meta({ example: 'dep_0mhx3k2v9ab3d5f7h9k1' }),
    org_id: z.string().meta({ example: 'org_default' }),
    name: z.string(),
    model_id: z.string(),
    model_source: orNull(modelSource).meta({ description: 'Where its weights come from; null: not from the Hub.' }),
    gpu_type: z.string(),
    gpu_count: z.int().meta({ description: 'Units per replica.' }),
    region: orNull(z.string()).meta({ description: 'null: any.' }),
    hardware: z.array(shownChoice).meta({ description: 'In order of preference; the first is also shown above.' }),
    max_hourly_usd: orNull(usd).meta({ description: 'What an hour may cost; null: no ceiling.' }),
    queue: orNull(queue).meta({ description: 'Where it stands in the queue for hardware; null: it waits for none.' }),
    runs_on: z.array(runsOn).meta({ description: 'The hardware that its replicas really have.' }),
    replicas: z.int().meta({ description: 'How many there are while awake, at least.' }),
    engine: engineTuned,
    status: z.enum(nativeStatuses),
    phase: z.enum(phases),
    reason: orNull(reason),
    desired_replicas: z.int().nonnegative().meta({ description: 'Wanted now.' }),
    ready_replicas: z.int().nonnegative().meta({ description: 'Answering now.' }),
    revision: z.int().meta({ description: 'Grows with every change of the settings.' }),
    endpoint_url: orNull(z.string()).meta({
      description: 'Add `/chat/completions`. null when requests would be refused.',
    }),
    hourly_cost_usd: usd.meta({
      description:
        'Unit price × units × desired replicas now, in US dollars: at the price of the hardware they run on.',
    }),
    hourly_cost_max_usd: usd.meta({ description: 'The most that an hour can cost with these settings.' }),
    cost_usd: usd.meta({ description: 'Cost so far, in US dollars.' }),
    emulated: z.boolean().meta({ description: 'true: this machine stands in for the named hardware or model.' }),
    simulated: z.boolean().meta({ description: 'true: nothing computes; the answers are made up.' }),
    served_by: orNull(z.string()).meta({ description: 'The model that really answers, when it is another one.' }),
    expires_at: orNull(instant).meta({ description: 'The end of its lease; null: none.' }),
    schedule: orNull(scheduleSummary),
    preset: orNull(z.string()).meta({ description: 'The preset that was applied last.' }),
    limits,
    created_at: instant,
    updated_at: instant,
    deleted_at: orNull(instant),
  })
  .meta({ id: 'Deployment' })
export type Deployment = z.output<typeof deployment>

/** A create request in our own words; absent stays absent. */
export interface DeploymentWishShape extends CalendarShape {
  preset?: (typeof presetNames)[number]
  name: string
  modelId: string
  gpuType?: string
  gpuCount?: number
  region?: string
  hardware?: { gpuType: string; gpuCount?: number; region?: string | null }[]
  /** Decimal number of USD. */
  maxHourlyUsd?: string
  replicas?: number
  scaling?: Partial<ScalingShape>
  /** Quiet time before it is stopped; 0 = never. */
  inactiveTimeoutMinutes?: number
  limits?: ChangeLimits
  adapters?: { name?: string; source: string; force?: boolean; limits?: ChangeLimits }[]
  /** In spite of the fit check. */
  force?: boolean
  /** Refused instead of queued. */
  failFast?: boolean
  engine?: {
    type?: 'auto' | NamedEngine
    version?: string
    maxModelLen?: number
    maxNumSeqs?: number
    additionalArgs?: string[]
  }
}

export function wishFrom(body: z.output<typeof createDeployment>): DeploymentWishShape {
  const { model_id, gpu_type, gpu_count, hardware, max_hourly_usd, ...rest } = body
  const {
    engine: asked,
    scaling: asWished,
    inactive_timeout_minutes,
    fail_fast,
    schedule,
    expires_at,
    ...others
  } = rest
  const { limits: _limits, sla: _sla, dry_run: _dryRun, ...same } = others
  const bounds = limitsFrom(body)
  return {
    ...same,
    ...calendarFrom({ schedule, expires_at }),
    modelId: model_id,
    ...(gpu_type === undefined ? {} : { gpuType: gpu_type }),
    ...(gpu_count === undefined ? {} : { gpuCount: gpu_count }),
    ...(hardware === undefined ? {} : { hardware: hardware.map(hardwareFrom) }),
    ...(max_hourly_usd === undefined ? {} : { maxHourlyUsd: usdFrom(max_hourly_usd) }),
    ...(asked === undefined ? {} : { engine: engineFrom(asked) }),
    ...(asWished === undefined ? {} : { scaling: scalingFrom(asWished) }),
    ...(inactive_timeout_minutes === undefined ? {} : { inactiveTimeoutMinutes: inactive_timeout_minutes }),
    ...(fail_fast === undefined ? {} : { failFast: fail_fast }),
    ...(bounds === undefined ? {} : { limits: bounds }),
  }
}

function engineFrom(asked: z.output<typeof engineWish>): NonNullable<DeploymentWishShape['engine']> {
  const { max_model_len, max_num_seqs, additional_args, ...same } = asked
  return {
    ...same,
    ...(max_model_len === undefined ? {} : { maxModelLen: max_model_len }),
    ...(max_num_seqs === undefined ? {} : { maxNumSeqs: max_num_seqs }),
    ...(additional_args === undefined ? {} : { additionalArgs: additional_args }),
  }
}

interface WantedShape {
  gpuType: string
  gpuCount: number
  region: string | null
}

export interface EngineSettingsShape {
  args: string[]
  sequences: number | null
  left: string[]
}

/** What is needed of a deployment to show it. */
export interface DeploymentShape {
  id: string
  orgId: string
  name: string
  spec: {
    modelId: string
    source?: ModelSourceShape
    hardware: WantedShape[]
    maxHourlyUsd?: string
    engine: {
      type: NamedEngine
      version?: string
      maxModelLen?: number
      maxNumSeqs?: number
      additionalArgs: string[]
    }
    engineWhy: string
    replicas: number
  }
  /** The choices of the spec with their prices. */
  choices: (WantedShape & { price: MicroUsd; skipped: string | null })[]
  waiting: WaitingShape | null
  runsOn: { gpuType: string; gpuCount: number; region: string; emulated: boolean; replicas: number; price: MicroUsd }[]
  phase: Phase
  reason: Reason | null
  desiredReplicas: number
  readyReplicas: number
  revision: number
  hourlyCost: MicroUsd
  hourlyCostMax: MicroUsd
  cost: MicroUsd
  emulated: boolean
  servedBy: string | null
  expiresAt: Date | null
  preset: string | null
  engineSettings: EngineSettingsShape
  limits: Limits
  schedule: { windows: number; active: ActiveShape | null; nextChangeAt: Date | null } | null
  createdAt: Date
  updatedAt: Date
  deletedAt: Date | null
}

/** `publicUrl`: address of this server without a trailing slash. */
export function renderDeployment(view: DeploymentShape, publicUrl: string): Deployment {
  const first = view.spec.hardware[0]
  return {
    id: view.id,
    org_id: view.orgId,
    name: view.name,
    model_id: view.spec.modelId,
    model_source: renderSource(view.spec.source),
    gpu_type: first?.gpuType ?? '',
    gpu_count: first?.gpuCount ?? 0,
    region: first?.region ?? null,
    ...renderHardware(view),
    queue: view.waiting === null ? null : renderQueue(view.waiting),
    replicas: view.spec.replicas,
    engine: renderTuned(view),
    status: nativeStatus[view.phase],
    phase: view.phase,
    reason: view.reason,
    desired_replicas: view.desiredReplicas,
    ready_replicas: view.readyReplicas,
    revision: view.revision,
    endpoint_url: endpointUrl(view, publicUrl),
    hourly_cost_usd: usdNumber(view.hourlyCost),
    hourly_cost_max_usd: usdNumber(view.hourlyCostMax),
    cost_usd: usdNumber(view.cost),
    emulated: view.emulated,
    simulated: view.spec.engine.type === 'simulated',
    served_by: view.servedBy,
    expires_at: iso(view.expiresAt),
    schedule: renderSummary(view.schedule),
    preset: view.preset,
    limits: view.limits,
    created_at: iso(view.createdAt),
    updated_at: iso(view.updatedAt),
    deleted_at: iso(view.deletedAt),
  }
}

function endpointUrl(view: Pick<DeploymentShape, 'id' | 'phase'>, publicUrl: string): string | null {
  const reachable = answering[view.phase] === 'yes' || answering[view.phase] === 'hold'
  return reachable ? `${publicUrl}/api/v1/public/deployments/${view.id}` : null
}

export function renderTuned({
  spec,
  engineSettings: { args, sequences, left },
}: Pick<DeploymentShape, 'spec' | 'engineSettings'>): Deployment['engine'] {
  return { ...renderEngine(spec), preset_sets: args, preset_sequences: sequences, preset_leaves_out: left }
}

export function renderEngine({ engine: own, engineWhy }: DeploymentShape['spec']): z.output<typeof engineShown> {
  return {
    type: own.type,
    version: own.version ?? null,
    max_model_len: own.maxModelLen ?? null,
    max_num_seqs: own.maxNumSeqs ?? null,
    additional_args: own.additionalArgs,
    why: engineWhy,
  }
}
