/** What is to happen when: a heap, so that thirty thousand machines cost as little as three. */

interface Entry {
  at: number
  /** Among entries of one moment the first added is the first to happen. */
  order: number
  happen: (at: number) => void
}

export class Agenda {
  readonly #heap: Entry[] = []
  #added = 0

  /** ms since epoch; null = nothing is to happen. */
  get nextAt(): number | null {
    return this.#heap[0]?.at ?? null
  }

  add(at: number, happen: (at: number) => void): void {
    this.#heap.push({ at, order: this.#added++, happen })
    this.#rise(this.#heap.length - 1)
  }

  /** Lets everything happen that is due by `now`, in order of time; also what that adds. */
  settle(now: number): void {
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      this.#drop()
      first.happen(first.at)
    }
  }

  #drop(): void {
    const last = this.#heap.pop()!
    if (this.#heap.length === 0) return
    this.#heap[0] = last
    this.#sink()
  }

  #rise(index: number): void {
    const heap = this.#heap
    for (let i = index; i > 0; ) {
      const parent = (i - 1) >> 1
      if (!sooner(heap[i]!, heap[parent]!)) return
      ;[heap[i], heap[parent]] = [heap[parent]!, heap[i]!]
      i = parent
    }
  }

  #sink(): void {
    const heap = this.#heap
    for (let i = 0; ; ) {
      const [left, right] = [2 * i + 1, 2 * i + 2]
      let least = i
      if (left < heap.length && sooner(heap[left]!, heap[least]!)) least = left
      if (right < heap.length && sooner(heap[right]!, heap[least]!)) least = right
      if (least === i) return
      ;[heap[i], heap[least]] = [heap[least]!, heap[i]!]
      i = least
    }
  }
}

function sooner(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
