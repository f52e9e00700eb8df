/**
 * What SGLang says of itself. Its port refuses connections until the weights are loaded, `/health` answers 503 until its
 * own first request has succeeded, and again once it has been told to stop. Names and texts as in the sources of 0.5.9
 * to 0.5.23. Pure.
 */
import { type MetricNames, metricsOf } from '../contract.metrics.ts'
import type { EngineSample, Readiness, StartPhase } from '../contract.ts'

export function readinessOf(status: number | null): Readiness {
  if (status === null) return { state: 'not_ready', phase: 'load', detail: 'not listening yet' }
  if (status === 200) return { state: 'ready' }
  if (status === 503) return { state: 'not_ready', phase: 'warmup', detail: 'warming up' }
  return { state: 'broken', detail: `health answers ${status}` }
}

const warmingUp =
  /Load weight end|KV Cache is allocated|Memory pool end|Capture .*(graph|graphs) begin|max_total_num_tokens=/i

/** While nothing listens, its output is all there is. */
export function phaseOfLog(lines: readonly string[]): StartPhase | null {
  if (lines.length === 0) return null
  return lines.some((line) => warmingUp.test(line)) ? 'warmup' : 'load'
}

const names: MetricNames = {
  'sglang:num_running_reqs': 'running',
  'sglang:num_queue_reqs': 'waiting',
  'sglang:token_usage': 'kvUsage',
  'sglang:prompt_tokens_total': 'promptTokensTotal',
  'sglang:generation_tokens_total': 'generatedTokensTotal',
}

export function sampleOf(text: string): EngineSample {
  return metricsOf(text, names)
}
