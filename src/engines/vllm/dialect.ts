/**
 * What vLLM says of itself. Its port refuses connections until the engine is ready, then `/health` answers 200 with
 * nothing; 503 is an engine that died, whose server ends by itself within seconds. Names and texts as in the sources of
 * 0.18.1 to 0.33.0. Pure.
 */
import { type MetricNames, metricsOf } from '../contract.metrics.ts'
import type { EngineSample, Readiness, StartPhase } from '../contract.ts'

export function readinessOf(status: number | null): Readiness {
  if (status === null) return { state: 'not_ready', phase: 'load', detail: 'not listening yet' }
  if (status === 200) return { state: 'ready' }
  return { state: 'broken', detail: status === 503 ? 'its engine died' : `health answers ${status}` }
}

/** After the weights come the measuring of memory, compiling and the capture of graphs. */
const warmingUp = /Model loading took |GPU KV cache size|Capturing CUDA graphs|Graph capturing finished|init engine \(/

/** While nothing listens, its output is all there is. */
export function phaseOfLog(lines: readonly string[]): StartPhase | null {
  if (lines.length === 0) return null
  return lines.some((line) => warmingUp.test(line)) ? 'warmup' : 'load'
}

const names: MetricNames = {
  'vllm:num_requests_running': 'running',
  'vllm:num_requests_waiting': 'waiting',
  'vllm:kv_cache_usage_perc': 'kvUsage',
  'vllm:prompt_tokens_total': 'promptTokensTotal',
  'vllm:generation_tokens_total': 'generatedTokensTotal',
}

export function sampleOf(text: string): EngineSample {
  return metricsOf(text, names)
}
