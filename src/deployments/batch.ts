/**
 * One look at many deployments: read together, decided one by one. Those with nothing to do are released together, with
 * nothing written; the others each take a turn.
 */
import { type Lease, releaseMany } from '../store/leases.ts'
import { type Market, readMarket } from './offers.ts'
import { takeSnapshots } from './snapshot.ts'
import { type Decided, decide, followed, isQuiet, type TurnWorld } from './turn.ts'

export interface Busy {
  lease: Lease
  /** null = it could not be decided, and shows why in its own turn. */
  decided: Decided | null
}

/** Those that need a turn; all others are released. */
export async function lookAtMany(world: TurnWorld, leases: readonly Lease[]): Promise<Busy[]> {
  const ids = leases.map(({ id }) => id)
  const snapshots = await takeSnapshots(world, ids)
  let read: Promise<Market> | null = null
  const market = () => (read ??= readMarket(world))
  const busy: Busy[] = []
  const quiet: { lease: Lease; nextAt: number | null }[] = []
  for (const lease of leases) {
    const snapshot = snapshots.get(lease.id)
    if (snapshot === undefined) {
      quiet.push({ lease, nextAt: null })
      continue
    }
    const decided = await decide(world, snapshot, market).catch(() => null)
    if (decided === null || !isQuiet(world, decided)) {
      busy.push({ lease, decided })
      continue
    }
    world.follow(lease.id, followed(decided))
    quiet.push({ lease, nextAt: decided.result.wakeAt })
  }
  if (quiet.length > 0) await world.db.tx((tx) => releaseMany(tx, quiet))
  for (const { nextAt } of quiet) world.due(nextAt)
  return busy
}
