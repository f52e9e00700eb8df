/**
 * Who stopped a deployment, and what it says meanwhile. Whoever it was, `start` by a person brings it back; the schedule
 * brings back only what it stopped itself. Pure.
 */
import type { ReasonCode } from '../kernel/phase.ts'

export const stopCauses = ['person', 'inactive_timeout', 'schedule', 'lease'] as const
export type StopCause = (typeof stopCauses)[number]

export interface Stopped {
  by: StopCause
  /** Until when the schedule keeps it stopped; ms since epoch, null = it is not known. */
  until: number | null
  /** Why the schedule could not start it again. */
  refused: string | null
}

const codes: Record<StopCause, ReasonCode> = {
  person: 'stopped',
  inactive_timeout: 'stopped_inactive',
  schedule: 'stopped_by_schedule',
  lease: 'expired',
}

/** Code and sentence of one that is stopped; without a sentence the usual one. */
export function stoppedBecause({ by, until, refused }: Stopped): [code: ReasonCode, message?: string] {
  if (by !== 'schedule') return [codes[by]]
  if (refused !== null) return [codes.schedule, `Its schedule would start it again, but: ${refused}`]
  return until === null ? [codes.schedule] : [codes.schedule, `Its schedule stopped it until ${iso(until)}.`]
}

/** The sentence while it is on its way there. */
export function stoppingBecause(by: StopCause): string {
  switch (by) {
    case 'schedule':
      return 'It is being stopped by its schedule.'
    case 'lease':
      return 'It is being stopped: its lease has ended.'
    case 'inactive_timeout':
      return 'It is being stopped: nobody asked for its inactive timeout.'
    case 'person':
      return 'It is being stopped.'
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
