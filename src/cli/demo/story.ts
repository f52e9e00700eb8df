/** The demo's lines: one per step, with the time it took; on a terminal the step that goes on is counted live. */
import type { Clock } from '../../runtime/clock.ts'
import { liveLine } from '../live-line.ts'
import type { Screen } from '../screen.ts'
import { columnsOf, cut, padEnd } from '../width.ts'
import { elapsedText } from '../words.ts'

const nameColumns = 12
const timeColumns = 7
const redrawEveryMs = 100

export interface Step {
  name: string
  ms: number
}

export class Story {
  /** Finished steps, in order. */
  readonly steps: Step[] = []
  readonly #screen: Screen
  readonly #clock: Clock
  readonly #began: number
  /** What the running step is doing, for the live line. */
  #doing = ''

  constructor(screen: Screen, clock: Clock) {
    this.#screen = screen
    this.#clock = clock
    this.#began = clock.monotonicMs()
  }

  /** Milliseconds since the story began. */
  elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#began
  }

  say(text = ''): void {
    this.#screen.write(`${text}\n`)
  }

  /** Runs `work` as the step `name`; `about` says in a few words what came of it. */
  async step<T>(name: string, work: () => Promise<T>, about: (result: T) => string = () => ''): Promise<T> {
    const began = this.#clock.monotonicMs()
    const result = await this.during(name, work)
    this.done(name, this.#clock.monotonicMs() - began, about(result))
    return result
  }

  /** Runs `work` with a live line but leaves it to the caller to say what was done. */
  async during<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.#doing = name
    const over = new AbortController()
    const ticking = this.#tick(over.signal)
    try {
      return await work()
    } finally {
      over.abort()
      await ticking
    }
  }

  doing(name: string): void {
    this.#doing = name
  }

  done(name: string, ms: number, about = ''): void {
    this.steps.push({ name, ms })
    const { paint, columns } = this.#screen
    const time = elapsedText(ms).padStart(timeColumns)
    const head = `  ✓ ${padEnd(name, nameColumns)}${time}`
    const room = columns === null ? Number.POSITIVE_INFINITY : columns - columnsOf(head) - 3
    const tail = about === '' ? '' : `  ${paint('dim', cut(about, room))}`
    this.say(`  ${paint('green', '✓')} ${padEnd(name, nameColumns)}${time}${tail}`)
  }

  async #tick(over: AbortSignal): Promise<void> {
    if (!this.#screen.live) return
    const line = liveLine(process.stdout, this.#clock.monotonicMs)
    const began = this.#clock.monotonicMs()
    while (!over.aborted) {
      line.show(`  … ${this.#doing}`, elapsedText(this.#clock.monotonicMs() - began))
      await this.#clock.sleep(redrawEveryMs, over)
    }
    line.clear()
  }
}
