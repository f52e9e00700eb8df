/**
 * What one gateway has measured since it was last asked. Called once for every request; its memory is bounded by the
 * number of deployments that were asked since, however many requests that were.
 */
import type { SettledRequest } from '../request.ts'
import { operationOf, operations, Sample, type SampleLine } from './sample.ts'

/** One deployment and operation; the deployment is '' for requests that ended before theirs was known. */
export interface Entry {
  deploymentId: string
  operation: string
  sample: SampleLine
}

export class MetricCounts {
  #samples = new Map<string, (Sample | null)[]>()

  add(settled: SettledRequest): void {
    const deploymentId = settled.deploymentId ?? ''
    let own = this.#samples.get(deploymentId)
    if (own === undefined) this.#samples.set(deploymentId, (own = operations.map(() => null)))
    const at = operations.indexOf(operationOf[settled.route])
    const sample = (own[at] ??= new Sample())
    sample.add(settled)
  }

  /** Everything since the last call, which begins anew. */
  cut(): Entry[] {
    const samples = this.#samples
    this.#samples = new Map()
    return [...samples].flatMap(([deploymentId, own]) =>
      own.flatMap((sample, at) =>
        sample === null ? [] : [{ deploymentId, operation: operations[at]!, sample: sample.line() }],
      ),
    )
  }
}
