/** How many workers a gateway has. Pure. */

export interface WorkersAsked {
  /** By the setting; 0 = as many as suit the machine. */
  asked: number
  cores: number
  /** Several sockets of this system can listen on one port. */
  canSharePort: boolean
}

/** `notice`: why there are fewer than was asked or suits; null when there are not. */
export function decideWorkers({ asked, cores, canSharePort }: WorkersAsked): {
  workers: number
  notice: string | null
} {
  const wanted = asked > 0 ? asked : Math.max(1, cores - 1)
  if (wanted === 1 || canSharePort) return { workers: wanted, notice: null }
  const notice = `Requests are answered by one worker instead of ${wanted}: on this system, threads cannot share a port (reusePort).`
  return { workers: 1, notice }
}
