/**
 * Hashes that were seen lately, in a fixed piece of memory that several workers may share: the one that was not seen for
 * longest gives way. It is kept in rows of eight, so that finding, adding and forgetting cost the same few compares
 * however many there are; within a row what gives way is exactly the oldest, over all of them nearly.
 *
 * Nobody waits for anybody: workers that write the same place at once lose one of two hashes, which costs a cache hit.
 */
const rowLength = 8
const turnAt = 0
const headWords = rowLength

/** For so many hashes, rounded up to a power of two. */
export function makeRecentMemory(count: number): SharedArrayBuffer {
  const rows = 2 ** Math.ceil(Math.log2(Math.max(1, count / rowLength)))
  return new SharedArrayBuffer(4 * (headWords + 2 * rows * rowLength))
}

export class RecentHashes {
  /** A row of hashes (zero = nothing there), then when each of them was seen. */
  readonly #words: Int32Array
  readonly #lastRow: number
  #now: number

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory)
    this.#lastRow = (this.#words.length - headWords) / (2 * rowLength) - 1
    this.#now = this.#words[turnAt]!
  }

  has(hash: number): boolean {
    return this.#find(hash | 0 || 1) !== -1
  }

  /** What is added from here on is newer than what was added before, by whomever. */
  tick(): void {
    this.#now = Atomics.add(this.#words, turnAt, 1) + 1
  }

  /** It was seen now. */
  add(hash: number): void {
    const key = hash | 0 || 1
    let at = this.#find(key)
    if (at === -1) at = this.#oldest(key)
    this.#words[at] = key
    this.#words[at + rowLength] = this.#now
  }

  remove(hash: number): void {
    const at = this.#find(hash | 0 || 1)
    if (at !== -1) this.#words[at] = 0
  }

  #find(key: number): number {
    const from = this.#row(key)
    for (let at = from; at < from + rowLength; at++) if (this.#words[at] === key) return at
    return -1
  }

  #oldest(key: number): number {
    const from = this.#row(key)
    let oldest = from
    let most = -1
    for (let at = from; at < from + rowLength; at++) {
      if (this.#words[at] === 0) return at
      const age = (this.#now - this.#words[at + rowLength]!) >>> 0
      if (age <= most) continue
      most = age
      oldest = at
    }
    return oldest
  }

  #row(key: number): number {
    return headWords + ((key ^ (key >>> 15)) & this.#lastRow) * rowLength * 2
  }
}
