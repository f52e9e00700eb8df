/** Totals and what is so now → the points of every family. Pure. */
import type { ProcessHealth } from '../../runtime/process-health.ts'
import { type FamilyName, families, type Point, type Points } from './families.ts'
import type { Histogram } from './histogram.ts'
import { endOf, msPerUnit, type Sample, tokenKinds } from './sample.ts'
import { otherDeployments } from './totals.ts'

const unitsPerSecond = 1000 / msPerUnit
const providerName = 'paddock'

export interface Total {
  deploymentId: string
  operation: string
  sample: Sample
}

/** `models`: deployment → its model. */
export function totalPoints(totals: readonly Total[], models: ReadonlyMap<string, string>): Points {
  const points = new PointList()
  for (const { deploymentId, operation, sample } of totals) {
    const genAi = {
      deployment: deploymentId,
      gen_ai_operation_name: operation,
      gen_ai_provider_name: providerName,
      gen_ai_request_model: label(models.get(deploymentId) ?? ''),
    }
    for (const [end, durations] of sample.ends) {
      const { status, code } = endOf(end)
      const error_type = code ?? ''
      points.histogram('gen_ai_server_request_duration_seconds', { ...genAi, error_type }, durations, unitsPerSecond)
      const labels = { deployment: deploymentId, operation, status: String(status), code: error_type }
      points.add('paddock_requests_total', labels, durations.count)
    }
    points.histogram('gen_ai_server_time_to_first_token_seconds', genAi, sample.ttft, unitsPerSecond)
    points.histogram('gen_ai_server_time_per_output_token_seconds', genAi, sample.token, unitsPerSecond)
    for (const kind of tokenKinds)
      points.histogram('gen_ai_client_token_usage', { ...genAi, gen_ai_token_type: kind }, sample[kind], 1)
  }
  for (const [deployment, sample] of byDeployment(totals)) {
    points.histogram('paddock_stream_longest_pause_seconds', { deployment }, sample.pause, unitsPerSecond)
    points.histogram('paddock_held_seconds', { deployment }, sample.held, unitsPerSecond)
    points.add('paddock_estimated_requests_total', { deployment }, sample.estimated)
    const { input, output, reasoning, cached, cacheable } = sample
    const kinds = { input: input.sum, output: output.sum, reasoning, cached, cacheable }
    for (const [kind, tokens] of Object.entries(kinds)) points.add('paddock_tokens_total', { deployment, kind }, tokens)
  }
  return points.made
}

/** Tenants choose it, and it is in every bucket of every histogram. */
const labelMaximumCharacters = 128

function label(text: string): string {
  return text.length <= labelMaximumCharacters ? text : text.slice(0, labelMaximumCharacters).toWellFormed()
}

export interface Now {
  gateways: { heard: number; silent: number }
  /** Deployment → requests. */
  inFlight: ReadonlyMap<string, number>
  held: ReadonlyMap<string, number>
  queued: ReadonlyMap<string, number>
  replicas: readonly { deploymentId: string; phase: string; count: number }[]
  processes: readonly { name: string; health: Partial<ProcessHealth> }[]
}

/** `maximum`: so many deployments have a name of their own; the others together are one. */
export function nowPoints(now: Now, maximum: number): Points {
  const { gateways, inFlight, held, queued, replicas, processes } = now
  const points = new PointList()
  const named = new Set([
    ...inFlight.keys(),
    ...held.keys(),
    ...queued.keys(),
    ...replicas.map(({ deploymentId }) => deploymentId),
  ])
  const known = new Set([...named].slice(0, maximum))
  const name = (deploymentId: string) => (known.has(deploymentId) ? deploymentId : otherDeployments)
  for (const [id, count] of inFlight) points.sum('paddock_in_flight_requests', { deployment: name(id) }, count)
  for (const [id, count] of held) points.sum('paddock_held_requests', { deployment: name(id) }, count)
  for (const [id, count] of queued) points.sum('paddock_queued_requests', { deployment: name(id) }, count)
  for (const { deploymentId, phase, count } of replicas)
    points.sum('paddock_replicas', { deployment: name(deploymentId), phase }, count)
  for (const state of ['heard', 'silent'] as const) points.add('paddock_gateways', { state }, gateways[state])
  for (const { name: process, health } of processes) {
    if (health.rssBytes !== undefined) points.add('paddock_resident_memory_bytes', { process }, health.rssBytes)
    const { loopDelayMs } = health
    if (!loopDelayMs) continue
    const quantiles = { 0.5: loopDelayMs.p50, 0.99: loopDelayMs.p99, 1: loopDelayMs.max }
    for (const [quantile, ms] of Object.entries(quantiles))
      points.add('paddock_event_loop_delay_seconds', { process, quantile }, ms / 1000)
  }
  return points.made
}

/** All operations together, of what is told by deployment alone. */
function byDeployment(totals: readonly Total[]): Map<string, Sample> {
  const merged = new Map<string, Sample>()
  for (const { deploymentId, sample } of totals) {
    const one = merged.get(deploymentId)
    if (one === undefined) merged.set(deploymentId, sample.copy())
    else one.merge(sample)
  }
  return merged
}

class PointList {
  readonly made: Points = {}
  readonly #sums = new Map<string, Point>()

  add(family: FamilyName, labels: Record<string, string>, value: number): Point {
    const point = { labels, value }
    this.#of(family).push(point)
    return point
  }

  /** Adds to the point of these labels where there is one. */
  sum(family: FamilyName, labels: Record<string, string>, value: number): void {
    const key = `${family} ${Object.values(labels).join(' ')}`
    const there = this.#sums.get(key)
    if (there === undefined) this.#sums.set(key, this.add(family, labels, value))
    else there.value += value
  }

  histogram(family: FamilyName, labels: Record<string, string>, of: Histogram, perUnit: number): void {
    if (of.count === 0) return
    const { buckets } = families[family] as { buckets: readonly number[] }
    const list = this.#of(family)
    of.atMost(buckets.map((bound) => bound * perUnit)).forEach((value, at) => {
      list.push({ suffix: '_bucket', labels: { ...labels, le: String(buckets[at]) }, value })
    })
    list.push({ suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: of.count })
    list.push({ suffix: '_sum', labels, value: of.sum / perUnit })
    list.push({ suffix: '_count', labels, value: of.count })
  }

  #of(family: FamilyName): Point[] {
    return (this.made[family] ??= [])
  }
}
