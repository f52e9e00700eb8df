/** Metrics in the words of the command line: a row of `paddock top`, and the page of one deployment. Pure. */
import type { DeploymentMetrics } from '../wire/native/metrics.ts'
import { type Paint, paintPhase } from './deployment-text.ts'
import type { Column } from './table.ts'
import { oneLine, padEnd } from './width.ts'
import { counted, momentText } from './words.ts'

/** What was not measured. */
const none = '-'

export function metricsColumns(paint: Paint): Column<DeploymentMetrics>[] {
  const right = true
  return [
    { title: 'NAME', cell: (m) => m.name + markText(m), shrinksTo: 12, paint: (text) => paint('bold', text) },
    { title: 'PHASE', cell: (m) => m.phase, paint: (text, m) => paintPhase(paint, m.phase, text) },
    { title: 'READY', cell: (m) => `${m.replicas.ready}/${m.replicas.desired}`, right },
    { title: 'REQ/S', cell: (m) => rate(m.rps), right },
    { title: 'IN FLIGHT', cell: (m) => shown(m.in_flight), right },
    { title: 'WAIT', cell: (m) => shown(m.held === null ? null : m.held + (m.queued ?? 0)), right },
    { title: 'TTFT P50', cell: (m) => moment(m.ttft_ms?.p50), right },
    { title: 'P99', cell: (m) => moment(m.ttft_ms?.p99), right },
    { title: 'TOKEN', cell: (m) => moment(m.inter_token_ms?.p50), right },
    { title: 'IN/S', cell: (m) => rate(m.tokens?.input_per_second), right },
    { title: 'OUT/S', cell: (m) => rate(m.tokens?.output_per_second), right },
    { title: 'CACHED', cell: (m) => share(m.cache_hit_share), right },
    { title: 'LEFT', cell: (m) => shown(m.status['499'] ?? null), right },
    {
      title: 'ERRORS',
      cell: (m) => (m.requests === null ? none : String(errorsOf(m))),
      right,
      paint: (text, m) => (errorsOf(m) > 0 ? paint('red', text) : text),
    },
  ]
}

/** Most is going on first. */
export function byTraffic(a: DeploymentMetrics, b: DeploymentMetrics): number {
  const load = (m: DeploymentMetrics) => (m.rps ?? 0) + (m.in_flight ?? 0) + (m.held ?? 0) + (m.queued ?? 0)
  return load(b) - load(a) || (a.name < b.name ? -1 : 1)
}

export function metricsPage(m: DeploymentMetrics, paint: Paint): string[] {
  const phases = Object.entries(m.replicas.phases).map(([phase, count]) => `${count} ${oneLine(phase)}`)
  const replicas = `${m.replicas.ready} of ${m.replicas.desired} ready`
  const tokens = m.tokens
  const lines: [string, string][] = [
    ['name', `${paint('bold', oneLine(m.name))}${markText(m)}  ${paint('dim', oneLine(m.deployment_id))}`],
    ['phase', paintPhase(paint, m.phase)],
    ['replicas', phases.length === 0 ? replicas : `${replicas} (${phases.join(', ')})`],
    ['now', m.in_flight === null ? unheard : `${m.in_flight} in flight, ${m.held} held, ${m.queued} in line`],
    ['requests', m.requests === null ? unheard : `${counted(m.requests, 'request')}, ${rate(m.rps)} a second`],
    ['by status', list(m.status)],
    ...(errorsOf(m) > 0 ? [['errors', paint('red', list(m.errors))] as [string, string]] : []),
    ['first token', quantiles(m.ttft_ms)],
    ['per token', quantiles(m.inter_token_ms)],
    ['pauses', quantiles(m.longest_pause_ms)],
    ['whole', quantiles(m.end_to_end_ms)],
    ['held', quantiles(m.held_ms)],
    [
      'tokens',
      tokens === null ? unheard : `${rate(tokens.input_per_second)} in, ${rate(tokens.output_per_second)} out a second`,
    ],
    ['cached', m.cache_hit_share === null ? 'the engine does not say' : `${share(m.cache_hit_share)} of the prompts`],
    ...(m.gateways.silent > 0
      ? [['missing', `${counted(m.gateways.silent, 'gateway')} not heard of`] as [string, string]]
      : []),
  ]
  return lines.map(([name, value]) => `${paint('dim', padEnd(name, 12))}${value}`)
}

const unheard = 'no gateway is heard of'

function quantiles(of: DeploymentMetrics['ttft_ms']): string {
  if (of === null) return none
  return `p50 ${moment(of.p50)}  p90 ${moment(of.p90)}  p99 ${moment(of.p99)}  (${of.count})`
}

function markText({ emulated, simulated }: DeploymentMetrics): string {
  return simulated ? ' (simulated)' : emulated ? ' (emulated)' : ''
}

function errorsOf(m: DeploymentMetrics): number {
  return Object.values(m.errors).reduce((sum, count) => sum + count, 0)
}

function list(counts: Readonly<Record<string, number>>): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0)
  return some.length === 0 ? none : some.map(([name, count]) => `${oneLine(name)}: ${count}`).join('  ')
}

function moment(ms: number | undefined): string {
  if (ms === undefined) return none
  return ms < 10 ? `${ms.toFixed(1)} ms` : momentText(ms)
}

function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined) return none
  return perSecond < 100 ? perSecond.toFixed(perSecond === 0 ? 0 : 1) : String(Math.round(perSecond))
}

function share(of: number | null): string {
  return of === null ? none : `${Math.round(of * 100)} %`
}

function shown(count: number | null): string {
  return count === null ? none : String(count)
}
