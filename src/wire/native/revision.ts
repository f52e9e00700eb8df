/** Changing a deployment on the native API: parts of its settings, its revisions, and the way back to one. */
import { z } from 'zod'
import {
  createDeployment,
  type DeploymentShape,
  deployment,
  engineShown,
  type engineTypes,
  renderEngine,
} from './deployment.ts'
import { instant, iso, orNull, plainText } from './fields.ts'
import { hardwareFrom, shownWanted, usdFrom, wantedFrom } from './hardware.ts'
import { renderSource } from './hub.ts'
import { type ChangeLimits, limitFields, limitsFrom, saidTwice, saysTwice } from './limits.ts'
import { changeScaling, type ScalingShape, scalingFrom } from './scaling.ts'
import { type CalendarShape, calendarFields, calendarFrom } from './schedule.ts'

const { model_id, gpu_type, gpu_count, hardware, max_hourly_usd, replicas, engine, inactive_timeout_minutes } =
  createDeployment.shape
const engineParts = engine.unwrap().shape

const changeEngine = z.strictObject({
  type: engineParts.type,
  version: plainText(60).nullable().optional().meta({ description: 'null: the default again.' }),
  max_model_len: engineParts.max_model_len
    .unwrap()
    .nullable()
    .optional()
    .meta({ description: 'null: the default again.' }),
  max_num_seqs: engineParts.max_num_seqs
    .unwrap()
    .nullable()
    .optional()
    .meta({ description: 'null: the default again.' }),
  additional_args: engineParts.additional_args,
})

export const allowDowntime = z.boolean().optional().meta({
  description:
    '`true`: where there is no spare hardware the new revision may take the place of the old one, even if its start is expected to take longer than requests are held. Without it that is refused with 409.',
})

export const force = z.boolean().optional().meta({
  description: '`true`: also where the fit check says that it will not run; without it that is refused with 422.',
})

export const changeDeployment = z
  .strictObject({
    model_id: model_id.optional(),
    gpu_type: gpu_type.meta({ description: 'Takes the place of a list `hardware`, too.' }),
    gpu_count,
    region: plainText(60).nullable().optional().meta({ description: 'null: any.', example: 'nyc2' }),
    hardware,
    max_hourly_usd: max_hourly_usd.unwrap().nullable().optional().meta({ description: 'null: no ceiling.' }),
    replicas,
    engine: changeEngine.optional(),
    scaling: changeScaling.optional(),
    inactive_timeout_minutes,
    allow_downtime: allowDowntime,
    force,
    ...calendarFields,
    ...limitFields,
  })
  .refine((change) => !saysTwice(change), saidTwice)
  .meta({
    id: 'ChangeDeployment',
    description: 'What is absent stays as it is.',
    example: { engine: { max_num_seqs: 8 } },
  })
export type ChangeDeployment = z.input<typeof changeDeployment>

/** A change in our own words: absent stays absent, and `undefined` is the default again. */
export interface ChangeShape {
  spec: {
    modelId?: string
    gpuType?: string
    gpuCount?: number
    region?: string
    hardware?: { gpuType: string; gpuCount?: number; region?: string | null }[]
    maxHourlyUsd?: string
    engine?: {
      type?: (typeof engineTypes)[number]
      version?: string
      maxModelLen?: number
      maxNumSeqs?: number
      additionalArgs?: string[]
    }
  }
  scaling: Partial<ScalingShape>
  calendar: CalendarShape
  limits?: ChangeLimits
  replicas?: number
  allowDowntime?: boolean
  force?: boolean
}

const specWord = { model_id: 'modelId', gpu_type: 'gpuType', gpu_count: 'gpuCount', region: 'region' } as const
const engineWord = {
  type: 'type',
  version: 'version',
  max_model_len: 'maxModelLen',
  max_num_seqs: 'maxNumSeqs',
  additional_args: 'additionalArgs',
} as const

export function changeFrom(body: z.output<typeof changeDeployment>): ChangeShape {
  const { replicas: fixed, engine: asked, scaling, inactive_timeout_minutes: minutes, ...rest } = body
  const {
    hardware: list,
    max_hourly_usd: ceiling,
    allow_downtime,
    force: forced,
    schedule,
    expires_at,
    ...others
  } = rest
  const { limits: _limits, sla: _sla, ...spec } = others
  const bounds = limitsFrom(body)
  return {
    spec: {
      ...renamed(spec, specWord),
      ...(list === undefined ? {} : { hardware: list.map(hardwareFrom) }),
      ...(ceiling === undefined ? {} : { maxHourlyUsd: ceiling === null ? undefined : usdFrom(ceiling) }),
      ...(asked === undefined ? {} : { engine: renamed(asked, engineWord) }),
    },
    scaling: {
      ...(minutes === undefined ? {} : { inactiveTimeoutMinutes: minutes }),
      ...(scaling === undefined ? {} : scalingFrom(scaling)),
    },
    calendar: calendarFrom({ schedule, expires_at }),
    ...(bounds === undefined ? {} : { limits: bounds }),
    ...(fixed === undefined ? {} : { replicas: fixed }),
    ...(allow_downtime === undefined ? {} : { allowDowntime: allow_downtime }),
    ...(forced === undefined ? {} : { force: forced }),
  }
}

function renamed(given: object, words: Readonly<Record<string, string>>): object {
  const named = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(named.map(([name, value]) => [words[name]!, value ?? undefined]))
}

export const rollback = z
  .strictObject({
    revision: z
      .int()
      .min(1)
      .max(2_147_483_647)
      .optional()
      .meta({ description: 'Default: the newest before the current one that worked.' }),
    allow_downtime: allowDowntime,
  })
  .meta({ id: 'Rollback' })
export type Rollback = z.input<typeof rollback>

export const restart = z.strictObject({ allow_downtime: allowDowntime }).meta({ id: 'Restart' })
export type Restart = z.input<typeof restart>

const shown = deployment.shape
export const revision = z
  .object({
    revision: z.int(),
    current: z.boolean().meta({ description: 'It runs, or is being rolled to.' }),
    weight: z.int().min(0).max(100).meta({ description: 'Share of the traffic that its replicas get.' }),
    failed: z.boolean().meta({ description: 'It did not start and was given up.' }),
    failed_why: orNull(z.string()),
    created_at: instant,
    model_id: shown.model_id,
    model_source: shown.model_source,
    gpu_type: shown.gpu_type,
    gpu_count: shown.gpu_count,
    region: shown.region,
    hardware: z.array(shownWanted).meta({ description: 'In order of preference.' }),
    max_hourly_usd: shown.max_hourly_usd,
    engine: engineShown,
  })
  .meta({ id: 'Revision', description: 'The settings of a deployment as they were.' })
export type Revision = z.output<typeof revision>

export function renderRevision(view: {
  number: number
  spec: DeploymentShape['spec']
  current: boolean
  weight: number
  failed: boolean
  failedWhy: string | null
  createdAt: Date
}): Revision {
  const first = view.spec.hardware[0]
  return {
    revision: view.number,
    current: view.current,
    weight: view.weight,
    failed: view.failed,
    failed_why: view.failedWhy,
    created_at: iso(view.createdAt),
    model_id: view.spec.modelId,
    model_source: renderSource(view.spec.source),
    gpu_type: first?.gpuType ?? '',
    gpu_count: first?.gpuCount ?? 0,
    region: first?.region ?? null,
    hardware: view.spec.hardware.map(wantedFrom),
    max_hourly_usd: view.spec.maxHourlyUsd === undefined ? null : Number(view.spec.maxHourlyUsd),
    engine: renderEngine(view.spec),
  }
}
