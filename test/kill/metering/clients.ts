/** Clients that ask all the time, leave now and then, and remember what they were told. */
import { systemClock } from '../../../src/runtime/clock.ts'
import type { Random } from '../../paper/random.ts'

/**
 * `acknowledged`: the answer came whole: a body as long as its head said, or a stream up to `[DONE]` without an error
 * event. `left`: the client hung up. `broken`: the connection went. `refused`: any other answer.
 */
export type Outcome = 'acknowledged' | 'left' | 'broken' | 'refused'

export interface Told {
  /** Ours; null when no head came. */
  requestId: string | null
  outcome: Outcome
  /** Tokens that the client saw. */
  tokens: number
}

/** Whom they ask. */
export interface Asked {
  readonly isReady: boolean
  readonly port: number | null
  answered: number
}

const brokenPauseMs = 15
const maxTokens = 10

export class Clients {
  readonly told: Told[] = []
  acknowledged = 0
  readonly #key: string
  readonly #model: string
  readonly #random: Random
  #asking = true
  #loops: Promise<void>[] = []

  constructor(key: string, model: string, random: Random) {
    this.#key = key
    this.#model = model
    this.#random = random
  }

  ask(count: number, asked: Asked): void {
    for (let n = 0; n < count; n++) this.#loops.push(this.#loop(asked))
  }

  async end(): Promise<void> {
    this.#asking = false
    await Promise.all(this.#loops)
  }

  async #loop(asked: Asked): Promise<void> {
    while (this.#asking) {
      const { port, isReady } = asked
      const told = port === null || !isReady ? null : await this.#one(port)
      if (told !== null) this.told.push(told)
      if (told?.outcome === 'acknowledged') {
        this.acknowledged += 1
        asked.answered += 1
      } else if (told?.outcome !== 'left') await systemClock.sleep(brokenPauseMs)
    }
  }

  async #one(port: number): Promise<Told> {
    const stream = this.#random.chance(0.5)
    const leaving = new AbortController()
    const leaves = this.#random.chance(0.1)
    const told: Told = { requestId: null, outcome: 'broken', tokens: 0 }
    try {
      const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
        body: this.#body(stream),
        signal: leaving.signal,
      })
      told.requestId = response.headers.get('x-request-id')
      const text = await this.#read(response, told, leaves ? leaving : null)
      const whole = stream ? text.endsWith('data: [DONE]\n\n') && !text.includes('"error"') : text !== ''
      told.outcome = response.status === 200 && whole ? 'acknowledged' : 'refused'
    } catch {
      if (leaving.signal.aborted) told.outcome = 'left'
    }
    return told
  }

  #body(stream: boolean): string {
    const content = 'a'.repeat(this.#random.int(1, 30))
    const max_tokens = this.#random.int(1, maxTokens)
    return JSON.stringify({ model: this.#model, stream, max_tokens, messages: [{ role: 'user', content }] })
  }

  async #read(response: Response, told: Told, leaving: AbortController | null): Promise<string> {
    let text = ''
    const decoder = new TextDecoder()
    for await (const piece of response.body!) {
      text += decoder.decode(piece as Uint8Array, { stream: true })
      told.tokens = text.split('"content":"x"').length - 1
      leaving?.abort()
    }
    return text
  }
}
