/**
 * Everything measured since this control began, by deployment and operation: what counters of Prometheus show. They
 * begin at nothing with every start of control, as counters may, and then only grow: a line of a gateway counts once,
 * found by its place in the gateway's own order, whenever it comes.
 */
import { Sample } from './sample.ts'
import type { StoredSample } from './store.ts'

/** A deployment beyond so many counts under this name, with all others that are. */
export const otherDeployments = 'other'
/** Most deployments with a name of their own. */
const deploymentsMaximum = 1_000

/** Gateways that are remembered before those that have gone are forgotten. */
const sourcesMaximum = 256

export interface TotalsSource {
  lastSeqs(): Promise<{ source: string; seq: number }[]>
  samplesAfter(seen: ReadonlyMap<string, number>): Promise<StoredSample[]>
}

export class Totals {
  readonly #source: TotalsSource
  readonly #maximum: number
  /** Gateway → its last line that was counted; null before the first look. */
  #seen: Map<string, number> | null = null
  /** Deployment → operation → everything. */
  readonly #samples = new Map<string, Map<string, Sample>>()
  #looking: Promise<void> | null = null

  constructor(source: TotalsSource, maximum = deploymentsMaximum) {
    this.#source = source
    this.#maximum = maximum
  }

  /** Counts what has come since. The first look only finds where everybody stands. */
  catchUp(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null
    })
    return this.#looking
  }

  entries(): { deploymentId: string; operation: string; sample: Sample }[] {
    return [...this.#samples].flatMap(([deploymentId, own]) =>
      [...own].map(([operation, sample]) => ({ deploymentId, operation, sample })),
    )
  }

  /** Those that are not any more. */
  keepOnly(deployments: ReadonlySet<string>): void {
    for (const id of this.#samples.keys())
      if (id !== '' && id !== otherDeployments && !deployments.has(id)) this.#samples.delete(id)
  }

  async #look(): Promise<void> {
    if (this.#seen === null) {
      this.#seen = new Map((await this.#source.lastSeqs()).map(({ source, seq }) => [source, seq]))
      return
    }
    for (const { source, seq, deploymentId, operation, sample } of await this.#source.samplesAfter(this.#seen)) {
      this.#seen.set(source, seq)
      this.#sampleOf(deploymentId, operation).merge(Sample.of(sample))
    }
    if (this.#seen.size > sourcesMaximum) await this.#forgetSources(this.#seen)
  }

  /** Gateways of which no line is left: when one of them speaks again, all its lines are new. */
  async #forgetSources(seen: Map<string, number>): Promise<void> {
    const there = new Set((await this.#source.lastSeqs()).map(({ source }) => source))
    for (const source of seen.keys()) if (!there.has(source)) seen.delete(source)
  }

  #sampleOf(deploymentId: string, operation: string): Sample {
    const isNew = !this.#samples.has(deploymentId)
    const name = isNew && this.#samples.size >= this.#maximum ? otherDeployments : deploymentId
    let own = this.#samples.get(name)
    if (own === undefined) this.#samples.set(name, (own = new Map()))
    let sample = own.get(operation)
    if (sample === undefined) own.set(operation, (sample = new Sample()))
    return sample
  }
}
