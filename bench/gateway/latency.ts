/** What a front adds to the time of one request alone: rounds in turns, the engine without a front among them. */
import { median } from '../median.ts'
import { type Asked, type Front, send } from './cost.ts'
import { quantile } from './numbers.ts'
import type { Helper } from './process.ts'

export interface Added {
  /** Milliseconds beyond those of the engine asked directly. */
  p50: number
  p99: number
  /** Of the first event of a stream. */
  firstP99: number
}

const plain: Asked = { connections: 1, requests: 1_500, stream: null }
const first: Asked = { connections: 1, requests: 1_000, stream: { events: 2, paceMs: 1 } }

/** Per front, by name. `enginePort` is where there is nothing between. */
export async function added(
  load: Helper,
  fronts: ReadonlyMap<string, Front>,
  enginePort: number,
  rounds: number,
): Promise<Map<string, Added>> {
  const direct = { port: enginePort }
  const each = new Map([...fronts.keys()].map((name) => [name, { p50: [], p99: [], firstP99: [] } as Rounds]))
  for (let round = 0; round < rounds; round++) {
    const base = await times(load, direct)
    for (const [name, front] of fronts) {
      const got = await times(load, front)
      for (const key of ['p50', 'p99', 'firstP99'] as const) each.get(name)![key].push(got[key] - base[key])
    }
  }
  return new Map(
    [...each].map(([name, { p50, p99, firstP99 }]) => [
      name,
      { p50: median(p50), p99: median(p99), firstP99: median(firstP99) },
    ]),
  )
}

type Rounds = Record<keyof Added, number[]>

async function times(load: Helper, front: Omit<Front, 'pid'>): Promise<Added> {
  const { total } = await send(load, front, plain)
  const { first: firsts } = await send(load, front, first)
  return { p50: quantile(total, 0.5), p99: quantile(total, 0.99), firstP99: quantile(firsts, 0.99) }
}
