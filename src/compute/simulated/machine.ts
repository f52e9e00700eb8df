/** One simulated machine: plain data that can be kept in a file, and what follows from it at a moment. Pure. */
import type { Launch } from '../../engines/contract.ts'
import type { ReplicaId } from '../../kernel/ids.ts'
import type { Exit, Observation, Placement } from '../contract.ts'

/** What becomes of its engine; ms since epoch. The engine's side reads the same data (engines/simulated/fate.ts). */
export interface Fate {
  startsAt: number
  loadedAt: number
  readyAt: number
  end: { at: number; code: number | null; signal: string | null; lines: string[] } | null
  hang: { from: number; to: number | null } | null
  stubborn: boolean
}

/** Where engines of simulated machines run; the composition root gives one. */
export interface Room {
  /** What would become of an engine that starts then. Throws an Error for a line that is not one of its own. */
  foresee(launch: Launch, startsAt: number, slow: number): Fate
  open(launch: Launch, fate: Fate): void
  /** Its fate was changed. */
  changed(launch: Launch): void
  close(launch: Launch): void
  lines(launch: Launch, fate: Fate, now: number): string[]
}

export interface Machine {
  id: ReplicaId
  placement: Placement
  /** From when it is there at all, before which its hardware is waited for. */
  hardwareAt: number
  /** null: a phantom, which nobody asked for and nothing runs on. */
  engine: { launch: Launch; fate: Fate } | null
  /** Noted once it is over. */
  exit: Exit | null
  /** Its own port, where each has one; null = it does not listen yet. */
  port?: number | null
  /** Removal was asked: from then on nobody knows it. */
  goneAt: number | null
}

export const linesKept = 50

export function observationOf(machine: Machine, now: number, place: { address: string; port: number }): Observation {
  const { exit, engine, hardwareAt, port = place.port } = machine
  if (exit !== null) return { state: 'exited', exit }
  if (engine === null) return { state: 'pending', detail: 'Nobody asked for this machine.' }
  if (now < hardwareAt) return { state: 'pending', detail: 'Its machine is being made.', phase: 'hardware' }
  const { startsAt } = engine.fate
  const began = { files: hardwareAt }
  if (now < startsAt || port === null) return { state: 'pending', detail: 'Its files are being placed.', began }
  return { state: 'running', address: place.address, port, startedAt: startsAt, began }
}

/** How its engine ended by itself. */
export function exitOf({ engine }: Machine, room: Room): Exit | null {
  const end = engine?.fate.end
  if (!end) return null
  const { at, code, signal } = end
  return { at, code, signal, lastLines: room.lines(engine!.launch, engine!.fate, at).slice(-linesKept), why: why(end) }
}

function why({ code, signal }: { code: number | null; signal: string | null }): string {
  if (signal !== null) return `The engine was ended by ${signal}.`
  if (code === null) return 'It was stopped as asked.'
  return code === 0 ? 'The engine ended by itself, without an error.' : `The engine failed with status ${code}.`
}
