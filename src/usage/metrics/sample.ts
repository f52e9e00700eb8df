/**
 * What was measured of one deployment and operation between two moments: how requests ended, how long things took, what
 * was generated. Samples add up.
 */
import type { InferenceRoute } from '../../engines/contract.ts'
import type { SettledRequest } from '../request.ts'
import { Histogram, type HistogramLine } from './histogram.ts'

/** OpenTelemetry's `gen_ai.operation.name`; it has none for the last two. */
export const operations = ['chat', 'text_completion', 'embeddings', 'rerank', 'count_tokens'] as const
export type Operation = (typeof operations)[number]

export const operationOf: Record<InferenceRoute, Operation> = {
  'chat/completions': 'chat',
  responses: 'chat',
  messages: 'chat',
  'messages/count_tokens': 'count_tokens',
  completions: 'text_completion',
  embeddings: 'embeddings',
  rerank: 'rerank',
}

/** Times are kept in units of 10 ms, for which the buckets of OpenTelemetry have exact bounds (histogram.ts). */
export const msPerUnit = 10

/**
 * `ttft`: arrival to first content, without the time held; `token`: time per output token after the first; `pause`: the
 * longest time that nothing came after the first content. All three of streams that ended 200 or 499. `held`: of those
 * that were held at all.
 */
export const times = ['ttft', 'token', 'pause', 'held'] as const
export const tokenKinds = ['input', 'output'] as const
type Measured = (typeof times)[number] | (typeof tokenKinds)[number]

const measured: readonly Measured[] = [...times, ...tokenKinds]
const counted = ['cached', 'cacheable', 'reasoning', 'estimated'] as const

export interface SampleLine {
  /** "200", "500 engine_failed" → how long they took. */
  ends: Record<string, HistogramLine>
  of: Partial<Record<Measured, HistogramLine>>
  counts: Partial<Record<(typeof counted)[number], number>>
}

export class Sample implements Record<Measured, Histogram> {
  /** Durations by how requests ended: "200", "500 engine_failed". */
  readonly ends = new Map<string, Histogram>()
  readonly ttft = new Histogram()
  readonly token = new Histogram()
  readonly pause = new Histogram()
  readonly held = new Histogram()
  readonly input = new Histogram()
  readonly output = new Histogram()
  /** Prompt tokens that came from the engine's cache. */
  cached = 0
  /** Prompt tokens of those requests whose engine said how many were cached. */
  cacheable = 0
  reasoning = 0
  /** Requests whose tokens were estimated. */
  estimated = 0

  add({ status, code, stream, timings, usage }: SettledRequest): void {
    const { queue, ttft, total, streaming, longestPause } = timings
    this.#end(code === null ? `${status}` : `${status} ${code}`).add(total / msPerUnit)
    if (queue > 0) this.held.add(queue / msPerUnit)
    if (stream && ttft !== null && (status === 200 || status === 499)) {
      this.ttft.add(Math.max(0, ttft - queue) / msPerUnit)
      if (streaming > 0) {
        this.pause.add(longestPause / msPerUnit)
        if (usage !== null && usage.completionTokens > 1)
          this.token.add(streaming / (usage.completionTokens - 1) / msPerUnit)
      }
    }
    if (usage === null) return
    this.input.add(usage.promptTokens)
    this.output.add(usage.completionTokens)
    this.reasoning += usage.reasoningTokens ?? 0
    if (usage.estimated) this.estimated += 1
    if (usage.cachedTokens === undefined) return
    this.cached += usage.cachedTokens
    this.cacheable += usage.promptTokens
  }

  merge(other: Sample): void {
    for (const [end, durations] of other.ends) this.#end(end).merge(durations)
    for (const name of measured) this[name].merge(other[name])
    for (const name of counted) this[name] += other[name]
  }

  copy(): Sample {
    const made = new Sample()
    made.merge(this)
    return made
  }

  get requests(): number {
    let count = 0
    for (const durations of this.ends.values()) count += durations.count
    return count
  }

  line(): SampleLine {
    const filled = measured.filter((name) => this[name].count > 0)
    return {
      ends: Object.fromEntries([...this.ends].map(([end, durations]) => [end, durations.line()])),
      of: Object.fromEntries(filled.map((name) => [name, this[name].line()])),
      counts: Object.fromEntries(counted.filter((name) => this[name] > 0).map((name) => [name, this[name]])),
    }
  }

  static of({ ends, of, counts }: SampleLine): Sample {
    const made = new Sample()
    for (const [end, line] of Object.entries(ends)) made.ends.set(end, Histogram.of(line))
    for (const name of measured) made[name].merge(Histogram.of(of[name] ?? []))
    for (const name of counted) made[name] = counts[name] ?? 0
    return made
  }

  #end(end: string): Histogram {
    let durations = this.ends.get(end)
    if (durations === undefined) this.ends.set(end, (durations = new Histogram()))
    return durations
  }
}

/** "500 engine_failed" → its parts; a request that ended well has no code. */
export function endOf(end: string): { status: number; code: string | null } {
  return { status: Number(end.slice(0, 3)), code: end.length > 4 ? end.slice(4) : null }
}
