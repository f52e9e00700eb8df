/** What all gateways say together, per deployment: their counters become counts since the last time. */
import type { Demand } from '../usage/demand.ts'

export interface GatewayReportView {
  id: string
  demand: Record<string, unknown>
  /** Replica id → requests in flight. */
  inFlight: Record<string, number>
}

export interface ReportedDemand {
  inFlight: number
  held: number
  rejected: number
  arrivals: number
  ttftMsP90: number | null
}

type Totals = Pick<Demand, 'arrivals' | 'rejected'>

export class Demands {
  /** Gateway and deployment → the counters as last seen. */
  readonly #seen = new Map<string, Totals>()

  /** Deployments of which these reports tell more than that nobody asks. */
  active(gateways: readonly GatewayReportView[], ownerOf: (replicaId: string) => string | undefined): Set<string> {
    const active = new Set<string>()
    for (const { id, demand, inFlight } of gateways) {
      for (const [replicaId, count] of Object.entries(inFlight)) {
        const owner = count > 0 ? ownerOf(replicaId) : undefined
        if (owner !== undefined) active.add(owner)
      }
      for (const [deploymentId, said] of Object.entries(demand))
        if (this.#tells(`${id}/${deploymentId}`, said as Demand)) active.add(deploymentId)
    }
    return active
  }

  #tells(key: string, { held, arrivals, rejected, ttftMsP90 }: Demand): boolean {
    const before = this.#seen.get(key)
    const counted = before === undefined || arrivals !== before.arrivals || rejected !== before.rejected
    return counted || held > 0 || ttftMsP90 !== null
  }

  /** Each of these deployments has an answer: a gateway that does not name it was asked nothing. */
  gather(
    gateways: readonly GatewayReportView[],
    rows: readonly { id: string; replica_ids: string[] }[],
  ): Map<string, ReportedDemand> {
    return new Map(rows.map((row) => [row.id, this.#of(row, gateways)]))
  }

  #of(row: { id: string; replica_ids: string[] }, gateways: readonly GatewayReportView[]): ReportedDemand {
    const sum: ReportedDemand = { inFlight: 0, held: 0, rejected: 0, arrivals: 0, ttftMsP90: null }
    for (const gateway of gateways) {
      for (const id of row.replica_ids) sum.inFlight += gateway.inFlight[id] ?? 0
      const demand = gateway.demand[row.id] as Demand | undefined
      if (demand === undefined) continue
      const fresh = this.#since(`${gateway.id}/${row.id}`, demand)
      sum.held += demand.held
      sum.arrivals += fresh.arrivals
      sum.rejected += fresh.rejected
      if (demand.ttftMsP90 !== null) sum.ttftMsP90 = Math.max(sum.ttftMsP90 ?? 0, demand.ttftMsP90)
    }
    return sum
  }

  /** A counter that fell began anew: its gateway was restarted. What is seen for the first time counts from now on. */
  #since(key: string, { arrivals, rejected }: Totals): Totals {
    const before = this.#seen.get(key)
    this.#seen.set(key, { arrivals, rejected })
    if (!before) return { arrivals: 0, rejected: 0 }
    if (arrivals < before.arrivals) return { arrivals, rejected }
    return { arrivals: arrivals - before.arrivals, rejected: Math.max(0, rejected - before.rejected) }
  }
}
