/** Stopping a deployment and bringing it back, whoever asks: people, the inactive timeout, its schedule, its lease. */
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import { reasonOf } from '../kernel/phase.ts'
import type { Tx } from '../store/database.ts'
import { beginCold, endCold } from './cold-store.ts'
import type { DeploymentContext } from './context.ts'
import { checkQuota } from './quota.ts'
import { boundsOf, limitsOf, policyOf } from './scaling.ts'
import { type StopCause, stoppingBecause } from './stopped.ts'
import * as store from './store.ts'
import { setDesiredReplicas } from './wanted.ts'

/** `row`: as locked, running. `by`: who asked, for the event. The gateways refuse from this transaction on. */
export async function stopDeployment(
  tx: Tx,
  row: store.DeploymentRow,
  { cause, by }: { cause: StopCause; by: string },
  at: Date,
): Promise<void> {
  const reason = reasonOf('stopping', at, stoppingBecause(cause))
  await store.setStopped(tx, row.id, cause, reason, at)
  await endCold(tx, row.id)
  await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'deployment.stop_asked', data: { by }, at })
  const route = await store.routeOf(tx, row.id)
  if (route) await store.publishRoute(tx, { ...route, phase: 'stopping', reason })
  await store.touch(tx, row.id, at)
}

/**
 * Brings a stopped or failed one back. What does not run holds nothing of the quota: it is checked as if it were new.
 * Throws Fault `quota_exceeded`, or `conflict` after the end of its lease, before anything is written.
 */
export async function bringBack(context: DeploymentContext, tx: Tx, row: store.DeploymentRow, at: Date): Promise<void> {
  if (row.expires_at !== null && row.expires_at <= at)
    throw new Fault('conflict', `Its lease ended at ${row.expires_at.toISOString()}.`, {
      action: 'Give it a later expires_at, or null, then start it.',
    })
  const scaling = policyOf(row)
  const { floor } = boundsOf(scaling, limitsOf(row))
  const desiredReplicas = Math.max(floor, row.desired_replicas)
  await checkQuota(tx, row.org_id, { id: row.id, spec: row.spec, scaling, desiredReplicas }, context)
  await store.setRunning(tx, row.id, at)
  await store.resetStarts(tx, row.id)
  const running = { ...row, desired: 'running' as const, phase: 'starting' as const }
  await setDesiredReplicas(tx, { row: running, to: desiredReplicas, cause: 'start', why: 'It was started again.', at })
  await beginCold(tx, row.id, 'start', at)
  await store.touch(tx, row.id, at)
}
