/** The one list of engines. Adding one = its folder and a line here. */
import { findProgram } from '../runtime/processes.ts'
import type { EngineDriver, EngineType } from './contract.ts'
import { runtimePackages as llamacppPackages } from './llamacpp/closure.ts'
import { embedded } from './llamacpp/embedded.ts'
import { llamaServer } from './llamacpp/server.ts'
import { sglang } from './sglang/driver.ts'
import { simulated } from './simulated/driver.ts'
import { vllm } from './vllm/driver.ts'

/** Of hardware that exists. */
export const engineDrivers: readonly EngineDriver[] = [embedded, llamaServer, vllm, sglang]

/** Those that can run on this machine: shipped with us, or found on the PATH. */
export function availableEngines(drivers: readonly EngineDriver[] = engineDrivers): Map<EngineType, EngineDriver> {
  const usable = drivers.filter((driver) => driver.program === null || findProgram(driver.program) !== null)
  return new Map(usable.map((driver) => [driver.type, driver]))
}

/** Simulated hardware runs the simulated engine, and nothing else does. */
export function enginesOf(fleet: 'local' | 'emulated' | 'simulated'): Map<EngineType, EngineDriver> {
  return fleet === 'simulated' ? availableEngines([simulated]) : availableEngines()
}

/** Packages that shipped engines import beside our own, as folders seen from the package root. */
export function runtimePackages(): string[] {
  return llamacppPackages()
}
