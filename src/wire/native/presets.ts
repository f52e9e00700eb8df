/** Presets on the native API: what there are, and applying one. */
import { z } from 'zod'
import { deployment, presetNames } from './deployment.ts'
import { orNull } from './fields.ts'
import { allowDowntime, force } from './revision.ts'
import { type ScalingShape, scaling, wireNames } from './scaling.ts'

type PresetName = (typeof presetNames)[number]

export const applyPreset = z
  .strictObject({
    preset: z.enum(presetNames).meta({ example: 'speed' }),
    keep_hardware: z
      .boolean()
      .optional()
      .meta({ description: '`true`: its hardware stays as it is, and only the rest is set.' }),
    allow_downtime: allowDowntime,
    force,
  })
  .meta({ id: 'ApplyPreset', example: { preset: 'speed' } })
export type ApplyPreset = z.input<typeof applyPreset>

export const appliedPreset = deployment
  .extend({
    changed: z
      .array(z.string())
      .meta({ description: 'What the preset changed.', example: ['hardware', 'scaling.policy'] }),
  })
  .meta({ id: 'AppliedPreset' })
export type AppliedPreset = z.output<typeof appliedPreset>

const { policy, scale_to_zero, idle_timeout_seconds, cooldown_seconds } = scaling.shape

export const preset = z
  .object({
    preset: z.enum(presetNames),
    about: z.string(),
    gpu_type: z.string().meta({ example: 'h100' }),
    scaling: z.object({ policy, scale_to_zero, idle_timeout_seconds, cooldown_seconds }),
    engines: z
      .array(
        z.object({
          engine: z.string().meta({ example: 'vllm' }),
          arguments: z.array(z.string()).meta({ example: ['--performance-mode', 'throughput'] }),
          sequences: orNull(z.int()).meta({ description: 'At once; null: as the engine has it.' }),
          leaves_out: z.array(z.string()).meta({ description: 'What this engine cannot do, and why.' }),
        }),
      )
      .meta({ description: 'What it sets of each engine of this server.' }),
    available: z.boolean().meta({ description: 'Its hardware is on this server.' }),
    reason: orNull(z.string()).meta({ description: 'Why it is not.' }),
  })
  .meta({ id: 'Preset', description: 'Autoscaling is on with each; floor and ceiling stay as they are.' })
export type Preset = z.output<typeof preset>

export interface PresetShape {
  name: PresetName
  about: string
  gpuType: string
  scaling: Pick<ScalingShape, 'policy' | 'scaleToZero' | 'idleTimeoutSeconds' | 'cooldownSeconds'>
  engines: { engine: string; args: string[]; sequences: number | null; left: string[] }[]
  /** null = it is here. */
  absent: string | null
}

export function renderPreset({ name, about, gpuType, scaling: own, engines, absent }: PresetShape): Preset {
  return {
    preset: name,
    about,
    gpu_type: gpuType,
    scaling: {
      policy: own.policy,
      scale_to_zero: own.scaleToZero,
      idle_timeout_seconds: own.idleTimeoutSeconds,
      cooldown_seconds: own.cooldownSeconds,
    },
    engines: engines.map(({ engine, args, sequences, left }) => ({
      engine,
      arguments: args,
      sequences,
      leaves_out: left,
    })),
    available: absent === null,
    reason: absent,
  }
}

/** Our own names of what a preset changed, as a client knows them. */
export function changedNames(names: readonly string[]): string[] {
  return names.map((name) => (Object.hasOwn(wireNames, name) ? `scaling.${wireNames[name]}` : name))
}
