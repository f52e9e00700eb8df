/**
 * What is asked of each deployment, as one gateway sees it: the autoscaler's only signal. Requests that were held or
 * refused count like those that were answered, and adapters count for their deployment.
 */
export interface Demand {
  /** Requests that wait for a replica now. */
  held: number
  /** Requests that were answered, refused or given up since this gateway began. */
  arrivals: number
  /** Of these, refused for want of room. */
  rejected: number
  /** Last sign of a client, ms since epoch. */
  lastAt: number
  /** Since when requests wait without a break; null = none does. */
  heldSince: number | null
  /** Of streams that began in the last minute; null = there were none (not 0). */
  ttftMsP90: number | null
}

interface Counts {
  arrivals: number
  rejected: number
  lastAt: number
  heldSince: number | null
  /** [at, ttftMs], oldest first. */
  ttft: [number, number][]
}

const ttftWindowMs = 60_000
const ttftSamplesMaximum = 512
const refusedForRoom = new Set(['hold_full', 'concurrency_limited', 'quota_short'])

export class DemandCounts {
  readonly #counts = new Map<string, Counts>()

  /** A request began to wait. */
  touch(deploymentId: string, now: number): void {
    const counts = this.#of(deploymentId)
    counts.lastAt = now
    counts.heldSince ??= now
  }

  /** A request ended. `ttftMs` without the time it was held; null = there was no first token. */
  ended(deploymentId: string, code: string | null, ttftMs: number | null, now: number): void {
    const counts = this.#of(deploymentId)
    counts.arrivals += 1
    counts.lastAt = now
    if (code !== null && refusedForRoom.has(code)) counts.rejected += 1
    if (ttftMs === null) return
    counts.ttft.push([now, ttftMs])
    if (counts.ttft.length > ttftSamplesMaximum) counts.ttft.shift()
  }

  /** Everything known, with what is held now. */
  read(held: Readonly<Record<string, number>>, now: number): Record<string, Demand> {
    for (const [deploymentId, count] of Object.entries(held)) if (count > 0) this.touch(deploymentId, now)
    return Object.fromEntries(
      [...this.#counts].map(([id, counts]) => {
        const { arrivals, rejected, lastAt, ttft } = counts
        const waiting = held[id] ?? 0
        if (waiting === 0) counts.heldSince = null
        const recent = ttft.filter(([at]) => at > now - ttftWindowMs).map(([, ms]) => ms)
        const { heldSince } = counts
        return [id, { held: waiting, arrivals, rejected, lastAt, heldSince, ttftMsP90: p90(recent) }]
      }),
    )
  }

  /** Deployments that are not any more are forgotten. */
  keepOnly(isThere: (deploymentId: string) => boolean): void {
    for (const deploymentId of this.#counts.keys()) if (!isThere(deploymentId)) this.#counts.delete(deploymentId)
  }

  #of(deploymentId: string): Counts {
    let counts = this.#counts.get(deploymentId)
    if (!counts)
      this.#counts.set(deploymentId, (counts = { arrivals: 0, rejected: 0, lastAt: 0, heldSince: null, ttft: [] }))
    return counts
  }
}

/** Nearest rank; null of nothing. */
export function p90(values: readonly number[]): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * 0.9) - 1]!
}
