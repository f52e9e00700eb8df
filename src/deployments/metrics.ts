/** Use case: what a deployment does right now and did of late, as its gateways saw it. */
import { type AskedNow, askedNow } from '../access/gateways.ts'
import type { Principal } from '../access/permissions.ts'
import { samplesSince } from '../usage/metrics/store.ts'
import { type Measured, measuredOf, type Window, windowMs } from '../usage/metrics/view.ts'
import { type AdapterUsage, adapterUsage } from '../usage/store.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { replicasNow } from './metrics-store.ts'
import type { ReplicaPhase } from './replica.ts'
import type { DeploymentRow } from './store.ts'

export interface MetricsView {
  deployment: Pick<DeploymentRow, 'id' | 'name' | 'phase' | 'emulated'> & {
    simulated: boolean
    servedBy: string | null
  }
  window: Window
  from: Date
  to: Date
  /** null = no gateway has said anything: neither that there were requests nor that there were none. */
  measured: Measured | null
  /** Adapters and mixtures that were asked for, in whole minutes. */
  adapters: AdapterUsage[]
  now: AskedNow
  desiredReplicas: number
  readyReplicas: number
  /** Phases that some of them are in. */
  replicas: Partial<Record<ReplicaPhase, number>>
}

export class DeploymentMetrics {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  /** What gateways have told up to now, which is what happened up to two seconds ago. */
  async read(principal: Principal, idOrName: string, window: Window): Promise<MetricsView> {
    const { db, clock, models } = this.#context
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const to = clock.now()
    // A deployment that is younger than the window was not asked before there was one.
    const from = Math.max(to - windowMs[window], Math.min(row.created_at.getTime(), to))
    const replicas = await replicasNow(db, row.id)
    const ids = replicas.map(({ id }) => id)
    const [lines, now, adapters] = await Promise.all([
      samplesSince(db, row.id, from, windowMs[window]),
      askedNow(db, row.id, ids, to),
      adapterUsage(db, row.id, from),
    ])
    const isKnown = lines.length > 0 || now.heard > 0
    return {
      deployment: {
        id: row.id,
        name: row.name,
        phase: row.phase,
        emulated: row.emulated,
        simulated: row.spec.engine.type === 'simulated',
        servedBy: models.standIn(row.spec.modelId),
      },
      window,
      from: new Date(from),
      to: new Date(to),
      measured: isKnown ? measuredOf(lines, (to - from) / 1000) : null,
      adapters,
      now,
      desiredReplicas: row.desired === 'running' ? row.desired_replicas : 0,
      readyReplicas: row.ready_replicas,
      replicas: counted(replicas),
    }
  }
}

function counted(replicas: readonly { phase: ReplicaPhase }[]): MetricsView['replicas'] {
  const counts: MetricsView['replicas'] = {}
  for (const { phase } of replicas) counts[phase] = (counts[phase] ?? 0) + 1
  return counts
}
