/**
 * The memory in which all workers of a host count: a table of names, and for every worker a lane with one number per
 * place of the table. A worker writes in its own lane only, so that the count of one that died can be struck out whole.
 *
 *   head     the lock, and what the sizes are
 *   names    64 bits of hash per place
 *   lanes    per worker: its count per place, then whether it counts there
 *
 * Every write leaves the board in order if nothing follows it: a worker may be ended between any two. A place belongs to
 * its name as long as one worker says that it counts there; only then, and under the lock, may it become another's.
 */
import { createHash } from 'node:crypto'

const headWords = 16
const lockAt = 0
const placesAt = 1
const lanesAt = 2
/** A name stands at most this far behind where its hash points. */
const window = 64
/** Longest that a worker waits for another to find a place, in turns of `lockTurnMs`. */
const lockTurns = 100
const lockTurnMs = 1
/** With eight workers 1.1 MiB, of which only what is used is ever touched. */
export const placesDefault = 16_384

/** Zero everywhere: nobody counts. `places` is rounded up to a power of two. */
export function makeCounterBoard(options: { lanes: number; places?: number }): SharedArrayBuffer {
  const lanes = Math.max(1, Math.floor(options.lanes))
  const places = 2 ** Math.ceil(Math.log2(Math.max(2, options.places ?? placesDefault)))
  const words = new Int32Array(new SharedArrayBuffer(4 * (headWords + places * 2 * (1 + lanes))))
  words[placesAt] = places
  words[lanesAt] = lanes
  return words.buffer as SharedArrayBuffer
}

/** The board as one worker sees it. */
export class CounterBoard {
  readonly words: Int32Array
  readonly places: number
  readonly lanes: number
  readonly #lane: number

  /** Throws when the board has no such lane. */
  constructor(buffer: SharedArrayBuffer, lane: number) {
    this.words = new Int32Array(buffer)
    this.places = this.words[placesAt]!
    this.lanes = this.words[lanesAt]!
    this.#lane = lane
    if (!Number.isInteger(lane) || lane < 0 || lane >= this.lanes)
      throw new Error(`there is no lane ${lane}: the board has ${this.lanes}`)
  }

  /** Where in `words` this lane's count of the first place is; the others follow. */
  get countsAt(): number {
    return this.#countsOf(this.#lane)
  }

  /** The same of the first lane. */
  get firstCountsAt(): number {
    return this.#countsOf(0)
  }

  /** How far it is from a lane's count to the next lane's count of the same place. */
  get laneWords(): number {
    return this.places * 2
  }

  /** The place of this name, where this worker counts from now on; −1 when none is free near it, or nobody answers. */
  take(name: string): number {
    const [high, low] = hashOf(name)
    if (!this.#lock()) return -1
    const place = this.#find(high, low)
    if (place !== -1) {
      const at = this.#nameAt(place)
      Atomics.store(this.words, at, high)
      Atomics.store(this.words, at + 1, low)
      Atomics.store(this.words, this.#usedAt(this.#lane, place), 1)
    }
    this.#unlock()
    return place
  }

  /** This worker counts there no more, whatever its count was. */
  give(place: number): void {
    Atomics.store(this.words, this.countsAt + place, 0)
    Atomics.store(this.words, this.#usedAt(this.#lane, place), 0)
  }

  /** Strikes out what a worker that has ended had counted, and takes the lock from it if it had it. */
  clear(): void {
    for (let place = 0; place < this.places; place++)
      if (this.words[this.countsAt + place] !== 0 || this.words[this.#usedAt(this.#lane, place)] !== 0) this.give(place)
    this.#unlock()
  }

  /** The name's own place, else the first that nobody uses. Looks at all of them: the name may stand behind a free one. */
  #find(high: number, low: number): number {
    let free = -1
    for (let step = 0; step < Math.min(window, this.places); step++) {
      const place = (low + step) & (this.places - 1)
      const at = this.#nameAt(place)
      if (this.words[at] === high && this.words[at + 1] === low) return place
      if (free === -1 && this.#isFree(place)) free = place
    }
    return free
  }

  #isFree(place: number): boolean {
    for (let lane = 0; lane < this.lanes; lane++)
      if (Atomics.load(this.words, this.#usedAt(lane, place)) !== 0) return false
    return true
  }

  #lock(): boolean {
    for (let turn = 0; turn < lockTurns; turn++) {
      const holder = Atomics.compareExchange(this.words, lockAt, 0, this.#lane + 1)
      if (holder === 0) return true
      // A worker that was ended meanwhile holds it until its lane is cleared.
      Atomics.wait(this.words, lockAt, holder, lockTurnMs)
    }
    return false
  }

  #unlock(): void {
    const me = this.#lane + 1
    if (Atomics.compareExchange(this.words, lockAt, me, 0) === me) Atomics.notify(this.words, lockAt)
  }

  #nameAt(place: number): number {
    return headWords + place * 2
  }

  #countsOf(lane: number): number {
    return headWords + this.places * 2 * (1 + lane)
  }

  #usedAt(lane: number, place: number): number {
    return this.#countsOf(lane) + this.places + place
  }
}

/** Never zero, which is a place that never had a name. */
function hashOf(name: string): [number, number] {
  const hash = createHash('sha256').update(name).digest()
  return [hash.readInt32LE(0) || 1, hash.readInt32LE(4)]
}
