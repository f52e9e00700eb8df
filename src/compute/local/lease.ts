/** When a keeper gives up because nobody wants its engine any more. Pure; time is monotonic. */

export interface LeaseWatch {
  /** Changes at every renewal; null while the lease file cannot be read. */
  mark: string | null
  changedAtMs: number
  /** Looks in a row that found no lease file. */
  missing: number
}

/** A folder that is not there for this many looks in a row was removed, not just swapped. */
const missingLooksMaximum = 3

export function lookAtLease(
  before: LeaseWatch,
  mark: string | null,
  nowMs: number,
  leaseSeconds: number,
): { watch: LeaseWatch; verdict: 'held' | 'expired' | 'folder_gone' } {
  if (mark === null) {
    const missing = before.missing + 1
    return { watch: { ...before, missing }, verdict: missing >= missingLooksMaximum ? 'folder_gone' : 'held' }
  }
  if (mark !== before.mark) return { watch: { mark, changedAtMs: nowMs, missing: 0 }, verdict: 'held' }
  const expired = nowMs - before.changedAtMs > leaseSeconds * 1000
  return { watch: { ...before, missing: 0 }, verdict: expired ? 'expired' : 'held' }
}

/** Ten looks per lease, at least every 5 s, at most ten a second. */
export function lookEveryMs(leaseSeconds: number): number {
  return Math.min(5_000, Math.max(100, leaseSeconds * 100))
}
