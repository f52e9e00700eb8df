/**
 * Messages → prompt text by the model's own template, and from there to tokens. Text that a person wrote can look like
 * one of the model's control tokens ("<|im_end|>…"): such text is broken up by a mark, and the prompt is tokenised piece by
 * piece between marks, so that it is read as text and never opens a turn of its own. Pure but for the renderer given.
 */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant'
  content: string
}

/** Used when a model file has no template, as llama.cpp does. */
export const chatMlTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

export interface ChatTemplate {
  render(input: Record<string, unknown>): string
  bosText: string
  eosText: string
}

/** The prompt in pieces that are tokenised one by one; one piece unless someone wrote a control token as text. */
export function renderChat(template: ChatTemplate, messages: readonly ChatMessage[], controls: ControlTexts): string[] {
  const mark = unusedMark(messages)
  const safe = messages.map((message) => ({ ...message, content: controls.breakUp(message.content, mark) }))
  const text = template.render({
    messages: safe,
    add_generation_prompt: true,
    bos_token: template.bosText,
    eos_token: template.eosText,
    tools: null,
  })
  return text.split(mark).filter((piece) => piece !== '')
}

/** Finds texts of control tokens inside other text, quickly: by their first two characters. */
export class ControlTexts {
  readonly #byStart = new Map<string, string[]>()

  constructor(texts: readonly string[]) {
    for (const text of texts) {
      if (text.length < 2) continue
      const start = text.slice(0, 2)
      this.#byStart.set(start, [...(this.#byStart.get(start) ?? []), text])
    }
  }

  /** `text` with `mark` after the first character of each control text in it. */
  breakUp(text: string, mark: string): string {
    const cuts: number[] = []
    for (const [start, texts] of this.#byStart)
      for (let at = text.indexOf(start); at !== -1; at = text.indexOf(start, at + 1))
        if (texts.some((control) => text.startsWith(control, at))) cuts.push(at + 1)
    if (cuts.length === 0) return text
    cuts.sort((a, b) => a - b)
    return cuts.map((cut, i) => text.slice(i === 0 ? 0 : cuts[i - 1], cut) + mark).join('') + text.slice(cuts.at(-1))
  }
}

/** A private-use character that no message contains. */
function unusedMark(messages: readonly ChatMessage[]): string {
  for (let code = 0xe000; code < 0xf8ff; code += 1) {
    const mark = String.fromCharCode(code)
    if (!messages.some((message) => message.content.includes(mark))) return mark
  }
  throw new Error('the messages use every private character')
}
