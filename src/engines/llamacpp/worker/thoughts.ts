/**
 * Thoughts of models that think before they answer, split off from the answer by the tags that their chat template
 * knows. Only what begins an answer is a thought; the same tag later on is text. An ending that could become a tag is held
 * back, and so is the white space around thoughts, which nobody asked for. Pure.
 */
export interface ThinkTags {
  open: string
  close: string
}

const knownTags: readonly ThinkTags[] = [
  { open: '<think>', close: '</think>' },
  { open: '[THINK]', close: '[/THINK]' },
  { open: '<seed:think>', close: '</seed:think>' },
  { open: '<|START_THINKING|>', close: '<|END_THINKING|>' },
]

/** Those that the template names; null = the model does not think. */
export function thinkTagsOf(template: string): ThinkTags | null {
  return knownTags.find(({ close }) => template.includes(close)) ?? null
}

/** Whether the prompt opens the thoughts itself, so that the answer begins inside them. */
export function beginsInside(prompt: string, { open }: ThinkTags): boolean {
  return prompt.trimEnd().endsWith(open)
}

export interface Segment {
  text: string
  thought: string
}

const nothing: Segment = { text: '', thought: '' }

export class Thoughts {
  readonly #tags: ThinkTags
  /** `skipping`: after the thoughts, until the answer's first character. */
  #at: 'before' | 'inside' | 'skipping' | 'after'
  #held = ''
  #begun = false

  constructor(tags: ThinkTags, inside: boolean) {
    this.#tags = tags
    this.#at = inside ? 'inside' : 'before'
  }

  get inside(): boolean {
    return this.#at === 'inside'
  }

  push(text: string): Segment {
    if (this.#at === 'after') return { text, thought: '' }
    this.#held += text
    if (this.#at === 'before') return this.#begin()
    return this.#at === 'inside' ? this.#think() : this.#skip()
  }

  /** What was held back, once nothing follows. */
  end(): Segment {
    const held = this.#held
    this.#held = ''
    return this.#at === 'inside' ? { text: '', thought: held.trimEnd() } : { text: held, thought: '' }
  }

  #begin(): Segment {
    const start = this.#held.trimStart()
    const { open } = this.#tags
    if (start.startsWith(open)) {
      this.#at = 'inside'
      this.#held = start.slice(open.length)
      return this.#think()
    }
    return open.startsWith(start) ? nothing : this.#take()
  }

  #think(): Segment {
    const { close } = this.#tags
    if (!this.#begun) this.#held = this.#held.trimStart()
    const end = this.#held.indexOf(close)
    if (end === -1) return this.#certain()
    const thought = this.#held.slice(0, end).trimEnd()
    this.#held = this.#held.slice(end + close.length)
    this.#at = 'skipping'
    return { text: this.#skip().text, thought }
  }

  /** All of the thoughts but an ending that may be the tag, or the white space before it. */
  #certain(): Segment {
    const held = this.#held
    const certain = held.slice(0, held.length - endingLength(held, this.#tags.close)).trimEnd()
    this.#begun ||= certain !== ''
    this.#held = held.slice(certain.length)
    return { text: '', thought: certain }
  }

  #skip(): Segment {
    this.#held = this.#held.trimStart()
    return this.#held === '' ? nothing : this.#take()
  }

  #take(): Segment {
    this.#at = 'after'
    const text = this.#held
    this.#held = ''
    return { text, thought: '' }
  }
}

/** Length of the longest ending of `text` that is a beginning of `mark`, but not all of it. */
export function endingLength(text: string, mark: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length -= 1)
    if (text.endsWith(mark.slice(0, length))) return length
  return 0
}
