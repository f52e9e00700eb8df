/**
 * May a change of revision leave nobody to answer? With a spare place, or with others that answer, it never does. Else
 * requests are held while the new revision starts in the place of the old one; where that is expected to take longer
 * than they are held, somebody has to allow it. Pure but for the two questions that it asks.
 */
import type { Offer } from '../compute/contract.ts'
import { Fault } from '../kernel/fault.ts'
import type { Tx } from '../store/database.ts'
import type { DeploymentContext } from './context.ts'
import { place } from './place.ts'
import { choicesOf } from './prices.ts'
import { floorOf, policyOf } from './scaling.ts'
import type { DeploymentSpec } from './spec.ts'
import * as store from './store.ts'

export interface Roll {
  /** The revision may take the only place there is. */
  inPlace: boolean
  /** What to say of it; null = nothing special. */
  note: string | null
}

/** Throws Fault `downtime_not_allowed` {expected_start_seconds, hold_max_seconds}. `free`: what is free now. */
export async function checkDowntime(
  tx: Tx,
  row: store.DeploymentRow,
  { spec, allowed, free }: { spec: DeploymentSpec; allowed: boolean; free: readonly Offer[] },
  context: DeploymentContext,
): Promise<Roll> {
  const { holdMaxSeconds, startExpectedSeconds, hardware } = context
  const measured = await store.lastStartMs(tx, row, spec.modelId)
  const seconds = Math.max(1, Math.round(measured === null ? startExpectedSeconds : measured / 1000))
  const inPlace = allowed || seconds <= holdMaxSeconds
  const others = row.ready_replicas > 1
  if (row.desired !== 'running' || row.ready_replicas === 0 || others) return { inPlace, note: null }
  const usable = choicesOf(spec, floorOf(policyOf(row)), hardware).filter((choice) => choice.skipped === null)
  if (place(usable, free, 1).length > 0) return { inPlace, note: null }
  const source = measured === null ? 'as none was measured' : 'as the last one did'
  const takes = `its start is expected to take ${seconds} s, ${source}`
  if (inPlace) return { inPlace, note: `There is no spare hardware: it goes in place, requests are held; ${takes}.` }
  throw new Fault(
    'downtime_not_allowed',
    `There is no spare hardware, so the new revision would start in the place of the old one; ${takes}, and requests are held ${holdMaxSeconds} s at most.`,
    { detail: { expected_start_seconds: seconds, hold_max_seconds: holdMaxSeconds } },
  )
}
