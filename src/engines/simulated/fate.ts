/**
 * What becomes of one simulated engine: its start, its end, its silences, as moments. Everything that anybody asks of it
 * follows from these and the time, so that an engine costs nothing while nobody asks. Pure.
 */
import type { StartPhase } from '../contract.ts'
import type { EngineArguments } from './arguments.ts'

/** Plain data: whoever runs engines may keep it in a file, and changes it when something happens to one. ms since epoch. */
export interface Fate {
  startsAt: number
  loadedAt: number
  readyAt: number
  /** How it ends by itself; null = it runs until it is told to stop. */
  end: { at: number; code: number | null; signal: string | null; lines: string[] } | null
  /** It takes connections and answers nothing meanwhile; `to` null = from then on. */
  hang: { from: number; to: number | null } | null
  /** It ignores SIGTERM. */
  stubborn: boolean
}

export type Condition =
  | { state: 'absent' }
  | { state: 'loading'; phase: StartPhase; progress: number }
  | { state: 'ready' }
  | { state: 'hung' }

/** `slow`: how many times longer the start takes than its launch line says. */
export function foresee(args: EngineArguments, startsAt: number, slow: number): Fate {
  const loadedAt = startsAt + args.loadSeconds * 1000 * slow
  const readyAt = loadedAt + args.warmupSeconds * 1000 * slow
  const at = endOf(args, { start: startsAt, load: loadedAt, warmup: readyAt })
  const end = at === null ? null : { at, code: args.exitCode, signal: null, lines: args.say }
  return { startsAt, loadedAt, readyAt, end, hang: null, stubborn: args.ignoreTerm }
}

function endOf(args: EngineArguments, moments: { start: number; load: number; warmup: number }): number | null {
  if (args.failAt !== null) return moments[args.failAt]
  return args.crashAfterSeconds === null ? null : moments.warmup + args.crashAfterSeconds * 1000
}

export function conditionAt(fate: Fate, now: number): Condition {
  if (now < fate.startsAt || (fate.end !== null && now >= fate.end.at)) return { state: 'absent' }
  if (fate.hang !== null && now >= fate.hang.from && (fate.hang.to === null || now < fate.hang.to))
    return { state: 'hung' }
  if (now < fate.loadedAt)
    return { state: 'loading', phase: 'load', progress: share(fate.startsAt, fate.loadedAt, now) }
  if (now < fate.readyAt)
    return { state: 'loading', phase: 'warmup', progress: share(fate.loadedAt, fate.readyAt, now) }
  return { state: 'ready' }
}

function share(from: number, to: number, now: number): number {
  return to > from ? (now - from) / (to - from) : 1
}

/** What it has printed by then, oldest first. Nothing of a request is ever in it. */
export function linesAt(args: EngineArguments, fate: Fate, now: number): string[] {
  const lines: [at: number, text: string][] = [
    [fate.startsAt, `simulated engine: loading ${args.servedName}`],
    ...Array.from({ length: args.printLines }, (_, i): [number, string] => [fate.startsAt, `line ${i + 1}`]),
    [fate.loadedAt, 'simulated engine: loaded, warming up'],
    [fate.readyAt, `simulated engine: ready, ${args.sequences} sequences at once`],
  ]
  // What it did not live to see it did not print.
  const lived = lines.filter(([at]) => at <= now && (fate.end === null || at < fate.end.at || at === fate.startsAt))
  const last = fate.end !== null && now >= fate.end.at ? fate.end.lines : []
  return [...lived.map(([, text]) => text), ...last]
}
