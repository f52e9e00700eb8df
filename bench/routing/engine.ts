/**
 * A simulated engine with a real prefix cache: blocks by hash, the least recently used give way, what a running request
 * holds stays. Prompts are read one after the other, answers written all at once; what is in the cache is not read again.
 */
import type { Turn } from './conversation.ts'
import { cacheBlockTokens } from './conversation.ts'

export interface EnginePace {
  /** Prompt tokens read per second. */
  readPerSecond: number
  /** Seconds per written token: alone, and for each other that is written at the same time. */
  stepSeconds: number
  stepSecondsPerOther: number
  /** Requests at once. */
  sequences: number
  /** Blocks of the cache. */
  cacheBlocks: number
}

/** Of the size of Llama-3.1-8B on one large GPU. */
export const pace: Omit<EnginePace, 'cacheBlocks'> = {
  readPerSecond: 10_000,
  stepSeconds: 0.012,
  stepSecondsPerOther: 0.0002,
  sequences: 64,
}

export interface Sent {
  turn: Turn
  arrived: number
}

export interface Told {
  /** Calls `then` at a later time. */
  at(time: number, then: () => void): void
  firstToken(sent: Sent, time: number, cachedTokens: number): void
  finished(sent: Sent, time: number): void
}

export class SimulatedEngine {
  readonly #pace: EnginePace
  readonly #told: Told
  readonly #queue: Sent[] = []
  /** Blocks in use → by how many. */
  readonly #used = new Map<number, number>()
  /** Blocks that may give way, the oldest first. */
  readonly #idle = new Set<number>()
  #running = 0
  #readerFreeAt = 0

  constructor(pace: EnginePace, told: Told) {
    this.#pace = pace
    this.#told = told
  }

  /** Tokens of the prompt that it would not have to read now. */
  cachedTokens({ blocks, promptBlocks }: Turn): number {
    let matched = 0
    while (matched < promptBlocks && this.#has(blocks[matched]!)) matched += 1
    return matched * cacheBlockTokens
  }

  send(sent: Sent, now: number): void {
    this.#queue.push(sent)
    this.#begin(now)
  }

  #has(block: number): boolean {
    return this.#used.has(block) || this.#idle.has(block)
  }

  #begin(now: number): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#running >= this.#pace.sequences || !this.#fits(next.turn)) return
      this.#queue.shift()
      this.#run(next, now)
    }
  }

  /** Alone it always fits: a request larger than the cache would wait for ever. */
  #fits({ blocks }: Turn): boolean {
    return this.#running === 0 || this.#used.size + blocks.length <= this.#pace.cacheBlocks
  }

  #run(sent: Sent, now: number): void {
    const { readPerSecond, stepSeconds, stepSecondsPerOther } = this.#pace
    const { turn } = sent
    const cached = Math.min(this.cachedTokens(turn), turn.promptTokens - 1)
    this.#running += 1
    // Blocks of the answer can be found only when it is written.
    this.#hold(turn.blocks.subarray(0, turn.promptBlocks))
    this.#readerFreeAt = Math.max(now, this.#readerFreeAt) + (turn.promptTokens - cached) / readPerSecond
    const first = this.#readerFreeAt + stepSeconds
    const end = first + turn.answerTokens * (stepSeconds + stepSecondsPerOther * this.#running)
    this.#told.at(first, () => this.#told.firstToken(sent, first, cached))
    this.#told.at(end, () => this.#end(sent, end))
  }

  #end(sent: Sent, now: number): void {
    const { blocks, promptBlocks } = sent.turn
    this.#running -= 1
    this.#hold(blocks.subarray(promptBlocks))
    for (let i = blocks.length - 1; i >= 0; i--) this.#letGo(blocks[i]!)
    this.#told.finished(sent, now)
    this.#begin(now)
  }

  #hold(blocks: Int32Array): void {
    for (const block of blocks) {
      this.#idle.delete(block)
      this.#used.set(block, (this.#used.get(block) ?? 0) + 1)
    }
    this.#shrink()
  }

  #letGo(block: number): void {
    const uses = this.#used.get(block)! - 1
    if (uses > 0) {
      this.#used.set(block, uses)
      return
    }
    this.#used.delete(block)
    this.#idle.add(block)
  }

  #shrink(): void {
    for (const oldest of this.#idle) {
      if (this.#used.size + this.#idle.size <= this.#pace.cacheBlocks) return
      this.#idle.delete(oldest)
    }
  }
}
