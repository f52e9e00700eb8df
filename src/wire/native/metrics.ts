/** Metrics of one deployment on the native API. */
import { z } from 'zod'
import type { Phase } from '../../kernel/phase.ts'
import { phases } from '../../kernel/phase.ts'
import { instant, iso, orNull } from './fields.ts'

export const metricsWindows = ['60s', '5m', '1h'] as const

export const metricsQuery = {
  window: z
    .enum(metricsWindows)
    .default('60s')
    .meta({ description: 'The time up to now that is looked at: the last minute, five minutes or hour.' }),
}

const count = z.int().nonnegative()
const quantiles = orNull(
  z.object({ count, p50: z.number(), p90: z.number(), p99: z.number() }).meta({
    id: 'Quantiles',
    description: 'Milliseconds, right within 1 %, over `count` requests; null: nothing was measured.',
  }),
)
const perSecond = z.number().nonnegative().nullable()

export const deploymentMetrics = z
  .object({
    deployment_id: z.string(),
    name: z.string(),
    phase: z.enum(phases),
    emulated: z.boolean(),
    simulated: z.boolean().meta({ description: 'true: nothing computes; the answers are made up.' }),
    served_by: z.string().nullable(),
    window: z.enum(metricsWindows),
    from: instant.meta({ description: 'Start of the window, or of the deployment when that is younger.' }),
    to: instant,
    requests: count.nullable().meta({ description: 'That ended; null: no gateway is heard of.' }),
    status: z.record(z.string(), count).meta({
      description: 'Requests by status; 200 and 499 (the client left) are always there. The ledger’s words.',
      example: { 200: 118, 499: 2 },
    }),
    errors: z.record(z.string(), count).meta({
      description: 'Requests by error code, without those whose client left.',
      example: { engine_failed: 1 },
    }),
    rps: perSecond.meta({ description: 'Requests that ended, a second.' }),
    in_flight: count.nullable().meta({ description: 'With replicas now.' }),
    held: count.nullable().meta({ description: 'Waiting for a replica now.' }),
    queued: count
      .nullable()
      .meta({ description: 'Waiting for their turn under the limits of deployment and key now.' }),
    ttft_ms: quantiles.meta({
      description: 'Arrival to first content, reasoning or tool call of streams, without the time held.',
    }),
    inter_token_ms: quantiles.meta({
      description:
        'Of every stream, one value: the time from its first content to its last chunk, divided by its output tokens − 1.',
    }),
    longest_pause_ms: quantiles.meta({
      description: 'Of every stream, one value: the longest that nothing came after its first content.',
    }),
    end_to_end_ms: quantiles.meta({
      description: 'Arrival to end of requests that ended 200, the time held included.',
    }),
    held_ms: quantiles.meta({
      description: 'Time that requests waited for a replica or their turn, of those that did.',
    }),
    tokens: orNull(
      z.object({
        input: count,
        output: count,
        reasoning: count.meta({ description: 'Part of the output.' }),
        cached: count.nullable().meta({ description: 'Part of the input that the engine had; null: it does not say.' }),
        input_per_second: z.number().nonnegative(),
        output_per_second: z.number().nonnegative(),
        estimated_requests: count.meta({ description: 'Whose engine did not say; they were counted instead.' }),
      }),
    ),
    cache_hit_share: z
      .number()
      .min(0)
      .max(1)
      .nullable()
      .meta({ description: 'Cached ÷ prompt tokens, of requests whose engine says; null: none did.' }),
    adapters: z
      .array(
        z.object({
          adapter: z
            .string()
            .meta({ description: 'Of a mixture the names, with a plus between them.', example: 'pirate' }),
          requests: count,
          input_tokens: count,
          cached_tokens: count,
          output_tokens: count,
        }),
      )
      .meta({
        description:
          'What LoRA adapters were asked for, the most asked first, by the ledger: in whole minutes, and a few seconds later than the rest. Requests without one are not in it.',
      }),
    replicas: z.object({
      desired: count,
      ready: count,
      phases: z.record(z.string(), count).meta({ example: { ready: 2, draining: 1 } }),
    }),
    gateways: z.object({
      heard: count.meta({ description: 'Whose reports are in this answer.' }),
      silent: count.meta({ description: 'Registered, and not heard of for three seconds: their part is missing.' }),
    }),
  })
  .meta({ id: 'DeploymentMetrics' })
export type DeploymentMetrics = z.output<typeof deploymentMetrics>

type QuantilesShape = z.output<typeof quantiles>

/** In our own words. */
export interface MetricsShape {
  deployment: {
    id: string
    name: string
    phase: Phase
    emulated: boolean
    simulated: boolean
    servedBy: string | null
  }
  window: (typeof metricsWindows)[number]
  from: Date
  to: Date
  measured: {
    requests: number
    status: Record<string, number>
    errors: Record<string, number>
    requestsPerSecond: number
    tokens: { input: number; output: number; reasoning: number; cached: number | null }
    inputTokensPerSecond: number
    outputTokensPerSecond: number
    cacheHitShare: number | null
    estimated: number
    endToEnd: QuantilesShape
    times: Record<'ttft' | 'token' | 'pause' | 'held', QuantilesShape>
  } | null
  adapters: {
    adapter: string
    requests: number
    promptTokens: number
    cachedTokens: number
    completionTokens: number
  }[]
  now: { heard: number; silent: number; inFlight: number; held: number; queued: number }
  desiredReplicas: number
  readyReplicas: number
  replicas: Partial<Record<string, number>>
}

export function renderMetrics(view: MetricsShape): DeploymentMetrics {
  const { deployment, measured, now } = view
  const isHeard = now.heard > 0
  return {
    deployment_id: deployment.id,
    name: deployment.name,
    phase: deployment.phase,
    emulated: deployment.emulated,
    simulated: deployment.simulated,
    served_by: deployment.servedBy,
    window: view.window,
    from: iso(view.from),
    to: iso(view.to),
    requests: measured?.requests ?? null,
    status: measured?.status ?? {},
    errors: measured?.errors ?? {},
    rps: measured?.requestsPerSecond ?? null,
    in_flight: isHeard ? now.inFlight : null,
    held: isHeard ? now.held : null,
    queued: isHeard ? now.queued : null,
    ttft_ms: measured?.times.ttft ?? null,
    inter_token_ms: measured?.times.token ?? null,
    longest_pause_ms: measured?.times.pause ?? null,
    end_to_end_ms: measured?.endToEnd ?? null,
    held_ms: measured?.times.held ?? null,
    tokens: renderTokens(measured),
    cache_hit_share: measured?.cacheHitShare ?? null,
    adapters: view.adapters.map((one) => ({
      adapter: one.adapter,
      requests: one.requests,
      input_tokens: one.promptTokens,
      cached_tokens: one.cachedTokens,
      output_tokens: one.completionTokens,
    })),
    replicas: {
      desired: view.desiredReplicas,
      ready: view.readyReplicas,
      phases: view.replicas as Record<string, number>,
    },
    gateways: { heard: now.heard, silent: now.silent },
  }
}

function renderTokens(measured: MetricsShape['measured']): DeploymentMetrics['tokens'] {
  if (measured === null) return null
  return {
    ...measured.tokens,
    input_per_second: measured.inputTokensPerSecond,
    output_per_second: measured.outputTokensPerSecond,
    estimated_requests: measured.estimated,
  }
}
