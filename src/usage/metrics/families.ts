/**
 * Every metric of /metrics that is ours, by name: what it is, in what unit, with which labels. `docs/operate/metrics.md`
 * is written from this list. Names, attributes and buckets of `gen_ai_*` are those of OpenTelemetry's conventions for
 * generative AI, as Prometheus spells them.
 *
 * Labels are bounded by what an operator has: deployments, replicas' phases, our own codes. Never by keys, never by
 * anything that a request says.
 */
export interface Family {
  type: 'counter' | 'gauge' | 'histogram'
  unit: string
  labels: readonly string[]
  help: string
  /** Upper bounds, in the unit. */
  buckets?: readonly number[]
}

const genAi = ['deployment', 'gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const
const perTokenSeconds = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
const firstTokenSeconds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const requestSeconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const tokenCounts = Array.from({ length: 14 }, (_, power) => 4 ** power)

export const families = {
  gen_ai_server_request_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: [...genAi, 'error_type'],
    help: 'Arrival to end of requests, the time held included; error_type is the error code, empty when there was none.',
    buckets: requestSeconds,
  },
  gen_ai_server_time_to_first_token_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: genAi,
    help: 'Arrival to first content of streams that ended 200 or 499, without the time held.',
    buckets: firstTokenSeconds,
  },
  gen_ai_server_time_per_output_token_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: genAi,
    help: 'Of every stream one value: first content to last chunk, divided by its output tokens - 1.',
    buckets: perTokenSeconds,
  },
  gen_ai_client_token_usage: {
    type: 'histogram',
    unit: 'tokens',
    labels: [...genAi, 'gen_ai_token_type'],
    help: 'Tokens of requests, read from the engine or estimated.',
    buckets: tokenCounts,
  },
  paddock_stream_longest_pause_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: ['deployment'],
    help: 'Of every stream one value: the longest that nothing came after its first content.',
    buckets: [...perTokenSeconds, 5, 10],
  },
  paddock_held_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: ['deployment'],
    help: 'Time that requests waited for a replica or their turn, of those that did.',
    buckets: [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
  },
  paddock_requests_total: {
    type: 'counter',
    unit: 'requests',
    labels: ['deployment', 'operation', 'status', 'code'],
    help: 'Requests that ended, by the status and code of the ledger; deployment is empty when theirs was not known.',
  },
  paddock_tokens_total: {
    type: 'counter',
    unit: 'tokens',
    labels: ['deployment', 'kind'],
    help: 'Tokens by kind: input, output, reasoning (part of output), cached (part of cacheable), cacheable (input of requests whose engine says what it had).',
  },
  paddock_estimated_requests_total: {
    type: 'counter',
    unit: 'requests',
    labels: ['deployment'],
    help: 'Requests whose tokens were estimated because the engine did not say.',
  },
  paddock_in_flight_requests: {
    type: 'gauge',
    unit: 'requests',
    labels: ['deployment'],
    help: 'With replicas now, over all gateways that are heard of.',
  },
  paddock_held_requests: {
    type: 'gauge',
    unit: 'requests',
    labels: ['deployment'],
    help: 'Waiting for a replica now, over all gateways that are heard of.',
  },
  paddock_queued_requests: {
    type: 'gauge',
    unit: 'requests',
    labels: ['deployment'],
    help: 'Waiting for their turn under limits now, over all gateways that are heard of.',
  },
  paddock_replicas: {
    type: 'gauge',
    unit: 'replicas',
    labels: ['deployment', 'phase'],
    help: 'Replicas that are not gone.',
  },
  paddock_gateways: {
    type: 'gauge',
    unit: 'gateways',
    labels: ['state'],
    help: 'Registered gateways: heard, or silent for more than three seconds.',
  },
  paddock_event_loop_delay_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['process', 'quantile'],
    help: 'By how much the event loop was late in the last ten to twenty seconds; process is control or a gateway.',
  },
  paddock_resident_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    labels: ['process'],
    help: 'Memory that the process holds; workers of one process each show all of it.',
  },
} as const satisfies Record<string, Family>
export type FamilyName = keyof typeof families

export interface Point {
  /** Of a histogram: `_bucket`, `_sum` or `_count`. */
  suffix?: string
  labels: Record<string, string>
  value: number
}
export type Points = Partial<Record<FamilyName, Point[]>>
