/** What both forms of llama.cpp say and must not be told: readiness, metrics, body fields that steer. Pure. */
import type { EngineSample, InferenceRoute, Readiness, StartMoments, StartPhase } from '../contract.ts'

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
const metricNames: Record<string, keyof EngineSample> = {
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
  const sample: EngineSample = { running: 0, waiting: 0 }
  for (const line of text.split('\n')) {
    const match = /^([a-z_:]+)(?:\{[^}]*\})? (\S+)/.exec(line)
    const field = match && metricNames[match[1]!]
    const value = Number(match?.[2])
    if (field && Number.isFinite(value)) sample[field] = value
  }
  return sample
}

/**
 * Fields by which a client would reach past the gateway: slots, caches, adapters by number or path, templates, limits
 * under another name, what an answer contains, raw timings. Those of llama.cpp (tools/server/README.md), and their
 * cousins in other engines, so that a client learns here already that they are not passed.
 */
const steering = new Set(
  [
    'id_slot slot_id cache_prompt cache_salt n_cache_reuse n_keep n_discard',
    'lora lora_path lora_request chat_template chat_template_kwargs',
    'grammar grammar_lazy grammar_triggers preserved_tokens samplers',
    'n_predict t_max_predict_ms t_max_prompt_ms n_cmpl models_autoload',
    'response_fields return_tokens return_progress post_sampling_probs timings_per_token __verbose sse_ping_interval',
    'speculative.n_max speculative.n_min speculative.p_min speculative.type',
  ]
    .join(' ')
    .split(' '),
)

export function refusedBodyField(_route: InferenceRoute, body: Record<string, unknown>): string | null {
  return Object.keys(body).find((field) => steering.has(field)) ?? null
}
