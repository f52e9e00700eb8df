/**
 * Cuts a stream of server-sent events into whole events, however the network has cut it. A chunk in which nothing changes
 * goes out as the very text that came in. Which words the events speak is the business of those who extend it.
 *
 * Texts are latin1: one character per byte.
 */
export class EventTooLarge extends Error {}

export abstract class EventCutter {
  readonly #maxEventBytes: number
  #carry = ''
  /** Where in `#carry` the search for an event's end goes on. */
  #searched = 0

  /** Largest event; a larger one is an engine gone wrong. */
  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes
  }

  /** The event `text[start, end)` as the client gets it; null = unchanged. */
  protected abstract event(text: string, start: number, end: number): string | null

  /** Nothing that follows belongs to the answer. */
  protected get over(): boolean {
    return false
  }

  /** What goes to the client for this chunk; '' while nothing is whole. */
  push(chunk: string): string {
    const text = this.#carry + chunk
    let start = 0
    let out = ''
    let end = eventEnd(text, this.#searched)
    for (; end !== -1 && !this.over; end = eventEnd(text, end)) {
      const event = this.event(text, start, end)
      out += event ?? (start === 0 && end === text.length ? text : text.slice(start, end))
      start = end
    }
    this.#keep(this.over ? '' : start === 0 ? text : text.slice(start))
    return out
  }

  /** Of what is left at the engine's proper end: an event without its blank line. */
  protected lastEvent(): string {
    const rest = this.#carry
    this.#carry = ''
    if (rest.trim() === '') return ''
    const text = `${rest}\n\n`
    return this.event(text, 0, text.length) ?? text
  }

  #keep(rest: string): void {
    if (rest.length > this.#maxEventBytes) throw new EventTooLarge(`an event of more than ${this.#maxEventBytes} bytes`)
    this.#carry = rest
    this.#searched = Math.max(0, rest.length - 3)
  }
}

/** Position after the blank line that ends the first event found from `from` on; -1 when none is whole. */
function eventEnd(text: string, from: number): number {
  for (let at = text.indexOf('\n', from); at !== -1; at = text.indexOf('\n', at + 1)) {
    const next = text.charCodeAt(at + 1)
    if (next === 0x0a) return at + 2
    if (next === 0x0d && text.charCodeAt(at + 2) === 0x0a) return at + 3
  }
  return -1
}
