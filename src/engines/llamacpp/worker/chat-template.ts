/**
 * Messages → prompt text by the model's own template, and from there to tokens. Text that a person wrote can look like
 * one of the model's control tokens ("<|im_end|>…"): such text is broken up by a mark, and the prompt is tokenised piece by
 * piece between marks, so that it is read as text and never opens a turn of its own. Pure but for the renderer given.
 */
import { newId } from '../../../runtime/ids.ts'

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool'
  content: string
  /** Of an assistant that thought before it answered. */
  reasoning_content?: string
  tool_calls?: MessageCall[]
  /** The call that a tool answers. */
  tool_call_id?: string
}

export interface MessageCall {
  id: string
  type: 'function'
  /** `arguments`: an object, or the text that is none. */
  function: { name: string; arguments: unknown }
}

/** What templates know besides the messages. */
export interface ChatSetting {
  /** As OpenAI writes them; null = none. */
  tools: readonly object[] | null
  /** Whether a model that can is to think; templates do so unless told. */
  thinking: boolean
}

const usualSetting: ChatSetting = { tools: null, thinking: true }

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
export function renderChat(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  controls: ControlTexts,
  { tools, thinking }: ChatSetting = usualSetting,
): string[] {
  const mark = unusedMark(JSON.stringify([messages, tools]))
  const text = template.render({
    messages: brokenUp(messages, controls, mark),
    add_generation_prompt: true,
    enable_thinking: thinking,
    bos_token: template.bosText,
    eos_token: template.eosText,
    tools: brokenUp(tools, controls, mark),
  })
  return text.split(mark).filter((piece) => piece !== '')
}

/** Every text in it, at any depth; names of members too, for a schema's are the client's. */
function brokenUp(value: unknown, controls: ControlTexts, mark: string): unknown {
  if (typeof value === 'string') return controls.breakUp(value, mark)
  if (Array.isArray(value)) return value.map((one) => brokenUp(one, controls, mark))
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([name, one]) => [
    controls.breakUp(name, mark),
    brokenUp(one, controls, mark),
  ])
  return Object.fromEntries(members)
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

/** A private-use character that is nowhere in it; where all are, some that nobody could have foreseen. */
function unusedMark(text: string): string {
  const used = new Set(text.match(/[\ue000-\uf8ff]/g))
  for (let code = 0xe000; code <= 0xf8ff; code += 1) {
    const mark = String.fromCharCode(code)
    if (!used.has(mark)) return mark
  }
  return `\ue000${newId('req')}\ue000`
}
