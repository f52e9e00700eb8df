/** How long each part of a replica's start took, as the server measured it. Pure. */
import type { Replica } from '../wire/native/explanation.ts'

export interface StartPart {
  /** hardware, files, load, warm-up */
  name: string
  /** How long it took, or has taken when it is still going on. */
  ms: number
  /** Still going on. */
  open: boolean
}

const names: Record<string, string> = { warmup: 'warm-up' }

export function partName(name: string): string {
  return names[name] ?? name
}

/** In the order in which they began. With `nowMs` an open part counts up to there. */
export function startParts(
  replica: Pick<Replica, 'start_phases' | 'start_ms' | 'ready_at' | 'ended_at'>,
  nowMs?: number,
): StartPart[] {
  const begun = Object.entries(replica.start_phases)
    .map(([name, at]) => ({ name, at: Date.parse(at) }))
    .sort((a, b) => a.at - b.at)
  const isOver = replica.ready_at !== null || replica.ended_at !== null
  return begun.map(({ name, at }, i) => {
    const open = !isOver && i === begun.length - 1
    const measured = replica.start_ms[name] ?? 0
    return { name: partName(name), ms: open && nowMs !== undefined ? Math.max(0, nowMs - at) : measured, open }
  })
}
