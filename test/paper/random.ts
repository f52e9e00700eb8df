/** Seeded random numbers (mulberry32), so that a failing run can be replayed with SEED=…. */
export class Random {
  #state: number
  readonly seed: number
  constructor(seed: number) {
    this.seed = seed
    this.#state = seed >>> 0
  }
  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  int(from: number, to: number): number {
    return from + Math.floor(this.float() * (to - from + 1))
  }
  chance(probability: number): boolean {
    return this.float() < probability
  }
  pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[Math.floor(this.float() * items.length)]
  }
  /** One of the named choices, by weight. */
  weighted<T extends string>(weights: Record<T, number>): T {
    const { names, upTo } = table(weights)
    const at = this.float() * upTo.at(-1)!
    return names[upTo.findIndex((end) => at < end)] as T
  }
}

interface Table {
  names: string[]
  /** The sum of the weights up to and with each. */
  upTo: number[]
}

const tables = new WeakMap<object, Table>()

function table(weights: Record<string, number>): Table {
  let known = tables.get(weights)
  if (known === undefined) {
    let sum = 0
    known = { names: Object.keys(weights), upTo: Object.values(weights).map((weight) => (sum += weight)) }
    tables.set(weights, known)
  }
  return known
}
