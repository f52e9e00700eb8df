/**
 * What was let in during the last 60 seconds: requests and tokens, exactly. Time is passed in and never goes back. Pure.
 *
 * An entry is a request with the tokens it was reckoned at. When it turns out smaller, the rest is given back while its
 * entry is still in the window; when it turns out larger, the difference is owed: it counts from then on, for 60 seconds.
 */
export const windowMs = 60_000
/** So many entries are kept one by one; of more, those of the same moment are one, which counts a little longer. */
const exactEntries = 65_536
const momentMs = 10

export class SlidingWindow {
  #at = new Float64Array(16)
  #requestsOf = new Uint32Array(16)
  #tokensOf = new Float64Array(16)
  /** Numbers of the oldest entry and of the next; an entry's place is its number modulo the capacity. */
  #oldest = 0
  #next = 0
  /** In the window, as of the last `slide`. */
  requests = 0
  tokens = 0

  /** Lets go of what is 60 seconds old. Before anything is read. */
  slide(now: number): void {
    const mask = this.#at.length - 1
    while (this.#oldest < this.#next) {
      const place = this.#oldest & mask
      if (this.#at[place]! > now - windowMs) return
      this.requests -= this.#requestsOf[place]!
      this.tokens -= this.#tokensOf[place]!
      this.#oldest += 1
    }
  }

  /** The entry's number, for `correct`. */
  add(now: number, requests: number, tokens: number): number {
    this.requests += requests
    this.tokens += tokens
    const mask = this.#at.length - 1
    const last = (this.#next - 1) & mask
    if (
      this.#next - this.#oldest >= exactEntries &&
      Math.floor(this.#at[last]! / momentMs) === Math.floor(now / momentMs)
    ) {
      this.#at[last] = now
      this.#requestsOf[last]! += requests
      this.#tokensOf[last]! += tokens
      return this.#next - 1
    }
    if (this.#next - this.#oldest > mask) this.#grow()
    const place = this.#next & (this.#at.length - 1)
    this.#at[place] = now
    this.#requestsOf[place] = requests
    this.#tokensOf[place] = tokens
    return this.#next++
  }

  /** An entry has become more (owed from now on) or less (given back, if it still counts). */
  correct(now: number, entry: number, requests: number, tokens: number): void {
    this.slide(now)
    if (requests > 0 || tokens > 0) this.add(now, Math.max(0, requests), Math.max(0, tokens))
    if (entry < this.#oldest || (requests >= 0 && tokens >= 0)) return
    const place = entry & (this.#at.length - 1)
    const fewer = Math.min(this.#requestsOf[place]!, Math.max(0, -requests))
    const less = Math.min(this.#tokensOf[place]!, Math.max(0, -tokens))
    this.#requestsOf[place]! -= fewer
    this.#tokensOf[place]! -= less
    this.requests -= fewer
    this.tokens -= less
  }

  /** Milliseconds until the oldest that counts has passed; 0 when nothing counts. */
  msToNext(now: number): number {
    if (this.#oldest === this.#next) return 0
    return Math.max(0, this.#at[this.#oldest & (this.#at.length - 1)]! + windowMs - now)
  }

  /** Milliseconds until no more than so many count; Infinity when `requests` or `tokens` is below zero. */
  msUntil(now: number, requests: number, tokens: number): number {
    if (requests < 0 || tokens < 0) return Number.POSITIVE_INFINITY
    const mask = this.#at.length - 1
    let [left, leftTokens] = [this.requests, this.tokens]
    let at = now - windowMs
    for (let entry = this.#oldest; entry < this.#next && (left > requests || leftTokens > tokens); entry++) {
      const place = entry & mask
      left -= this.#requestsOf[place]!
      leftTokens -= this.#tokensOf[place]!
      at = this.#at[place]!
    }
    return Math.max(0, at + windowMs - now)
  }

  #grow(): void {
    const [mask, size] = [this.#at.length - 1, this.#at.length * 2]
    const [at, requests, tokens] = [new Float64Array(size), new Uint32Array(size), new Float64Array(size)]
    for (let entry = this.#oldest; entry < this.#next; entry++) {
      const [from, to] = [entry & mask, entry & (size - 1)]
      at[to] = this.#at[from]!
      requests[to] = this.#requestsOf[from]!
      tokens[to] = this.#tokensOf[from]!
    }
    this.#at = at
    this.#requestsOf = requests
    this.#tokensOf = tokens
  }
}
