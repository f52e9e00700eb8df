/** The days of the ledger: which partitions there should be, and which are over. Pure; days are UTC. */
export interface Day {
  /** `usage_requests_20261121`. */
  partition: string
  /** ms since epoch, half-open. */
  from: number
  to: number
}

export const dayMs = 86_400_000
/** Made in advance, so that a control that is away for a week is not missed. */
export const daysAhead = 7

const prefix = 'usage_requests_'

export function dayOf(ms: number): Day {
  const from = Math.floor(ms / dayMs) * dayMs
  const name = new Date(from).toISOString().slice(0, 10).replaceAll('-', '')
  return { partition: prefix + name, from, to: from + dayMs }
}

/** Today and the days to come. */
export function daysWanted(now: number): Day[] {
  return Array.from({ length: daysAhead + 1 }, (_, n) => dayOf(now + n * dayMs))
}

/** Requests that arrived before this moment may be forgotten. */
export function forgottenBefore(now: number, retentionDays: number): number {
  return now - retentionDays * dayMs
}

/**
 * Requests that arrived before this moment are not taken any more: that they were taken before may be forgotten. A day
 * earlier than they are forgotten, for clocks that differ.
 */
export function takenFrom(now: number, retentionDays: number): number {
  return forgottenBefore(now, retentionDays) + dayMs
}

/** Those of the partitions whose whole day lies before `before`. */
export function partitionsOver(partitions: readonly string[], before: number): string[] {
  return partitions.filter((name) => {
    const digits = name.startsWith(prefix) ? /^(\d{4})(\d{2})(\d{2})$/.exec(name.slice(prefix.length)) : null
    return digits !== null && Date.parse(`${digits[1]}-${digits[2]}-${digits[3]}T00:00:00Z`) + dayMs <= before
  })
}
