/** What a front adds to the time of one request alone: rounds in turns, the engine without a front among them. */
import { median } from '../median.ts'
import { type Asked, type Front, send } from './cost.ts'
import { quantile } from './numbers.ts'
import type { Helper } from './process.ts'

interface Figure {
  asked: Asked
  /** Of which times, milliseconds. */
  of: 'total' | 'first'
  q: number
}

const plain: Asked = { connections: 1, requests: 1_500, stream: null }
const first: Asked = { connections: 1, requests: 1_000, stream: { events: 2, paceMs: 1 } }

/** `beyond`: by how much ours may be above nginx's, in ms. */
export const oneClient: readonly (Figure & { name: string; beyond: number })[] = [
  { name: 'added p50, one client', asked: plain, of: 'total', q: 0.5, beyond: 0.3 },
  { name: 'added p99, one client', asked: plain, of: 'total', q: 0.99, beyond: 1 },
  { name: 'added p99 of the first event', asked: first, of: 'first', q: 0.99, beyond: 1 },
]

/** Milliseconds beyond those of the engine asked directly, per front; `enginePort` is where nothing is between. */
export async function added(
  load: Helper,
  fronts: ReadonlyMap<string, Front>,
  enginePort: number,
  { asked, of, q, rounds }: Figure & { rounds: number },
): Promise<Map<string, number>> {
  const each = new Map<string, number[]>([...fronts.keys()].map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    const base = quantile((await send(load, { port: enginePort }, asked))[of], q)
    for (const [name, front] of fronts) each.get(name)!.push(quantile((await send(load, front, asked))[of], q) - base)
  }
  return new Map([...each].map(([name, all]) => [name, median(all)]))
}
