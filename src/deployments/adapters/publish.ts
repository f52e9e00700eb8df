/** Makes the gateways know what changed about adapters: in the transaction in which it changed. */
import { canonical } from '../../kernel/canonical.ts'
import type { Tx } from '../../store/database.ts'
import { deploymentById, publishRoute, routeOf } from '../store.ts'
import { adaptersOf, saveSummary, statesOf } from './store.ts'
import { summaryOf, withAdapters } from './summary.ts'

/** The deployment's row must be locked. Returns the version that carries it; null = there is nothing new. */
export async function publishAdapters(tx: Tx, deploymentId: string): Promise<number | null> {
  const row = await deploymentById(tx, deploymentId)
  if (row === null) return null
  const adapters = await adaptersOf(tx, deploymentId)
  const states = await statesOf(tx, deploymentId)
  // Until the last replica has let go of the last one, somebody has to look.
  const over = adapters.length === 0 || row.desired === 'deleted'
  const called = adapters.filter((adapter) => adapter.removed_at === null)
  const summary = over
    ? null
    : summaryOf({
        adapters: called,
        states: states.map((s) => ({ ...s, adapterId: s.adapter_id, replicaId: s.replica_id })),
      })
  if (canonical(row.adapters) === canonical(summary)) return null
  await saveSummary(tx, deploymentId, summary)
  const route = await routeOf(tx, deploymentId)
  return route === null ? null : publishRoute(tx, withAdapters(route, summary))
}
