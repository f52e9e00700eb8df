/**
 * What a preset sets of an engine, as that engine's own arguments, and what it leaves out there. The rule where wishes
 * meet: what a person named goes before the preset; what the deployment has (LoRA adapters, weights that are stored in
 * few bits, hardware) goes before both, and is said. Pure.
 */
import type { EngineDriver, EngineSpec } from '../engines/contract.ts'
import { type Tuned, type TuningGround, tunedArgs } from '../engines/contract.tuning.ts'
import type { HardwareType } from '../models/hardware.ts'

export interface EngineSettings {
  /** Its arguments, as the launch line has them. */
  args: string[]
  /** Sequences at once; null = nothing is said of them. */
  sequences: number | null
  /** A sentence for each wish that does not apply here. */
  left: string[]
}

const nothing: EngineSettings = { args: [], sequences: null, left: [] }

/** `quantization`: of the weights as stored; null = in 16 bits or more, or not known. */
export function engineSettings(
  engine: EngineSpec,
  driver: EngineDriver | undefined,
  quantization: string | null,
  hardware: Pick<HardwareType, 'name' | 'gpusPerUnit'> | null,
): EngineSettings {
  if (engine.tuning === undefined || driver?.tune === undefined) return nothing
  const ground = { version: engine.version, adapters: engine.adapterRoom !== undefined, quantization }
  return shown(driver.tune(engine.tuning, { ...ground, gpu: vendorOf(hardware) }), engine)
}

function shown(tuned: Tuned, { additionalArgs, maxNumSeqs }: EngineSpec): EngineSettings {
  const sequences = maxNumSeqs === undefined ? (tuned.sequences ?? null) : null
  return { args: tunedArgs(tuned, additionalArgs), sequences, left: tuned.left }
}

export function vendorOf(hardware: Pick<HardwareType, 'name' | 'gpusPerUnit'> | null): TuningGround['gpu'] {
  if (hardware === null || hardware.gpusPerUnit === 0) return null
  return /\bAMD\b/.test(hardware.name) ? 'amd' : 'nvidia'
}
