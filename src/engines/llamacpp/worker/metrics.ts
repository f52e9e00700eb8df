/** The worker's counts as Prometheus text, under vLLM's names so that one reader serves both engines. */
import type { Usage } from '../../contract.answer.ts'

const secondsBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

class Histogram {
  readonly #counts = secondsBuckets.map(() => 0)
  #count = 0
  #sum = 0

  observe(seconds: number): void {
    secondsBuckets.forEach((bound, i) => {
      if (seconds <= bound) this.#counts[i]! += 1
    })
    this.#count += 1
    this.#sum += seconds
  }

  text(name: string, help: string): string {
    const buckets = secondsBuckets.map((bound, i) => `${name}_bucket{le="${bound}"} ${this.#counts[i]}`)
    const total = [
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}`,
    ]
    return [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`, ...buckets, ...total].join('\n')
  }
}

export interface Gauges {
  running: number
  waiting: number
  /** 0 … 1. */
  kvUsage: number
}

export class WorkerMetrics {
  readonly #firstToken = new Histogram()
  readonly #request = new Histogram()
  #prompt = 0
  #generated = 0
  #cached = 0
  readonly #finished = new Map<string, number>()

  begun({ promptTokens, cachedTokens }: Usage): void {
    this.#prompt += promptTokens
    this.#cached += cachedTokens
  }

  /** One token; `firstAfterSeconds` with a request's first. */
  generated(firstAfterSeconds?: number): void {
    this.#generated += 1
    if (firstAfterSeconds !== undefined) this.#firstToken.observe(firstAfterSeconds)
  }

  /** `finish`: stop, length, abort or error. */
  finished(finish: string, seconds: number): void {
    this.#finished.set(finish, (this.#finished.get(finish) ?? 0) + 1)
    this.#request.observe(seconds)
  }

  text({ running, waiting, kvUsage }: Gauges): string {
    const lines = [
      ...single('vllm:num_requests_running', 'gauge', 'Requests that are computed now.', running),
      ...single('vllm:num_requests_waiting', 'gauge', 'Requests that wait for a sequence.', waiting),
      ...single('vllm:kv_cache_usage_perc', 'gauge', 'Share of the context memory in use, 0 to 1.', kvUsage),
      ...single('vllm:prompt_tokens_total', 'counter', 'Prompt tokens.', this.#prompt),
      ...single('vllm:generation_tokens_total', 'counter', 'Tokens generated.', this.#generated),
      ...single('vllm:prompt_tokens_cached_total', 'counter', 'Prompt tokens that were held already.', this.#cached),
      '# TYPE vllm:request_success_total counter',
      ...[...this.#finished].map(
        ([finish, count]) => `vllm:request_success_total{finished_reason="${finish}"} ${count}`,
      ),
      this.#firstToken.text('vllm:time_to_first_token_seconds', 'From the request to its first token.'),
      this.#request.text('vllm:e2e_request_latency_seconds', 'From the request to its end.'),
    ]
    return `${lines.join('\n')}\n`
  }
}

function single(name: string, type: string, help: string, value: number): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`]
}
