/** How many requests per second a front answers while 99 of 100 are within a bound: ever more clients at once. */
import { type Front, send } from './cost.ts'
import { quantile } from './numbers.ts'
import type { Helper } from './process.ts'

export const boundsMs = [1, 5, 10, 50] as const
const clients = [1, 2, 4, 8, 16, 32, 64, 128] as const

export interface Frontier {
  /** Requests per second per bound of `boundsMs`, without an error; 0 = none was quick enough. */
  within: number[]
  best: number
}

export async function frontier(load: Helper, front: Front, requests: number): Promise<Frontier> {
  const result: Frontier = { within: boundsMs.map(() => 0), best: 0 }
  for (const connections of clients) {
    const from = performance.now()
    const { total } = await send(load, front, { connections, requests, stream: null })
    const rate = requests / ((performance.now() - from) / 1000)
    const p99 = quantile(total, 0.99)
    boundsMs.forEach((bound, n) => {
      if (p99 <= bound) result.within[n] = Math.max(result.within[n]!, rate)
    })
    result.best = Math.max(result.best, rate)
  }
  return result
}
