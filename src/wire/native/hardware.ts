/** Hardware of a deployment on the native API: the preference list, its price ceiling, and what replicas run on. */
import { z } from 'zod'
import { type MicroUsd, usdNumber } from '../../kernel/money.ts'
import { instant, orNull, plainText, usd } from './fields.ts'

/** Entries of a preference list. */
export const hardwareChoicesMaximum = 8
const usdMaximum = 999_999_999

const choice = z.strictObject({
  gpu_type: plainText(60).meta({ description: 'A `gpu_type` from `GET /gpu-types`.', example: 'h100' }),
  gpu_count: z.int().min(1).max(1000).optional().meta({ description: 'Units per replica; default 1.', example: 1 }),
  region: plainText(60).nullable().optional().meta({ description: 'Default: any.', example: 'nyc2' }),
})

export const hardwareChoices = z
  .array(choice)
  .min(1)
  .max(hardwareChoicesMaximum)
  .meta({
    description:
      'Hardware in order of preference, instead of `gpu_type`, `gpu_count` and `region`: each replica gets the first that is free.',
    example: [{ gpu_type: 'h100', region: 'nyc2' }, { gpu_type: 'mi300x' }],
  })

/** USD with as many places as money has here. */
export const usdCeiling = z
  .number()
  .min(0)
  .max(usdMaximum)
  .refine((value) => /^\d+(\.\d{1,6})?$/.test(String(value)), { error: 'must have at most six decimal places' })
  .meta({
    description:
      'What an hour of the whole deployment may cost, in US dollars. Choices of `hardware` that are too dear for `replicas` are passed over; growth stops at it.',
    example: 10,
  })

/** The decimal text of a checked ceiling. */
export function usdFrom(value: number): string {
  return String(value)
}

export const shownWanted = z.object({
  gpu_type: z.string(),
  gpu_count: z.int(),
  region: orNull(z.string()).meta({ description: 'null: any.' }),
})

export const shownChoice = shownWanted.extend({
  hourly_cost_usd: usd.meta({ description: 'Of one replica.' }),
  skipped: orNull(z.string()).meta({ description: 'Why it is passed over; null: it is not.' }),
})

export const runsOn = z.object({
  gpu_type: z.string(),
  gpu_count: z.int().meta({ description: 'Units per replica.' }),
  region: z.string(),
  replicas: z.int(),
  hourly_cost_usd: usd.meta({ description: 'Of one replica.' }),
  emulated: z.boolean(),
})

export const queue = z
  .object({
    position: z.int().meta({ description: 'Among those that want some of the same hardware; 1 is next.' }),
    of: z.int(),
    since: instant.meta({ description: 'Since when it waits for its next replica.' }),
    missing_replicas: z.int(),
    comparable: z
      .array(shownWanted.extend({ region: z.string(), free_units: z.int(), total_units: z.int() }))
      .meta({ description: 'Hardware that could stand in, that which is free now first.' }),
  })
  .meta({ id: 'Queue', description: 'Where a deployment stands in the queue for hardware.' })

export interface WaitingShape {
  position: number
  of: number
  /** ms since epoch */
  since: number
  missing: number
  instead: (WantedShape & { region: string; freeUnits: number; totalUnits: number })[]
}

export function renderQueue({ position, of, since, missing, instead }: WaitingShape): z.output<typeof queue> {
  return {
    position,
    of,
    since: new Date(since).toISOString(),
    missing_replicas: missing,
    comparable: instead.map(({ gpuType, gpuCount, region, freeUnits, totalUnits }) => {
      return { gpu_type: gpuType, gpu_count: gpuCount, region, free_units: freeUnits, total_units: totalUnits }
    }),
  }
}

interface WantedShape {
  gpuType: string
  gpuCount: number
  region: string | null
}

export function hardwareFrom({ gpu_type, gpu_count, region }: z.output<typeof choice>): {
  gpuType: string
  gpuCount?: number
  region?: string | null
} {
  return {
    gpuType: gpu_type,
    ...(gpu_count === undefined ? {} : { gpuCount: gpu_count }),
    ...(region === undefined ? {} : { region }),
  }
}

export function wantedFrom({ gpuType, gpuCount, region }: WantedShape): z.output<typeof shownWanted> {
  return { gpu_type: gpuType, gpu_count: gpuCount, region }
}

export function renderHardware(view: {
  spec: { maxHourlyUsd?: string }
  choices: (WantedShape & { price: MicroUsd; skipped: string | null })[]
  runsOn: { gpuType: string; gpuCount: number; region: string; emulated: boolean; replicas: number; price: MicroUsd }[]
}): {
  hardware: z.output<typeof shownChoice>[]
  max_hourly_usd: number | null
  runs_on: z.output<typeof runsOn>[]
} {
  return {
    hardware: view.choices.map(({ price, skipped, ...wanted }) => {
      return { ...wantedFrom(wanted), hourly_cost_usd: usdNumber(price), skipped }
    }),
    max_hourly_usd: view.spec.maxHourlyUsd === undefined ? null : Number(view.spec.maxHourlyUsd),
    runs_on: view.runsOn.map(({ gpuType, gpuCount, region, replicas, price, emulated }) => {
      return { gpu_type: gpuType, gpu_count: gpuCount, region, replicas, hourly_cost_usd: usdNumber(price), emulated }
    }),
  }
}
