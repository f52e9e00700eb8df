/**
 * How a deployment that exists is changed: allowed, under its lock, in one transaction, once per Idempotency-Key; then
 * the reconciler looks, and the gateways know before this returns.
 */
import { propagated } from '../access/gateways.ts'
import { type Once, runOnce } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import { Fault } from '../kernel/fault.ts'
import type { Tx } from '../store/database.ts'
import { allowed, type DeploymentContext } from './context.ts'
import * as store from './store.ts'

/** What a change writes; the row is locked and as it was before. What it returns is plain JSON. */
export type Write<T = void> = (tx: Tx, row: store.DeploymentRow, at: Date) => Promise<T>

/** What `write` returned; of a repeated request what it returned the first time. */
export async function changeDeployment<T>(
  context: DeploymentContext,
  principal: Principal,
  idOrName: string,
  once: Once | null,
  write: Write<T>,
): Promise<T> {
  const { db, clock, seal } = context
  const { id } = await allowed(context, principal, idOrName, 'deployment:write')
  const { result } = await runOnce(db, seal, clock, principal.orgId, once, async (tx) => {
    // Before the row, as a create does: whoever holds rows never waits for the quota.
    await store.lockOrg(tx, principal.orgId)
    const row = await store.lockDeployment(tx, id)
    if (!row || row.desired === 'deleted')
      throw new Fault('not_found', `There is no deployment "${idOrName}" in this organisation.`)
    const at = new Date(clock.now())
    const said = await write(tx, row, at)
    await store.touch(tx, id, at)
    return { said, routesVersion: (await store.routeOf(tx, id))?.version ?? 0 }
  })
  context.wake()
  await propagated(db, clock, 'routes', result.routesVersion)
  return result.said
}
