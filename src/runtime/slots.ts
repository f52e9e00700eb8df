/** Work of which only so much runs at the same time; the rest waits in line. Whoever adds bounds the line. */
export class Slots {
  readonly #limit: number
  #waiting: (() => Promise<void>)[] = []
  /** Those before it have begun. */
  #next = 0
  #running = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Runs `work` now or when its turn comes. It must not reject. */
  add(work: () => Promise<void>): void {
    this.#waiting.push(work)
    this.#fill()
  }

  #fill(): void {
    while (this.#running < this.#limit) {
      const work = this.#waiting[this.#next]
      if (work === undefined) {
        this.#waiting = []
        this.#next = 0
        return
      }
      this.#next += 1
      this.#running += 1
      void work().finally(() => {
        this.#running -= 1
        this.#fill()
      })
    }
  }
}
