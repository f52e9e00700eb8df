/** Samples of a window → what is said of it. Where nothing was measured it says so: null, never 0. Pure. */
import { endOf, msPerUnit, Sample, type SampleLine, type times } from './sample.ts'

export const windows = ['60s', '5m', '1h'] as const
export type Window = (typeof windows)[number]
export const windowMs: Record<Window, number> = { '60s': 60_000, '5m': 300_000, '1h': 3_600_000 }

/** Milliseconds over `count` requests. */
export interface Quantiles {
  count: number
  p50: number
  p90: number
  p99: number
}

export interface Measured {
  requests: number
  /** By the ledger's status; 200 and 499 are always there. */
  status: Record<string, number>
  /** By code, without those of clients that left. */
  errors: Record<string, number>
  requestsPerSecond: number
  tokens: { input: number; output: number; reasoning: number; cached: number | null }
  inputTokensPerSecond: number
  outputTokensPerSecond: number
  /** Cached ÷ prompt tokens of requests whose engine said how many were; null = none did. */
  cacheHitShare: number | null
  /** Requests whose tokens were estimated. */
  estimated: number
  /** Of requests that ended 200, everything included. */
  endToEnd: Quantiles | null
  times: Record<(typeof times)[number], Quantiles | null>
}

export function measuredOf(lines: readonly SampleLine[], seconds: number): Measured {
  const all = new Sample()
  for (const line of lines) all.merge(Sample.of(line))
  const perSecond = (count: number) => rounded(count / Math.max(seconds, 1), 4)
  return {
    requests: all.requests,
    ...endsOf(all),
    requestsPerSecond: perSecond(all.requests),
    tokens: {
      input: all.input.sum,
      output: all.output.sum,
      reasoning: all.reasoning,
      cached: all.cacheable === 0 ? null : all.cached,
    },
    inputTokensPerSecond: perSecond(all.input.sum),
    outputTokensPerSecond: perSecond(all.output.sum),
    cacheHitShare: all.cacheable === 0 ? null : rounded(all.cached / all.cacheable, 4),
    estimated: all.estimated,
    endToEnd: quantiles(all.ends.get('200') ?? null),
    times: {
      ttft: quantiles(all.ttft),
      token: quantiles(all.token),
      pause: quantiles(all.pause),
      held: quantiles(all.held),
    },
  }
}

function endsOf(all: Sample): Pick<Measured, 'status' | 'errors'> {
  const counts: Record<string, number> = { 200: 0, 499: 0 }
  const errors: Record<string, number> = {}
  for (const [end, { count }] of all.ends) {
    const { status, code } = endOf(end)
    counts[status] = (counts[status] ?? 0) + count
    if (code !== null && status !== 499) errors[code] = (errors[code] ?? 0) + count
  }
  return { status: counts, errors }
}

function quantiles(histogram: Sample['ttft'] | null): Quantiles | null {
  if (histogram === null || histogram.count === 0) return null
  const ms = (share: number) => rounded(histogram.quantile(share)! * msPerUnit, 2)
  return { count: histogram.count, p50: ms(0.5), p90: ms(0.9), p99: ms(0.99) }
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
