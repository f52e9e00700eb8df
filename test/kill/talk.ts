/** A client that talks to a deployment all the time, so that a test can say whether anybody noticed. */
import type OpenAI from 'openai'

export class Talk {
  answered = 0
  readonly failures: string[] = []
  #talking = true
  readonly #over: Promise<void>

  constructor(openai: OpenAI, model: string) {
    this.#over = this.#loop(openai, model)
  }

  async #loop(openai: OpenAI, model: string): Promise<void> {
    while (this.#talking) {
      try {
        await openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 })
        this.answered += 1
      } catch (error) {
        this.failures.push(String(error))
      }
    }
  }

  /** Gives the failures. */
  async end(): Promise<string[]> {
    this.#talking = false
    await this.#over
    return this.failures
  }
}
