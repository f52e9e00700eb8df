/**
 * Finds where an object of JSON ends that comes in pieces, without reading it. What cannot stand in JSON ends it as well:
 * then it was broken off. Pure.
 */
const outside = /[\s\w+\-.,:]/

export class JsonEnd {
  /** Objects and lists that are open. */
  #depth: number
  #inString = false
  #escaped = false

  constructor(depth = 0) {
    this.#depth = depth
  }

  /** How many characters of `text` belong to it, and whether it ends there. */
  take(text: string): { length: number; ended: boolean } {
    for (let at = 0; at < text.length; at += 1) {
      const letter = text[at]!
      if (this.#inString) this.#takeOfString(letter)
      else if (letter === '"') this.#inString = true
      else if (letter === '{' || letter === '[') this.#depth += 1
      else if (letter === '}' || letter === ']') {
        this.#depth -= 1
        if (this.#depth === 0) return { length: at + 1, ended: true }
      } else if (!outside.test(letter)) return { length: at, ended: true }
    }
    return { length: text.length, ended: false }
  }

  #takeOfString(letter: string): void {
    if (this.#escaped) this.#escaped = false
    else if (letter === '\\') this.#escaped = true
    else if (letter === '"') this.#inString = false
  }
}
