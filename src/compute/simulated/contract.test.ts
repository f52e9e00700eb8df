/** The simulated provider in this process, and the driver of one behind its door. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { simulated } from '../../engines/simulated/driver.ts'
import { program } from '../../engines/simulated/words.ts'
import type { ReplicaId } from '../../kernel/ids.ts'
import { systemClock } from '../../runtime/clock.ts'
import { newId } from '../../runtime/ids.ts'
import { makeSimulation, serveSimulation } from '../../server-simulation.ts'
import { type Behaviour, type ComputeHarness, computeContract } from '../contract.suite.ts'
import type { ComputeDriver, Placement, ReplicaOrder } from '../contract.ts'
import { RemoteSimulatedCompute } from './remote.ts'
import { makeScript } from './script.ts'

const placement: Placement = { provider: 'simulated', gpuType: 'h100', gpuCount: 1, region: 'nyc2', emulated: true }
const flagsOf: Record<Behaviour, string[]> = {
  serves: ['--print-lines=3'],
  crashes: ['--print-lines=60', '--fail-at=start', '--exit-code=3'],
  stubborn: ['--ignore-term'],
}
const options = {
  clock: systemClock,
  script: makeScript({ ports: 'shared', units: { h100: 3 }, start: { hardware_seconds: 0.02, files_seconds: 0.02 } }),
  types: [{ slug: 'h100', gpusPerUnit: 1, regions: ['nyc2'] }],
}

function order(id: ReplicaId, behaviour: Behaviour, where: Placement): ReplicaOrder {
  const model = { modelId: 'any', format: 'gguf' as const, path: '', sizeBytes: 0, contextSize: 1000 }
  const spec = { type: 'simulated' as const, additionalArgs: flagsOf[behaviour] }
  return {
    id,
    deploymentId: newId('dep'),
    placement: where,
    model,
    launch: (host) => simulated.launch({ spec, model, host, servedName: 'any', apiKey: id }),
  }
}

/** An engine's key is its replica's id here. */
const engineOf = (id: ReplicaId) => ({
  argv: [program],
  env: { PADDOCK_ENGINE_KEY: id },
  image: null,
  stopGraceSeconds: 1,
})

computeContract('simulated, in this process', async () => {
  const simulation = makeSimulation(options)
  await simulation.listen()
  return {
    driver: simulation.compute,
    placement,
    order,
    again: () => simulation.compute,
    engines: (id) => (simulation.room.has(engineOf(id)) ? 1 : 0),
    patienceMs: 10_000,
    dispose: () => simulation.close(),
  }
})

// Each with a port of its own.
computeContract('simulated, behind its door', async (): Promise<ComputeHarness> => {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-simulated-'))
  const served = await serveSimulation({ ...options, script: { ...options.script, ports: 'each' }, folder })
  const driver: ComputeDriver = new RemoteSimulatedCompute(folder)
  return {
    driver,
    placement,
    order,
    again: () => new RemoteSimulatedCompute(folder),
    engines: (id) => (served.room.has(engineOf(id)) ? 1 : 0),
    patienceMs: 10_000,
    dispose: async () => {
      await served.stop()
      rmSync(folder, { recursive: true })
    },
  }
})
