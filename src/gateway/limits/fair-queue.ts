/**
 * Those who wait for the same thing, in fair order: keys take turns by what they were given (start-time fair queueing),
 * not by how much they ask. What a request takes counts in estimated tokens, halved for every step of priority. Within a
 * key its priorities share alike, and one priority is first come, first served. Every share is above zero, so nobody
 * starves. Pure: no clock, no promises.
 */
export interface Waiting {
  /** Whose turn it uses. */
  readonly keyId: string
  /** 0 to 4. */
  readonly priority: number
  /** Estimated tokens, at least 1. */
  readonly cost: number
  /** What it needs that others of its key may not: who waits for something else is no reason that it waits. Absent = nothing. */
  readonly needs?: string | undefined
}

/** What was given to somebody, in cost; whoever was given least is next. */
interface Flow {
  given: number
}

interface Line<W> extends Flow {
  waiting: W[]
}

interface KeyFlow<W> extends Flow {
  /** By priority; made when one is used. */
  lines: (Line<W> | undefined)[]
  /** What the line that was served last had been given. */
  level: number
  size: number
}

export class FairQueue<W extends Waiting> {
  readonly #keys = new Map<string, KeyFlow<W>>()
  /** What the key that was served last had been given: who comes back starts from here, without credit from before. */
  #level = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Keys that are remembered. */
  get keys(): number {
    return this.#keys.size
  }

  add(one: W): void {
    this.#enter(one).waiting.push(one)
  }

  /** It had its turn, and got nothing for it: it is first again, and its key gets back what it was charged. */
  restore(one: W): void {
    const before = this.#keys.get(one.keyId)
    const line = this.#enter(one)
    line.waiting.unshift(one)
    if (before === undefined) return
    before.given -= chargeOf(one)
    line.given -= chargeOf(one)
  }

  #enter(one: W): Line<W> {
    let flow = this.#keys.get(one.keyId)
    if (flow === undefined) {
      flow = { given: this.#level, lines: [], level: 0, size: 0 }
      this.#keys.set(one.keyId, flow)
    }
    if (flow.size === 0) flow.given = Math.max(flow.given, this.#level)
    const line = (flow.lines[one.priority] ??= { given: 0, waiting: [] })
    if (line.waiting.length === 0) line.given = Math.max(line.given, flow.level)
    flow.size += 1
    this.#size += 1
    return line
  }

  /** It waits no more, and was given nothing. False when it is not here. */
  drop(one: W): boolean {
    return this.#leave(one) !== null
  }

  /** It has its turn: its key is charged. */
  serve(one: W): void {
    const found = this.#leave(one)
    if (found === null) return
    const { flow, line } = found
    this.#level = Math.max(this.#level, flow.given)
    flow.level = Math.max(flow.level, line.given)
    flow.given += chargeOf(one)
    line.given += chargeOf(one)
    this.#forget()
  }

  /** Whose turn it is among those that `may`; null = nobody's. A key is asked once per priority and need. */
  next(may: ((one: W) => boolean) | null = null): W | null {
    let best: W | null = null
    let least = Number.POSITIVE_INFINITY
    for (const flow of this.#keys.values()) {
      if (flow.size === 0 || flow.given >= least) continue
      const one = firstOf(flow, may)
      if (one === null) continue
      best = one
      least = flow.given
    }
    return best
  }

  #leave(one: W): { flow: KeyFlow<W>; line: Line<W> } | null {
    const flow = this.#keys.get(one.keyId)
    const line = flow?.lines[one.priority]
    const at = line?.waiting.indexOf(one) ?? -1
    if (flow === undefined || line === undefined || at === -1) return null
    line.waiting.splice(at, 1)
    flow.size -= 1
    this.#size -= 1
    if (this.#size === 0) {
      this.#keys.clear()
      this.#level = 0
    }
    return { flow, line }
  }

  /** Keys that do not wait and were given no more than others are as if they had never been here. */
  #forget(): void {
    for (const [keyId, flow] of this.#keys) if (flow.size === 0 && flow.given <= this.#level) this.#keys.delete(keyId)
  }
}

function chargeOf({ cost, priority }: Waiting): number {
  return cost / 2 ** priority
}

function firstOf<W extends Waiting>(flow: KeyFlow<W>, may: ((one: W) => boolean) | null): W | null {
  let best: W | null = null
  let least = Number.POSITIVE_INFINITY
  for (let priority = flow.lines.length - 1; priority >= 0; priority--) {
    const line = flow.lines[priority]
    if (line === undefined || line.waiting.length === 0 || line.given >= least) continue
    const first = may === null ? line.waiting[0]! : firstThat(may, line.waiting)
    if (first === null) continue
    best = first
    least = line.given
  }
  return best
}

/** The first of each need is asked; those behind it would hear the same. */
function firstThat<W extends Waiting>(may: (one: W) => boolean, waiting: readonly W[]): W | null {
  const asked: (string | undefined)[] = []
  for (const one of waiting) {
    if (asked.includes(one.needs)) continue
    if (may(one)) return one
    asked.push(one.needs)
  }
  return null
}
