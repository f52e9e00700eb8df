/**
 * A set for things that come and go thousands of times a second. The built-in Set replaces its table every few changes,
 * and each table that has grown old keeps the next one, with all that it held, alive for the garbage collector: what
 * should die young was copied again and again (measured: a third of a request's cost).
 */
export interface Rostered {
  /** Place in the roster; −1 when it is in none. Only the roster writes it. */
  slot: number
}

export class Roster<T extends Rostered> {
  readonly #members: T[] = []

  get size(): number {
    return this.#members.length
  }

  add(member: T): void {
    if (member.slot !== -1) return
    member.slot = this.#members.length
    this.#members.push(member)
  }

  /** In constant time: the last one takes its place. */
  remove(member: T): void {
    const { slot } = member
    if (slot === -1 || this.#members[slot] !== member) return
    const last = this.#members.pop()!
    if (last !== member) {
      this.#members[slot] = last
      last.slot = slot
    }
    member.slot = -1
  }

  /** A copy: members may come and go while it is read. */
  list(): T[] {
    return [...this.#members]
  }
}
