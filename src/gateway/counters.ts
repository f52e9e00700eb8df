/**
 * What all workers of a host count together: requests and tokens with a replica, requests of a deployment or a key. A
 * name gets a slot, in which every worker counts for itself; the total is what they have counted in all.
 *
 * There is a bounded number of slots. When there is none left, a name is counted by each worker for itself: a limit is
 * then kept per worker, not per host, until somebody gives the name up and takes it again.
 */
import { CounterBoard, makeCounterBoard } from './counter-board.ts'

export interface Counters {
  /** The slot of a name. Every call is followed by one `release`; keep the slot in between. Not for every request. */
  slot(name: string): number
  /** With the last release of a slot what this worker still counts in it is struck out. */
  release(slot: number): void
  /** `by` may be negative. The slot must be held: a place that was released may be another name's. */
  add(slot: number, by: number): void
  /** Of all workers. */
  total(slot: number): number
  /** Of this worker. */
  own(slot: number): number
}

interface Held {
  name: string
  slot: number
  uses: number
}

/** The counters of one worker. */
export class LaneCounters implements Counters {
  readonly #board: CounterBoard
  readonly #words: Int32Array
  readonly #places: number
  readonly #countsAt: number
  readonly #laneWords: number
  readonly #byName = new Map<string, Held>()
  readonly #bySlot = new Map<number, Held>()
  /** Counts of names that have no place on the board; their slots are numbered behind its places. */
  readonly #alone: number[] = []
  readonly #freeAlone: number[] = []

  constructor(board: SharedArrayBuffer, lane: number) {
    this.#board = new CounterBoard(board, lane)
    this.#words = this.#board.words
    this.#places = this.#board.places
    this.#countsAt = this.#board.countsAt
    this.#laneWords = this.#board.laneWords
  }

  slot(name: string): number {
    let held = this.#byName.get(name)
    if (held === undefined) {
      const place = this.#board.take(name)
      held = { name, slot: place === -1 ? this.#takeAlone() : place, uses: 0 }
      this.#byName.set(name, held)
      this.#bySlot.set(held.slot, held)
    }
    held.uses += 1
    return held.slot
  }

  release(slot: number): void {
    const held = this.#bySlot.get(slot)
    if (held === undefined || --held.uses > 0) return
    this.#byName.delete(held.name)
    this.#bySlot.delete(slot)
    if (slot < this.#places) this.#board.give(slot)
    else this.#freeAlone.push(slot - this.#places)
  }

  add(slot: number, by: number): void {
    if (slot < this.#places) Atomics.add(this.#words, this.#countsAt + slot, by)
    else this.#alone[slot - this.#places]! += by
  }

  total(slot: number): number {
    if (slot >= this.#places) return this.#alone[slot - this.#places]!
    let sum = 0
    for (let at = this.#board.firstCountsAt + slot; at < this.#words.length; at += this.#laneWords)
      sum += Atomics.load(this.#words, at)
    return sum
  }

  own(slot: number): number {
    return slot < this.#places ? this.#words[this.#countsAt + slot]! : this.#alone[slot - this.#places]!
  }

  #takeAlone(): number {
    const at = this.#freeAlone.pop() ?? this.#alone.length
    this.#alone[at] = 0
    return this.#places + at
  }
}

/** For a gateway that is alone on its host. */
export function soloCounters(): Counters {
  return new LaneCounters(makeCounterBoard({ lanes: 1 }), 0)
}

/** The lane of a worker that has ended, for the next: nothing is in flight with it any more. */
export function clearLane(board: SharedArrayBuffer, lane: number): void {
  new CounterBoard(board, lane).clear()
}
