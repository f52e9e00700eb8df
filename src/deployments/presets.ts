/**
 * Presets: what each sets, as one table. Applying one is like sending its fields: what it does not name stays, what a
 * person sends afterwards wins, and applying it again sets them again. Pure.
 */
import type { Offer } from '../compute/contract.ts'
import type { EngineDriver, EngineSpec } from '../engines/contract.ts'
import type { Tuning } from '../engines/contract.tuning.ts'
import { canonical } from '../kernel/canonical.ts'
import { Fault } from '../kernel/fault.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import { type EngineSettings, engineSettings } from './engine-settings.ts'
import { defaultScaling, type ScalingLimits, type ScalingPolicy } from './scaling.ts'
import type { DeploymentSpec, DeploymentWish } from './spec.ts'

export const presetNames = ['speed', 'latency', 'cost', 'balanced'] as const
export type PresetName = (typeof presetNames)[number]

type PresetScaling = Pick<ScalingPolicy, 'policy' | 'scaleToZero' | 'idleTimeoutSeconds' | 'cooldownSeconds'>

export interface Preset {
  /** What it is best for. */
  about: string
  gpuType: string
  /** Autoscaling is on as well; floor and ceiling stay, they are what somebody is ready to pay. */
  scaling: PresetScaling
  /** What it asks of the engine; each translates it, see engine-settings.ts. */
  tuning: Tuning
}

export const presets: Readonly<Record<PresetName, Preset>> = {
  speed: {
    about: 'Interactive chat, coding: follows the load within seconds.',
    gpuType: 'h100',
    scaling: { policy: 'target', scaleToZero: false, idleTimeoutSeconds: 300, cooldownSeconds: 300 },
    tuning: { batch: 'many' },
  },
  latency: {
    about: 'Streaming, realtime: follows the load within seconds, and keeps what it has for longer.',
    gpuType: 'h100',
    scaling: { policy: 'target', scaleToZero: false, idleTimeoutSeconds: 300, cooldownSeconds: 600 },
    tuning: { batch: 'few', guess: true },
  },
  cost: {
    about: 'Batch jobs, overnight: one replica at a time, asleep while nobody asks.',
    gpuType: 'mi300x',
    scaling: { policy: 'steps', scaleToZero: true, idleTimeoutSeconds: 120, cooldownSeconds: 180 },
    tuning: { eightBit: true },
  },
  balanced: {
    about: 'General production: one replica at a time, always warm.',
    gpuType: 'mi300x',
    scaling: { policy: 'steps', scaleToZero: false, idleTimeoutSeconds: 300, cooldownSeconds: 300 },
    tuning: {},
  },
}

/** What the preset makes of a policy. The server's minimums go before its times. */
export function presetScaling(name: PresetName, before: ScalingPolicy, limits: ScalingLimits): Partial<ScalingPolicy> {
  const { scaling } = presets[name]
  const warm = !scaling.scaleToZero && before.minReplicas === 0
  return {
    ...scaling,
    autoscalingEnabled: true,
    idleTimeoutSeconds: Math.max(scaling.idleTimeoutSeconds, limits.idleTimeoutMinimumSeconds),
    cooldownSeconds: Math.max(scaling.cooldownSeconds, limits.cooldownMinimumSeconds + 1),
    ...(warm ? { minReplicas: 1 } : {}),
    // A number that was fixed stays the range: a preset makes nothing dearer by itself.
    ...(before.autoscalingEnabled ? {} : { maxReplicas: before.maxReplicas }),
  }
}

/** Of the preset, when it is another than the first choice there is; count and region stay where they are offered. */
export function presetHardware(
  name: PresetName,
  { hardware }: Pick<DeploymentSpec, 'hardware'>,
  catalogue: HardwareCatalogue,
): Pick<DeploymentWish, 'hardware'> {
  const { gpuType } = presets[name]
  const [first] = hardware
  const type = catalogue.get(gpuType)
  if (first === undefined || type === null || first.gpuType === gpuType) return {}
  const gpuCount = type.counts.includes(first.gpuCount) ? first.gpuCount : type.counts[0]!
  const region = first.region !== null && type.regions.includes(first.region) ? first.region : null
  return { hardware: [{ gpuType, gpuCount, region }] }
}

/** What it sets of an engine that has nothing of its own, on the preset's hardware. */
export function presetOn(name: PresetName, driver: EngineDriver, catalogue: HardwareCatalogue): EngineSettings {
  const { tuning, gpuType } = presets[name]
  return engineSettings({ type: driver.type, additionalArgs: [], tuning }, driver, null, catalogue.get(gpuType))
}

/** What it asks of the engine, when that is something else than before; nothing of one that has no words for it. */
export function presetEngine(
  name: PresetName,
  { engine }: { engine: EngineSpec },
  drivers: ReadonlyMap<string, EngineDriver>,
): Pick<DeploymentWish, 'engine'> {
  const { tuning } = presets[name]
  if (drivers.get(engine.type)?.tune === undefined || canonical(tuning) === canonical(engine.tuning ?? {})) return {}
  return { engine: { tuning: Object.keys(tuning).length === 0 ? undefined : tuning } }
}

/** Why the preset's hardware is not to be had here at all; null = it is, perhaps not free now. No offers = not known. */
export function absentHardware(
  name: PresetName,
  offers: readonly Offer[] | null,
  catalogue: HardwareCatalogue,
): string | null {
  const { gpuType } = presets[name]
  if ((catalogue.get(gpuType)?.price ?? null) === null) return `${gpuType} has no price on this server.`
  const there = offers === null || offers.some((offer) => offer.gpuType === gpuType && offer.totalUnits > 0)
  return there ? null : `There is no ${gpuType} on this server.`
}

/** What somebody does who creates one: there is no hardware yet that could be kept. */
export const hardwareAtCreate = {
  action: 'Name gpu_type or hardware in the request, which goes before that of the preset, or choose another preset.',
}

/** Throws Fault `hardware_absent`. */
export function checkPresetHardware(
  name: PresetName,
  offers: readonly Offer[],
  catalogue: HardwareCatalogue,
  to: { action?: string } = {},
): void {
  const why = absentHardware(name, offers, catalogue)
  if (why === null) return
  const { gpuType } = presets[name]
  const here = presetNames.filter((other) => absentHardware(other, offers, catalogue) === null)
  throw new Fault('hardware_absent', `The preset ${name} runs on ${gpuType}. ${why}`, {
    ...to,
    detail: { gpu_type: gpuType, presets_here: here },
  })
}

/** A new deployment with its preset: what the wish names itself goes before it. */
export function withPreset(wish: DeploymentWish, limits: ScalingLimits): DeploymentWish {
  if (wish.preset === undefined) return wish
  const named = wish.gpuType !== undefined || wish.hardware !== undefined
  return {
    ...wish,
    ...(named ? {} : { gpuType: presets[wish.preset].gpuType }),
    engine: { tuning: presets[wish.preset].tuning, ...wish.engine },
    scaling: { ...presetScaling(wish.preset, defaultScaling, limits), ...wish.scaling },
  }
}
