/** Use case of the operator: everything measured, of all deployments, gateways and control itself. */
import { demandReports, processReports, registered } from '../access/gateways.ts'
import type { Clock } from '../runtime/clock.ts'
import type { ProcessHealth } from '../runtime/process-health.ts'
import type { Database } from '../store/database.ts'
import type { Points } from '../usage/metrics/families.ts'
import { type Now, nowPoints, totalPoints } from '../usage/metrics/points.ts'
import type { Totals } from '../usage/metrics/totals.ts'
import { liveModels, liveReplicas } from './metrics-store.ts'

/** Most deployments with a name of their own among what is so now. */
const deploymentsMaximum = 1_000

export interface AllMetricsParts {
  db: Database
  clock: Clock
  totals: Totals
  /** How control's own process is. */
  health(): ProcessHealth
}

export class AllMetrics {
  readonly #parts: AllMetricsParts
  constructor(parts: AllMetricsParts) {
    this.#parts = parts
  }

  /** Rejects while the database is away: figures that stand still would be taken for quiet. */
  async read(): Promise<Points> {
    const { db, totals } = this.#parts
    await totals.catchUp()
    const models = await liveModels(db)
    totals.keepOnly(new Set(models.keys()))
    return { ...totalPoints(totals.entries(), models), ...nowPoints(await this.#now(), deploymentsMaximum) }
  }

  async #now(): Promise<Now> {
    const { db, clock, health } = this.#parts
    const now = clock.now()
    const [demand, register, processes, replicas] = await Promise.all([
      demandReports(db, now),
      registered(db),
      processReports(db, now),
      liveReplicas(db),
    ])
    const inFlight = new Map<string, number>()
    const held = new Map<string, number>()
    const queued = new Map<string, number>()
    const phases = new Map<string, Now['replicas'][number]>()
    for (const { id, deploymentId, phase } of replicas) {
      const count = (phases.get(`${deploymentId} ${phase}`)?.count ?? 0) + 1
      phases.set(`${deploymentId} ${phase}`, { deploymentId, phase, count })
      for (const gateway of demand.gateways) add(inFlight, deploymentId, gateway.inFlight[id] ?? 0)
    }
    for (const gateway of demand.gateways)
      for (const [id, asked] of Object.entries(gateway.demand)) add(held, id, (asked as { held?: number }).held ?? 0)
    for (const gateway of processes) for (const [id, count] of Object.entries(gateway.queued)) add(queued, id, count)
    return {
      gateways: { heard: demand.gateways.length, silent: register.length - demand.gateways.length },
      inFlight,
      held,
      queued,
      replicas: [...phases.values()],
      processes: [
        { name: 'control', health: health() },
        ...processes.map(({ id, process }) => ({ name: id, health: process as Partial<ProcessHealth> })),
      ],
    }
  }
}

function add(counts: Map<string, number>, id: string, count: number): void {
  counts.set(id, (counts.get(id) ?? 0) + count)
}
