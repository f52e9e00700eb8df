/**
 * Calls of tools, split off from the text around them. What looks like a call and is none (not JSON, another name, cut off
 * in its middle) stays text: nothing that the model said gets lost. Pure.
 */
import { endingLength } from './thoughts.ts'
import type { ToolForm } from './tool-form.ts'

export interface FoundCall {
  name: string
  /** JSON. */
  arguments: string
}

export interface CallSegment {
  text: string
  calls: FoundCall[]
}

export class CallText {
  readonly #form: ToolForm
  readonly #names: ReadonlySet<string>
  #held = ''
  #inside = false
  #said = false
  #found = 0

  constructor(form: ToolForm, names: Iterable<string>) {
    this.#form = form
    this.#names = new Set(names)
  }

  get found(): number {
    return this.#found
  }

  /** The opening of a call was said, and nothing of the call itself. */
  get atOpening(): boolean {
    return this.#inside && this.#held.trim() === '' && this.#form.open !== ''
  }

  push(text: string): CallSegment {
    this.#held += text
    const segment: CallSegment = { text: '', calls: [] }
    while (this.#step(segment));
    return segment
  }

  /** What was held back, once nothing follows. */
  end(): CallSegment {
    const held = this.#held
    this.#held = ''
    if (!this.#inside) return { text: this.#found > 0 && held.trim() === '' ? '' : held, calls: [] }
    this.#inside = false
    const calls = this.#form.close === '' ? this.#read(held) : null
    return calls === null ? { text: this.#form.open + held, calls: [] } : { text: '', calls }
  }

  /** False: nothing more is certain. */
  #step(segment: CallSegment): boolean {
    return this.#inside ? this.#takeCall(segment) : this.#takeText(segment)
  }

  #takeText(segment: CallSegment): boolean {
    const { open } = this.#form
    if (open === '') return this.#takeBare(segment)
    const at = this.#held.indexOf(open)
    const certain =
      at === -1 ? this.#held.slice(0, -endingLength(this.#held, open) || undefined) : this.#held.slice(0, at)
    // White space before a call is not part of the answer.
    const said = certain.trimEnd()
    segment.text += said
    this.#held = this.#held.slice(at === -1 ? said.length : at + open.length)
    this.#inside = at !== -1
    return this.#inside
  }

  /** The answer is a call when it begins like one. */
  #takeBare(segment: CallSegment): boolean {
    const start = this.#held.trimStart()
    if (start === '' && !this.#said) return false
    if (start.startsWith('{') && !this.#said) {
      this.#inside = true
      return false
    }
    this.#said = true
    segment.text += this.#held
    this.#held = ''
    return false
  }

  #takeCall(segment: CallSegment): boolean {
    const { close } = this.#form
    if (close === '') return false
    for (let at = this.#held.indexOf(close); at !== -1; at = this.#held.indexOf(close, at + 1)) {
      const calls = this.#read(this.#held.slice(0, at))
      if (calls === null) continue
      segment.calls.push(...calls)
      this.#held = this.#held.slice(at + close.length)
      this.#inside = false
      return true
    }
    return false
  }

  #read(text: string): FoundCall[] | null {
    const value = parsed(text)
    const list = Array.isArray(value) && this.#form.list ? value : [value]
    const calls = list.map((one) => this.#call(one))
    if (list.length === 0 || calls.includes(null)) return null
    this.#found += calls.length
    return calls as FoundCall[]
  }

  #call(value: unknown): FoundCall | null {
    if (typeof value !== 'object' || value === null) return null
    const { name, [this.#form.member]: given } = value as Record<string, unknown>
    if (typeof name !== 'string' || !this.#names.has(name)) return null
    return { name, arguments: JSON.stringify(given ?? {}) }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
