/**
 * A run as text: one line for everything that somebody did and for every event, by virtual time. Ids are replaced by
 * short names in a way that does not depend on what is random in them. Pure.
 */
import type { StoredEvent } from '../../src/events/catalogue.ts'

export interface Line {
  /** ms since epoch. */
  at: number
  text: string
}

export interface TranscriptOptions {
  title: string
  /** What there is to see, for whoever reads it first. */
  about: string
  /** What stands before a line. */
  timeText(at: number): string
}

const replicaId = /rep_[a-z0-9]+/g
const replicaIn = /rep_[a-z0-9]+/

export function transcript(lines: readonly Line[], options: TranscriptOptions): string {
  const names = replicaNames(lines)
  const named = lines.map(({ at, text }) => ({ at, text: text.replace(replicaId, (id) => names.get(id) ?? id) }))
  const shown = twinsInOrder(named).map(({ at, text }) => `${options.timeText(at)}  ${text}`.trimEnd())
  return `${options.title}\n\n${wrapped(options.about)}\n\n${shown.join('\n')}\n`
}

/**
 * r1, r2 … in the order in which they were planned. Among those planned in one moment only what became of each can tell
 * them apart; where that is the same as well, it does not matter.
 */
function replicaNames(lines: readonly Line[]): Map<string, string> {
  const fates = new Map<string, { at: number; story: string }>()
  for (const { at, text } of lines)
    for (const id of new Set(text.match(replicaId) ?? [])) {
      const fate = fates.get(id) ?? { at, story: '' }
      fates.set(id, {
        at: fate.at,
        story: `${fate.story}${at} ${text.replaceAll(id, 'it').replace(replicaId, 'other')}\n`,
      })
    }
  const sorted = [...fates].sort(([, a], [, b]) => a.at - b.at || (a.story < b.story ? -1 : 1))
  return new Map(sorted.map(([id], index) => [id, `r${index + 1}`]))
}

/** Lines of one moment that differ in the replica alone come in the order of the replicas. */
function twinsInOrder(lines: readonly Line[]): Line[] {
  const bare = ({ at, text }: Line) => `${at} ${text.replace(/^ *r\d+ /, '')}`
  const groups: Line[][] = []
  for (const line of lines) {
    const last = groups.at(-1)
    if (last !== undefined && bare(last[0]!) === bare(line)) last.push(line)
    else groups.push([line])
  }
  return groups.flatMap((group) => group.sort((a, b) => a.text.localeCompare(b.text, 'en', { numeric: true })))
}

function wrapped(text: string): string {
  const lines = ['']
  for (const word of text.split(' ')) {
    if (`${lines.at(-1)} ${word}`.length > 110) lines.push(word)
    else lines[lines.length - 1] = `${lines.at(-1)} ${word}`.trim()
  }
  return lines.join('\n')
}

/** An event in words; `name` is its deployment's. */
export function eventText({ type, data, at }: StoredEvent, name: string): string[] {
  const d = data as Record<string, string & number & string[] & Record<string, number>>
  switch (type) {
    case 'deployment.created':
      return [`${name} is created: ${d.model_id}`]
    case 'deployment.phase':
      return [`${name}: ${d.from} → ${d.to}${d.message === undefined ? '' : `. ${d.message}`}`]
    case 'deployment.scaled':
      return [`${name} is to have ${d.to} instead of ${d.from}, because of ${d.cause}. ${d.why}`]
    case 'deployment.failed':
      return [`${name} has failed. ${d.message}`, ...quoted(d.last_lines!)]
    case 'deployment.schedule_turned':
      return [`${name}: its schedule says ${windowText(data)}`]
    case 'revision.failed':
      return [`${name}: revision ${d.revision} is given up. ${d.why}`]
    case 'replica.planned':
      return [`${d.replica_id} gets ${d.gpu_count} × ${d.gpu_type} in ${d.region}`]
    case 'replica.ready':
      return [`${d.replica_id} answers after ${seconds(d.start_ms!)}: ${phasesText(d.phases!, at.getTime())}`]
    case 'replica.draining':
      return [`${d.replica_id} gets nothing new and finishes what it has`]
    case 'replica.drain_called_off':
      return [`${d.replica_id} is wanted again`]
    case 'replica.adopted':
      return [`${d.replica_id} is one of revision ${d.revision} as it is`]
    case 'replica.ended':
      return [`${d.replica_id} has ended. ${d.why}`, ...quoted(d.last_lines!)]
    case 'replica.refused':
      return [`${d.replica_id} was refused. ${d.why}`]
    case 'replica.gone':
      return [`${d.replica_id} is gone, its hardware is free`]
    case 'replica.orphan_removed':
      return [`${d.replica_id} is nobody’s and is removed`]
    default:
      return [`${name}: ${type} ${detail(data)}`]
  }
}

const linesQuoted = 3

function quoted(lines: readonly string[]): string[] {
  return lines.slice(-linesQuoted).map((line) => `    | ${line}`)
}

const startPhases = ['hardware', 'files', 'load', 'warmup']

/** Parts of the start, each until the next began. */
function phasesText(phases: Record<string, number>, readyAt: number): string {
  const parts = startPhases.flatMap((part) => (phases[part] === undefined ? [] : [[part, phases[part]] as const]))
  return parts.map(([part, at], i) => `${part} ${seconds((parts[i + 1]?.[1] ?? readyAt) - at)}`).join(', ')
}

function windowText({ says, min_replicas, max_replicas, until }: Record<string, unknown>): string {
  const limits = says === 'scale' ? ` ${min_replicas} to ${max_replicas}` : ''
  return `${says === 'nothing' ? 'nothing any more' : `${says}${limits}`}${until ? ` until ${until}` : ''}`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function detail(data: Record<string, unknown>): string {
  return Object.entries(data)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .sort()
    .join(' ')
}

export { replicaIn }
