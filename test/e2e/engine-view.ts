/** What an engine says of itself, asked directly and not through the gateway. */
import { join } from 'node:path'
import { engineKey } from '../../src/deployments/observe.ts'
import type { EngineSample } from '../../src/engines/contract.ts'
import { availableEngines } from '../../src/engines/registry.ts'
import { Secret } from '../../src/kernel/secret.ts'
import { readIfThere, readJsonIfThere } from '../../src/runtime/files.ts'
import { Seal } from '../../src/runtime/seal.ts'
import type { Place } from './place.ts'

/** Metrics of the one engine that runs here. */
export async function engineSample(place: Place): Promise<EngineSample> {
  const { replicaId } = place.process('engine')
  const order = readJsonIfThere<{ address: string; port: number }>(
    join(place.dataFolder, 'engines', replicaId!, 'order.json'),
  )!
  const seal = new Seal(new Secret(readIfThere(join(place.dataFolder, 'secret-key'))!.trim()))
  const driver = availableEngines().get('llamacpp')!
  const answer = await fetch(`http://${order.address}:${order.port}${driver.metricsPath}`, {
    headers: { authorization: `Bearer ${engineKey(seal, replicaId!)}` },
  })
  return driver.metrics(await answer.text())
}
