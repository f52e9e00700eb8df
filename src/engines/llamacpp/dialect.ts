/** What both forms of llama.cpp say and must not be told: readiness, metrics, fields of requests. Pure. */
import { allowing, commonFields, commonMembers, type FieldLists } from '../contract.fields.ts'
import { type MetricNames, metricsOf } from '../contract.metrics.ts'
import type { EngineSample, Readiness, StartMoments, StartPhase } from '../contract.ts'

/**
 * 200 = ready; 503 with a body = loading (our worker says the phase, llama-server only that it loads); refused = the
 * process is not listening yet. Sources: llama.cpp tools/server/server-http.cpp; worker/server.ts.
 */
export function readinessOf(status: number | null, body: string): Readiness {
  if (status === null) return { state: 'not_ready', phase: 'load', detail: 'not listening yet' }
  if (status !== 200 && status !== 503) return { state: 'broken', detail: `health answers ${status}` }
  const said = parsed(body)
  const agoMs = momentsOf(said.phases_ms_ago)
  if (status === 200) return { state: 'ready', ...agoMs }
  if (said.status === 'draining') return { state: 'broken', detail: 'draining' }
  const phase: StartPhase = said.phase === 'warmup' ? 'warmup' : 'load'
  const progress = typeof said.progress === 'number' ? ` ${Math.round(said.progress * 100)} %` : ''
  return { state: 'not_ready', phase, detail: `loading${progress}`, ...agoMs }
}

const moments = ['load', 'warmup', 'ready'] as const

/** How long ago each part of the start began, as our worker says it. */
function momentsOf(said: unknown): { agoMs?: StartMoments } {
  if (typeof said !== 'object' || said === null) return {}
  const known = moments.flatMap((moment) => {
    const ms = (said as Record<string, unknown>)[moment]
    return typeof ms === 'number' && ms >= 0 && Number.isFinite(ms) ? [[moment, ms] as const] : []
  })
  return known.length === 0 ? {} : { agoMs: Object.fromEntries(known) }
}

function parsed(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** Names of llama-server and of our worker (vLLM's), by what they mean. */
const metricNames: MetricNames = {
  'vllm:num_requests_running': 'running',
  'vllm:num_requests_waiting': 'waiting',
  'vllm:kv_cache_usage_perc': 'kvUsage',
  'vllm:prompt_tokens_total': 'promptTokensTotal',
  'vllm:generation_tokens_total': 'generatedTokensTotal',
  'llamacpp:requests_processing': 'running',
  'llamacpp:requests_deferred': 'waiting',
  'llamacpp:prompt_tokens_total': 'promptTokensTotal',
  'llamacpp:tokens_predicted_total': 'generatedTokensTotal',
}

export function metricsSample(text: string): EngineSample {
  return metricsOf(text, metricNames)
}

/**
 * Fields that llama-server gets beyond the common ones. Of its own (tools/server/README.md, v0.5.0) these are left out:
 * slots and caches (`id_slot`, `cache_prompt`, `n_cache_reuse`, `n_keep`, `n_discard`), `lora` (adapters by number),
 * `chat_template` and its arguments, grammars in its own language, limits under other names (`n_predict`, `n_cmpl`,
 * `t_max_predict_ms`), `samplers`, `speculative.*`, and what changes the answer's form (`response_fields`,
 * `return_tokens`, `timings_per_token`, `sse_ping_interval`, …).
 */
const serverSampling = [
  'typical_p top_n_sigma dynatemp_range dynatemp_exponent repeat_penalty repeat_last_n xtc_probability xtc_threshold',
  'mirostat mirostat_tau mirostat_eta dry_multiplier dry_base dry_allowed_length dry_penalty_last_n',
  'dry_sequence_breakers min_keep n_probs json_schema',
].join(' ')
const serverFields: FieldLists = {
  'chat/completions': `${serverSampling} reasoning_format parse_tool_calls add_generation_prompt`,
  completions: serverSampling,
  embeddings: 'embd_normalize',
}

/** Our worker says itself what it does not support of the common ones. */
export const embeddedRefusedField = allowing([
  commonFields,
  { completions: 'prompt_logprobs', 'chat/completions': 'prompt_logprobs' },
])
export const serverRefusedField = allowing([commonFields, serverFields], [commonMembers, { response_format: 'schema' }])
