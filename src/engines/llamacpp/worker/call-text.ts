/**
 * Calls of tools, split off from the text around them, in pieces as they are said: a call is held back until its name and
 * the brace of its arguments are there, its arguments go out as they come. What looks like a call and is none (not JSON,
 * another name, cut off before its arguments) stays text: nothing that the model said gets lost. A call that is written in
 * another order is read once it is whole. Pure.
 */
import { readHead } from './call-head.ts'
import { JsonEnd } from './json-end.ts'
import { endingLength } from './thoughts.ts'
import type { ToolForm } from './tool-form.ts'

export interface CallPiece {
  /** Which of the answer's calls it belongs to, from 0. */
  at: number
  /** Its first piece has it. */
  name?: string
  /** A part of its JSON. */
  arguments: string
}

export interface CallSegment {
  text: string
  calls: CallPiece[]
}

/** `head`: its arguments have not begun. `rest`: they have ended, the call has not. `closing`: only its end is missing. */
type At = 'text' | 'head' | 'arguments' | 'rest' | 'closing'

export class CallText {
  readonly #form: ToolForm
  readonly #names: ReadonlySet<string>
  #at: At = 'text'
  #held = ''
  #said = false
  #json = new JsonEnd()
  #begun = 0
  #found = 0
  #inList = false
  #opened: string | null = null

  constructor(form: ToolForm, names: Iterable<string>) {
    this.#form = form
    this.#names = new Set(names)
  }

  /** Calls whose arguments are there to their end. */
  get found(): number {
    return this.#found
  }

  /** A call has begun whose arguments are not there to their end. */
  get cut(): boolean {
    return this.#begun > this.#found
  }

  /** Once, when the first call begins: what was said of it already, without its opening. */
  takeOpened(): string | null {
    const opened = this.#opened
    if (opened !== null) this.#opened = null
    return opened
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
    const at = this.#at
    this.#held = ''
    this.#at = 'text'
    switch (at) {
      case 'text':
        return { text: this.#found > 0 && held.trim() === '' ? '' : held, calls: [] }
      case 'head': {
        const calls = this.#form.close === '' ? this.#read(this.#inList ? `[${held}` : held) : null
        if (calls !== null) return { text: '', calls }
        return { text: this.#opening + held, calls: [] }
      }
      case 'arguments':
      case 'rest':
      case 'closing':
        return { text: '', calls: [] }
    }
  }

  /** What was said before what is held, of which nobody heard. */
  get #opening(): string {
    return this.#inList ? ',' : this.#form.open
  }

  /** False: nothing more is certain. */
  #step(segment: CallSegment): boolean {
    switch (this.#at) {
      case 'text':
        return this.#form.open === '' ? this.#takeBare(segment) : this.#takeText(segment)
      case 'head':
        return this.#takeHead(segment)
      case 'arguments':
        return this.#takeArguments(segment)
      case 'rest':
        return this.#takeRest()
      case 'closing':
        return this.#takeClosing()
    }
  }

  #takeText(segment: CallSegment): boolean {
    const { open } = this.#form
    const at = this.#held.indexOf(open)
    const certain =
      at === -1 ? this.#held.slice(0, -endingLength(this.#held, open) || undefined) : this.#held.slice(0, at)
    // White space before a call is not part of the answer.
    const said = certain.trimEnd()
    segment.text += said
    this.#held = this.#held.slice(at === -1 ? said.length : at + open.length)
    if (at === -1) return false
    this.#at = 'head'
    this.#inList = false
    if (this.#begun === 0) this.#opened = this.#held
    return true
  }

  /** The answer is a call when it begins like one. */
  #takeBare(segment: CallSegment): boolean {
    const start = this.#held.trimStart()
    if (start === '' && (!this.#said || this.#found > 0)) return false
    if (start.startsWith('{') && !this.#said) {
      this.#at = 'head'
      return true
    }
    this.#said = true
    segment.text += this.#held
    this.#held = ''
    return false
  }

  #takeHead(segment: CallSegment): boolean {
    const bracket = this.#form.list && !this.#inList ? /^\s*\[/.exec(this.#held) : null
    const skipped = bracket?.[0].length ?? 0
    if (this.#form.list && !this.#inList && bracket === null) return this.#held.trim() !== '' && this.#takeNone(segment)
    const head = readHead(this.#held.slice(skipped), this.#form.member, this.#names)
    if (head.is === 'text') return this.#takeNone(segment)
    if (head.is === 'open') return this.#takeWhole(segment)
    if (this.#form.open === '') this.#opened = this.#held
    this.#said = true
    segment.calls.push({ at: this.#begun, name: head.name, arguments: '' })
    this.#begun += 1
    this.#held = this.#held.slice(skipped + head.length)
    this.#json = new JsonEnd()
    this.#at = 'arguments'
    return true
  }

  /** It is no call, and goes out as text. */
  #takeNone(segment: CallSegment): boolean {
    segment.text += this.#opening
    this.#at = 'text'
    this.#said = true
    this.#opened = null
    return true
  }

  #takeArguments(segment: CallSegment): boolean {
    const { length, ended } = this.#json.take(this.#held)
    if (length > 0) segment.calls.push({ at: this.#begun - 1, arguments: this.#held.slice(0, length) })
    this.#held = this.#held.slice(length)
    if (!ended) return false
    this.#found += 1
    this.#json = new JsonEnd(1)
    this.#at = 'rest'
    return true
  }

  #takeRest(): boolean {
    const { length, ended } = this.#json.take(this.#held)
    this.#held = this.#held.slice(length)
    if (ended) this.#at = 'closing'
    return ended
  }

  /** An end that is not there is not missed. */
  #takeClosing(): boolean {
    const { close, list } = this.#form
    const start = this.#held.trimStart()
    if (start === '' || (start.length < close.length && close.startsWith(start))) return false
    const isNext = list && start[0] === ','
    const length = list ? Number(isNext || start[0] === ']') : start.startsWith(close) ? close.length : 0
    this.#held = start.slice(length)
    this.#at = isNext ? 'head' : 'text'
    this.#inList = isNext
    return true
  }

  /** One that is written another way: complete at its closing, or with the answer. */
  #takeWhole(segment: CallSegment): boolean {
    const { close } = this.#form
    if (close === '') return false
    for (let at = this.#held.indexOf(close); at !== -1; at = this.#held.indexOf(close, at + 1)) {
      const calls = this.#read(this.#held.slice(0, at))
      if (calls === null) continue
      segment.calls.push(...calls)
      this.#held = this.#held.slice(at + close.length)
      this.#at = 'text'
      return true
    }
    return false
  }

  #read(text: string): CallPiece[] | null {
    const value = parsed(text)
    const list = Array.isArray(value) && this.#form.list ? value : [value]
    const calls = list.map((one, index) => this.#call(one, this.#begun + index))
    if (list.length === 0 || calls.includes(null)) return null
    this.#begun += calls.length
    this.#found += calls.length
    return calls as CallPiece[]
  }

  #call(value: unknown, at: number): CallPiece | null {
    if (typeof value !== 'object' || value === null) return null
    const { name, [this.#form.member]: given } = value as Record<string, unknown>
    if (typeof name !== 'string' || !this.#names.has(name)) return null
    return { at, name, arguments: JSON.stringify(given ?? {}) }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
