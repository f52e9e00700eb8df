/**
 * Consistent hashing: which replica a prompt that nobody has seen goes to. Every gateway comes to the same answer from
 * the replicas' names alone, and when a replica comes or goes only its own share moves. Pure.
 */
import { mixed, textHash } from './hash.ts'

export interface RingMember {
  id: string
  /** 1 … 100: its share of the ring. */
  weight: number
}

/** Points of a member of full weight. */
const pointsPerMember = 256
const fullWeight = 100

export class Ring {
  readonly #points: Uint32Array
  /** Index of the member to whom a point belongs. */
  readonly #owners: Uint16Array

  constructor(members: readonly RingMember[]) {
    const points: { at: number; owner: number }[] = []
    members.forEach(({ id, weight }, owner) => {
      const count = Math.max(1, Math.round((pointsPerMember * weight) / fullWeight))
      const start = textHash(id)
      for (let i = 0; i < count; i++) points.push({ at: mixed(start + Math.imul(i, 0x9e3779b9)), owner })
    })
    points.sort((a, b) => a.at - b.at || a.owner - b.owner)
    this.#points = Uint32Array.from(points, ({ at }) => at)
    this.#owners = Uint16Array.from(points, ({ owner }) => owner)
  }

  /** Where on the ring a key stands. */
  place(key: number): number {
    const at = mixed(key)
    let low = 0
    let high = this.#points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#points[middle]! < at) low = middle + 1
      else high = middle
    }
    return low === this.#points.length ? 0 : low
  }

  /** The member at a place, or `steps` points further round. */
  owner(place: number, steps = 0): number {
    return this.#owners[(place + steps) % this.#owners.length]!
  }

  get size(): number {
    return this.#points.length
  }
}
