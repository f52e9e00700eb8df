/** How long each part of a replica's start took, from the moments at which the parts began. Pure. */
import type { Replica } from '../wire/native/explanation.ts'

export interface StartPart {
  /** hardware, files, load, warm-up */
  name: string
  /** How long it took, or has taken when it is still going on and `nowMs` was given. */
  ms: number
  /** Still going on. */
  open: boolean
}

const names: Record<string, string> = { warmup: 'warm-up' }

export function partName(name: string): string {
  return names[name] ?? name
}

/** In the order in which they began. Without `nowMs` an open part counts up to its own beginning, 0. */
export function startParts(
  replica: Pick<Replica, 'start_phases' | 'ready_at' | 'ended_at'>,
  nowMs?: number,
): StartPart[] {
  const begun = Object.entries(replica.start_phases)
    .map(([name, at]) => ({ name: partName(name), at: Date.parse(at) }))
    .sort((a, b) => a.at - b.at)
  const end = replica.ready_at ?? replica.ended_at
  return begun.map(({ name, at }, i) => {
    const until = begun[i + 1]?.at ?? (end === null ? null : Date.parse(end))
    return { name, ms: Math.max(0, (until ?? nowMs ?? at) - at), open: until === null }
  })
}
