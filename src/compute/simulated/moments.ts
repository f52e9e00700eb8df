/** Troubles of one moment: machines crash, hang or vanish, and some turn up that nobody asked for. */
import { never } from '../../kernel/never.ts'
import type { Clock } from '../../runtime/clock.ts'
import { newId } from '../../runtime/ids.ts'
import type { Capacity } from './capacity.ts'
import type { Machine } from './machine.ts'
import type { Trouble } from './script.ts'
import { isHere } from './troubles.ts'

export type MomentTrouble = Extract<Trouble, { what: 'crash' | 'hang' | 'vanish' | 'phantom' }>

interface Hands {
  capacity: Capacity
  clock: Clock
  machines: ReadonlyMap<string, Machine>
  bring(machine: Machine): void
  end(machine: Machine, how: { code: number; lines: string[] }): void
  forget(machine: Machine): void
  /** What becomes of its engine has changed. */
  changed(machine: Machine): void
}

export function isMoment(trouble: Trouble): trouble is MomentTrouble {
  return ['crash', 'hang', 'vanish', 'phantom'].includes(trouble.what)
}

/** `to`: end of a silence; null = for ever. ms since epoch. */
export function happens(trouble: MomentTrouble, at: number, to: number | null, hands: Hands): void {
  if (trouble.what === 'phantom') {
    for (let i = 0; i < trouble.count; i++) turnUp(trouble, at, hands)
    return
  }
  for (const machine of meant(trouble, at, hands.machines)) {
    switch (trouble.what) {
      case 'crash':
        hands.end(machine, { code: trouble.exit_code, lines: trouble.say })
        break
      case 'hang':
        machine.engine!.fate.hang = { from: at, to }
        hands.changed(machine)
        break
      case 'vanish':
        hands.forget(machine)
        break
      default:
        never(trouble, 'trouble')
    }
  }
}

function turnUp(trouble: Extract<Trouble, { what: 'phantom' }>, at: number, { capacity, clock, bring }: Hands): void {
  const placement = capacity.anywhere((place) => isHere(trouble, place))
  if (placement === null) return
  bring({ id: newId('rep', clock), placement, hardwareAt: at, engine: null, exit: null, goneAt: null })
}

/** The named one, else those that are ready, oldest first. */
function meant(
  trouble: Exclude<MomentTrouble, { what: 'phantom' }>,
  at: number,
  machines: ReadonlyMap<string, Machine>,
): Machine[] {
  const { replica_id, count } = trouble
  const lives = ({ engine, exit, goneAt }: Machine) => engine !== null && exit === null && goneAt === null
  if (replica_id !== undefined) {
    const named = machines.get(replica_id)
    return named !== undefined && lives(named) ? [named] : []
  }
  const found: Machine[] = []
  for (const machine of machines.values()) {
    if (found.length >= count) break
    if (lives(machine) && at >= machine.engine!.fate.readyAt && isHere(trouble, machine.placement)) found.push(machine)
  }
  return found
}
