/** A deployment in the words of the command line: its row, its page, its short forms. Pure. */
import type { Phase } from '../kernel/phase.ts'
import type { Deployment } from '../wire/native/deployment.ts'
import { calendarText } from './calendar.ts'
import type { Colour } from './screen.ts'
import type { Column } from './table.ts'
import { padEnd } from './width.ts'
import { ageText, usdShown } from './words.ts'

export type Paint = (colour: Colour, text: string) => string

const colourOf: Record<Phase, Colour> = {
  queued: 'yellow',
  starting: 'yellow',
  serving: 'green',
  scaling: 'green',
  rolling: 'green',
  degraded: 'yellow',
  asleep: 'dim',
  waking: 'yellow',
  stopping: 'red',
  stopped: 'red',
  failed: 'red',
  deleted: 'dim',
}

export function paintPhase(paint: Paint, phase: Phase, text: string = phase): string {
  return paint(colourOf[phase], text)
}

type Marks = Pick<Deployment, 'emulated' | 'simulated'>

/** "2 × h100 (emulated)" or "cpu". */
export function hardwareText(d: Pick<Deployment, 'gpu_type' | 'gpu_count'> & Marks): string {
  return unitsText(d) + markText(d)
}

function markText({ emulated, simulated }: Marks): string {
  return simulated ? ' (simulated)' : emulated ? ' (emulated)' : ''
}

function unitsText(d: Pick<Deployment, 'gpu_type' | 'gpu_count'>): string {
  return d.gpu_type === 'cpu' && d.gpu_count === 1 ? 'cpu' : `${d.gpu_count} × ${d.gpu_type}`
}

/** What its replicas run on; while there are none, what was asked for first. */
export function hardwareNow(d: Pick<Deployment, 'gpu_type' | 'gpu_count' | 'runs_on'> & Marks): string {
  const units = [...new Set(d.runs_on.map(unitsText))]
  const text = units.length === 0 ? unitsText(d) : units.join(' + ')
  return text + markText(d)
}

/** "acme/model at 0123456789ab (main), Q4_K_M" */
function sourceText({ repo, sha, revision, quantization }: NonNullable<Deployment['model_source']>): string {
  return `${repo} at ${sha.slice(0, 12)} (${revision})${quantization === null ? '' : `, ${quantization}`}`
}

/** "1 × mi300x in tor1, 2 replicas", or what it waits for. */
function hardwareLines(d: Deployment): [string, string][] {
  const wished = d.hardware.map((one) => {
    const skipped = one.skipped === null ? '' : ' (too dear)'
    return `${unitsText(one)}${one.region ? ` in ${one.region}` : ''}${skipped}`
  })
  const runs = d.runs_on.map((one) => {
    const many = one.replicas === 1 ? '' : `, ${one.replicas} replicas`
    return `${hardwareText({ ...one, simulated: d.simulated })} in ${one.region}${many}`
  })
  const isList = wished.length > 1 || d.max_hourly_usd !== null
  const ceiling = d.max_hourly_usd === null ? '' : `; at most ${usdShown(d.max_hourly_usd)}/hour`
  return [
    ['hardware', runs.length > 0 ? runs.join(' + ') : hardwareText(d) + (d.region ? ` in ${d.region}` : '')],
    ...(isList ? [['wanted', `${wished.join(', else ')}${ceiling}`] as [string, string]] : []),
  ]
}

/** "queued 2/5" is the second of five in the queue. */
export function phaseText({ phase, queue }: Pick<Deployment, 'phase' | 'queue'>): string {
  return phase === 'queued' && queue !== null ? `queued ${queue.position}/${queue.of}` : phase
}

export function readyText(d: Pick<Deployment, 'ready_replicas' | 'desired_replicas'>): string {
  return `${d.ready_replicas}/${d.desired_replicas}`
}

export function deploymentColumns(nowMs: number, paint: Paint): Column<Deployment>[] {
  return [
    { title: 'NAME', cell: (d) => d.name, shrinksTo: 12, paint: (text) => paint('bold', text) },
    { title: 'STATUS', cell: (d) => d.status },
    { title: 'PHASE', cell: phaseText, paint: (text, d) => paintPhase(paint, d.phase, text) },
    { title: 'MODEL', cell: (d) => d.model_id, shrinksTo: 12 },
    { title: 'HARDWARE', cell: hardwareNow, shrinksTo: 19 },
    { title: 'READY', cell: readyText, right: true },
    { title: '$/HOUR', cell: (d) => usdShown(d.hourly_cost_usd), right: true },
    { title: 'COST', cell: (d) => usdShown(d.cost_usd), right: true },
    { title: 'AGE', cell: (d) => ageText(nowMs - Date.parse(d.created_at)), right: true },
  ]
}

/** "name  value" lines of everything that a person may want to know of one deployment. */
export function deploymentPage(d: Deployment, nowMs: number, paint: Paint): string[] {
  const lines: [string, string][] = [
    ['name', `${paint('bold', d.name)}  ${paint('dim', d.id)}`],
    ['status', `${paintPhase(paint, d.phase)} (${d.status})`],
    ...(d.queue && d.queue.position > 0
      ? [
          ['queue', `place ${d.queue.position} of ${d.queue.of} for ${d.queue.missing_replicas} more`] as [
            string,
            string,
          ],
        ]
      : []),
    ...(d.reason ? [['reason', d.reason.message] as [string, string]] : []),
    ['model', d.served_by ? `${d.model_id}, answered by ${d.served_by}` : d.model_id],
    ...(d.model_source ? [['source', sourceText(d.model_source)] as [string, string]] : []),
    ...hardwareLines(d),
    ['replicas', `${d.ready_replicas} of ${d.desired_replicas} ready`],
    ['engine', `${d.engine.type}${d.engine.version ? ` ${d.engine.version}` : ''}`],
    ['cost', `${usdShown(d.cost_usd)} so far, ${usdShown(d.hourly_cost_usd)}/hour now`],
    ...calendarText(d, new Date(nowMs)),
    ...(d.preset ? [['preset', d.preset] as [string, string]] : []),
    ['created', `${ageText(nowMs - Date.parse(d.created_at))} ago, ${d.created_at}`],
    ...(d.endpoint_url ? [['endpoint', d.endpoint_url] as [string, string]] : []),
  ]
  return lines.map(([name, value]) => `${paint('dim', padEnd(name, 10))}${value}`)
}
