/** The formulas of peers, each with its published defaults and a target by which the step needs eight. */
import { arrivalsPerSecond, type Controller, type Seen, world } from './world.ts'

const targetRequests = world.clients / world.needed
const targetPerSecond = arrivalsPerSecond / world.needed
const clip = (value: number) => Math.min(world.maximum, Math.max(1, value))
const up = (value: number) => Math.ceil(value - 1e-9)

/** The last `size` values; `sum` of them. */
class Recent {
  readonly #size: number
  readonly #values: number[] = []
  constructor(size: number) {
    this.#size = size
  }
  add(value: number): void {
    this.#values.push(value)
    if (this.#values.length > this.#size) this.#values.shift()
  }
  sum(): number {
    return this.#values.reduce((sum, value) => sum + value, 0)
  }
}

/** Mean of the last 600 s, sampled every 10 s, filled with zeros; that is its only damping. Three lower looks to go down. */
export function kubeai(): Controller {
  const active = new Recent(60)
  let wished = 1
  let lower = 0
  return ({ seconds, open }) => {
    if (seconds % 10 !== 0) return wished
    active.add(open)
    const wants = clip(up(active.sum() / 60 / targetRequests))
    lower = wants < wished ? lower + 1 : 0
    if (wants > wished || lower >= 3) wished = wants
    return wished
  }
}

/** Requests per second over 60 s, every 20 s; acts when 15 looks in a row (300 s) want more, 60 (1200 s) want less. */
export function skyserve(): Controller {
  const arrived = new Recent(60)
  let [wished, higher, lower] = [1, 0, 0]
  return ({ seconds, arrivals }) => {
    arrived.add(arrivals)
    if (seconds % 20 !== 0) return wished
    const wants = clip(up(arrived.sum() / 60 / targetPerSecond))
    higher = wants > wished ? higher + 1 : 0
    lower = wants < wished ? lower + 1 : 0
    if (higher >= 15 || lower >= 60) [wished, higher, lower] = [wants, 0, 0]
    return wished
  }
}

/** Requests per second over 60 s, every 10 s; the next change 300 s (up) or 600 s (down) after the last. */
export function dstack(): Controller {
  const arrived = new Recent(60)
  let wished = 1
  let changedAt = Number.NEGATIVE_INFINITY
  return ({ seconds, arrivals }) => {
    arrived.add(arrivals)
    if (seconds % 10 !== 0) return wished
    const wants = clip(up(arrived.sum() / 60 / targetPerSecond))
    const waits = wants > wished ? 300 : 600
    if (wants !== wished && seconds - changedAt >= waits) [wished, changedAt] = [wants, seconds]
    return wished
  }
}

/** Concurrency over 60 s, and over 6 s while that wants twice what is ready; every 2 s; no way down in panic. */
export function knative(): Controller {
  const minute = new Recent(60)
  const moment = new Recent(6)
  let wished = 1
  let panicUntil = Number.NEGATIVE_INFINITY
  return ({ seconds, open, ready }: Seen) => {
    minute.add(open)
    moment.add(open)
    if (seconds % 2 !== 0) return wished
    const stable = clip(up(minute.sum() / 60 / targetRequests))
    const sudden = clip(up(moment.sum() / 6 / targetRequests))
    if (sudden >= 2 * ready) panicUntil = seconds + 60
    wished = seconds < panicUntil ? Math.max(wished, sudden) : stable
    return wished
  }
}
