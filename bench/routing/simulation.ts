/** Requests, a router and simulated engines, in simulated time. */
import type { Turn } from './conversation.ts'
import { type EnginePace, pace, type Sent, SimulatedEngine } from './engine.ts'
import type { Arrival } from './traffic.ts'

/** What a router that plays fair may know: what it has been told here. */
export interface SimulatedRouter {
  /** The engine, by number, that gets this request. */
  send(turn: Turn, now: number): number
  firstToken(turn: Turn, engine: number): void
  finished(turn: Turn, engine: number): void
}

/** A clairvoyant one sees the engines. */
export type MakeRouter = (engines: readonly SimulatedEngine[]) => SimulatedRouter

export interface Outcome {
  promptTokens: number
  cachedTokens: number
  /** Seconds, in order of size. */
  firstTokenSeconds: number[]
  /** Requests of the busiest engine ÷ the average. */
  hottest: number
}

/** The cache of all engines together holds this part of all that is asked. */
export function simulate(
  arrivals: readonly Arrival[],
  make: MakeRouter,
  size: { engines: number; cacheBlocks: number },
): Outcome {
  const outcome: Outcome = { promptTokens: 0, cachedTokens: 0, firstTokenSeconds: [], hottest: 0 }
  const events = new Agenda()
  const where = new Map<Sent, number>()
  const counts = new Array<number>(size.engines).fill(0)
  const told = {
    at: (time: number, then: () => void) => events.add(time, then),
    firstToken: (sent: Sent, time: number, cached: number) => {
      outcome.promptTokens += sent.turn.promptTokens
      outcome.cachedTokens += cached
      outcome.firstTokenSeconds.push(time - sent.arrived)
      router.firstToken(sent.turn, where.get(sent)!)
    },
    finished: (sent: Sent) => {
      router.finished(sent.turn, where.get(sent)!)
      where.delete(sent)
    },
  }
  const cacheBlocks = Math.ceil(size.cacheBlocks / size.engines)
  const enginePace: EnginePace = { ...pace, cacheBlocks }
  const engines = Array.from({ length: size.engines }, () => new SimulatedEngine(enginePace, told))
  const router = make(engines)
  for (const { at, turn } of arrivals)
    events.add(at, () => {
      const sent = { turn, arrived: at }
      const engine = router.send(turn, at)
      where.set(sent, engine)
      counts[engine]! += 1
      engines[engine]!.send(sent, at)
    })
  events.run()
  outcome.firstTokenSeconds.sort((a, b) => a - b)
  outcome.hottest = (Math.max(...counts) * size.engines) / arrivals.length
  return outcome
}

/** What is to happen, the earliest first; at the same time in the order in which it was added. */
class Agenda {
  readonly #heap: { time: number; order: number; then: () => void }[] = []
  #order = 0

  add(time: number, then: () => void): void {
    const heap = this.#heap
    let at = heap.push({ time, order: this.#order++, then }) - 1
    while (at > 0 && this.#before(at, (at - 1) >> 1)) at = this.#swap(at, (at - 1) >> 1)
  }

  run(): void {
    for (let next = this.#take(); next !== undefined; next = this.#take()) next.then()
  }

  #take() {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (heap.length === 0 || last === undefined) return first
    heap[0] = last
    let at = 0
    for (;;) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < heap.length && this.#before(child, least)) least = child
      if (least === at) return first
      at = this.#swap(at, least)
    }
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a]!, this.#heap[b]!]
    return one.time < other.time || (one.time === other.time && one.order < other.order)
  }

  #swap(a: number, b: number): number {
    ;[this.#heap[a], this.#heap[b]] = [this.#heap[b]!, this.#heap[a]!]
    return b
  }
}
