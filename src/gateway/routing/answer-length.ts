/** How long answers of a deployment usually are, in tokens: what a request is expected to cost beside its prompt. */

/** Before one was seen. */
const expectedTokens = 256
/** The last few dozen answers count. */
const weightOfLast = 1 / 32
/** The deployment that was first seen longest ago is forgotten first, and begins anew. */
const deploymentsMaximum = 10_000

export class AnswerLengths {
  readonly #averages = new Map<string, { tokens: number }>()

  usual(deploymentId: string): number {
    return Math.ceil(this.#averages.get(deploymentId)?.tokens ?? expectedTokens)
  }

  /** An answer of so many tokens ended. */
  learn(deploymentId: string, tokens: number): void {
    const average = this.#averages.get(deploymentId)
    if (average !== undefined) {
      average.tokens += (tokens - average.tokens) * weightOfLast
      return
    }
    this.#averages.set(deploymentId, { tokens: expectedTokens + (tokens - expectedTokens) * weightOfLast })
    if (this.#averages.size > deploymentsMaximum) this.#averages.delete(this.#averages.keys().next().value!)
  }
}
