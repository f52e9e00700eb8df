/** Which models go when the cache is full. Pure. */
export interface Kept {
  key: string
  /** ms since epoch. */
  usedAt: number
  /** A replica that lives uses it, or will. */
  live: boolean
}

/** Those that may go, the first to go first. What a replica uses is never among them. */
export function evictionOrder(kept: readonly Kept[]): string[] {
  return kept
    .filter(({ live }) => !live)
    .sort((a, b) => a.usedAt - b.usedAt || (a.key < b.key ? -1 : 1))
    .map(({ key }) => key)
}
