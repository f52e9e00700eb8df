/**
 * The engine's sequences: each is one conversation's memory on the device and is lent to one request at a time. Who
 * finds none waits in order of arrival; the line has a limit. A sequence keeps what it holds when it comes back, so a
 * request that begins the same way gets it and skips that part.
 */
import { Fault } from '../../../kernel/fault.ts'
import type { Token } from './native.ts'

export interface Sequence {
  id: number
  /** Tokens whose state is held on the device, in order. */
  cells: Token[]
}

/** Requests that may wait for a sequence; more are refused with 503. */
export const waitingMaximum = 128

interface Waiting {
  prompt: Uint32Array
  take(sequence: Sequence): void
}

export class Sequences {
  readonly #free: Sequence[]
  readonly #waiting = new Set<Waiting>()
  readonly #lent = new Set<Sequence>()
  readonly count: number

  constructor(count: number) {
    this.count = count
    this.#free = Array.from({ length: count }, (_, id) => ({ id, cells: [] }))
  }

  get running(): number {
    return this.#lent.size
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Tokens held by sequences that are lent now. */
  get cellsInUse(): number {
    let cells = 0
    for (const sequence of this.#lent) cells += sequence.cells.length
    return cells
  }

  /** Waits for a sequence. Throws Fault `unavailable` when the line is full, `client_closed` when the signal aborts. */
  async lend(prompt: Uint32Array, signal: AbortSignal): Promise<Sequence> {
    if (signal.aborted) throw gone()
    const free = this.#takeFree(prompt)
    if (free) return free
    if (this.#waiting.size >= waitingMaximum)
      throw new Fault('unavailable', `The engine is busy: ${waitingMaximum} requests are waiting already.`, {
        retryAfterSeconds: 1,
      })
    return this.#wait(prompt, signal)
  }

  giveBack(sequence: Sequence): void {
    this.#lent.delete(sequence)
    // The most recently used is taken last, so that what it holds lives longest.
    this.#free.push(sequence)
    const next = this.#waiting.values().next().value
    if (!next) return
    this.#waiting.delete(next)
    next.take(this.#takeFree(next.prompt)!)
  }

  #wait(prompt: Uint32Array, signal: AbortSignal): Promise<Sequence> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(waiting)
        reject(gone())
      }
      const waiting: Waiting = {
        prompt,
        take: (sequence) => {
          signal.removeEventListener('abort', leave)
          resolve(sequence)
        },
      }
      this.#waiting.add(waiting)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** The free sequence that holds the longest beginning of the prompt; the least recently used among equals. */
  #takeFree(prompt: Uint32Array): Sequence | null {
    let best = -1
    let bestLength = -1
    this.#free.forEach((sequence, i) => {
      const length = sharedLength(sequence.cells, prompt)
      if (length > bestLength) {
        best = i
        bestLength = length
      }
    })
    if (best === -1) return null
    const [sequence] = this.#free.splice(best, 1)
    this.#lent.add(sequence!)
    return sequence!
  }
}

/** How many tokens both begin with. */
export function sharedLength(cells: readonly Token[], prompt: Uint32Array): number {
  const end = Math.min(cells.length, prompt.length)
  let length = 0
  while (length < end && cells[length] === prompt[length]) length += 1
  return length
}

function gone(): Fault {
  return new Fault('client_closed', 'The client has left.')
}
