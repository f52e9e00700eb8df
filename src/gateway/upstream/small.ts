/** A short answer of an engine, read whole: for probes. */
import type { Deadline, Deadlines } from '../../runtime/deadlines.ts'
import type { Call, Caller, Connections } from './connections.ts'
import type { Answer } from './response-reader.ts'

export interface SmallLimits {
  timeoutMs: number
  maximumBytes: number
}

export interface SmallAnswer {
  status: number
  text: string
}

/** Sends a request without a body; `head` lacks the empty line. null when no whole answer came within the limits. */
export function fetchSmall(
  connections: Pick<Connections, 'send'>,
  head: string,
  limits: SmallLimits,
  deadlines: Deadlines,
): Promise<SmallAnswer | null> {
  return new Promise((resolve) => {
    connections.send(`${head}\r\n`, null, new Reading(limits, deadlines, resolve))
  })
}

class Reading implements Caller {
  readonly #limits: SmallLimits
  readonly #deadlines: Deadlines
  readonly #resolve: (answer: SmallAnswer | null) => void
  readonly #late: Deadline
  #call: Call | null = null
  #status = 0
  #text = ''
  #over = false

  constructor(limits: SmallLimits, deadlines: Deadlines, resolve: (answer: SmallAnswer | null) => void) {
    this.#limits = limits
    this.#deadlines = deadlines
    this.#resolve = resolve
    this.#late = deadlines.add(limits.timeoutMs, () => this.#giveUp('no answer in time'))
  }

  sends(call: Call): boolean {
    this.#call = call
    return !this.#over
  }

  began({ status }: Answer): void {
    this.#status = status
  }

  data(bytes: Buffer, from: number, to: number): void {
    this.#text += bytes.toString('latin1', from, to)
    if (this.#text.length > this.#limits.maximumBytes) this.#giveUp('the answer is too large')
  }

  ended(): void {
    this.#end({ status: this.#status, text: Buffer.from(this.#text, 'latin1').toString('utf8') })
  }

  failed(): void {
    this.#end(null)
  }

  #giveUp(why: string): void {
    this.#end(null)
    this.#call?.abort(new Error(why))
  }

  #end(answer: SmallAnswer | null): void {
    if (this.#over) return
    this.#over = true
    this.#deadlines.cancel(this.#late)
    this.#resolve(answer)
  }
}
