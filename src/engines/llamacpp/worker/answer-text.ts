/**
 * Turns the bytes of tokens into text that may be sent. Holds back what is not certain yet: the bytes of an unfinished
 * character, and any ending that could become a stop string. So nobody ever sees half of either. Pure.
 */
export class AnswerText {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  readonly #stops: readonly string[]
  #held = ''
  /** A stop string was met; nothing follows. */
  stopped = false

  constructor(stops: readonly string[]) {
    this.#stops = stops
  }

  /** Text that is certain now, maybe ''. */
  push(bytes: Uint8Array): string {
    if (this.stopped) return ''
    const text = this.#held + this.#decoder.decode(bytes, { stream: true })
    const stopAt = firstStop(text, this.#stops)
    if (stopAt !== -1) {
      this.stopped = true
      this.#held = ''
      return text.slice(0, stopAt)
    }
    const certain = text.length - uncertainLength(text, this.#stops)
    this.#held = text.slice(certain)
    return text.slice(0, certain)
  }

  /** What was held back, once nothing follows; an unfinished character is dropped. */
  end(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

function firstStop(text: string, stops: readonly string[]): number {
  let first = -1
  for (const stop of stops) {
    const at = text.indexOf(stop)
    if (at !== -1 && (first === -1 || at < first)) first = at
  }
  return first
}

/** Length of the longest ending that is a beginning of a stop string. */
function uncertainLength(text: string, stops: readonly string[]): number {
  let longest = 0
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length -= 1)
      if (stop.startsWith(text.slice(text.length - length))) longest = length
  return longest
}
