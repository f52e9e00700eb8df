/** Reads the few figures that we know of from an engine's Prometheus text. Pure. */
import type { EngineSample } from './contract.ts'

/** Engine's own name → ours. */
export type MetricNames = Readonly<Record<string, keyof EngineSample>>

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/
/** Ranks after the first repeat what the first says of the same requests. */
const repeats = /\b(?:tp_rank|pp_rank)="(?!0")/

/** Of several engines behind one port counts add up; of shares the largest counts. */
export function metricsOf(text: string, names: MetricNames): EngineSample {
  const sample: EngineSample = { running: 0, waiting: 0 }
  for (const row of text.split('\n')) {
    const match = line.exec(row)
    const field = match === null ? undefined : names[match[1]!]
    const value = Number(match?.[3])
    if (field === undefined || !Number.isFinite(value) || repeats.test(match?.[2] ?? '')) continue
    const before = sample[field] ?? 0
    sample[field] = field === 'kvUsage' ? Math.max(before, value) : before + value
  }
  return sample
}
