/** An answer being said: token by token to text, thoughts and calls, counted, until it is over. */
import { newId } from '../../../runtime/ids.ts'
import type { CallPart, FinishReason, Usage } from '../../contract.answer.ts'
import { AnswerText } from './answer-text.ts'
import { type CallPiece, CallText } from './call-text.ts'
import type { Model } from './model.ts'
import type { Token } from './native.ts'
import type { EngineRequest } from './request.ts'
import { Thoughts } from './thoughts.ts'

/** What may be sent after a token; all of it empty while it is held back. */
export interface AnswerPart {
  text: string
  thought: string
  calls: readonly CallPart[]
}

export interface AnswerSetting {
  model: Model
  request: EngineRequest
  /** Tokens that it may have. */
  limit: number
  promptTokens: number
  /** The prompt opens thoughts. */
  thinks: boolean
  said(part: AnswerPart, usage: Usage): void
  /** A call begins, this much of it is there: from now on it is held to its grammar. */
  callBegins(said: string): void
}

const noCalls: readonly CallPart[] = []

export class Answer {
  readonly usage: Usage
  /** Null while it goes on. */
  finish: FinishReason | null = null
  readonly #setting: AnswerSetting
  readonly #text: AnswerText
  readonly #thoughts: Thoughts | null
  readonly #calls: CallText | null
  readonly #parallel: boolean

  constructor(setting: AnswerSetting) {
    const { model, request, promptTokens, thinks } = setting
    const { input } = request
    this.#setting = setting
    this.#text = new AnswerText(request.stops)
    this.usage = { promptTokens, completionTokens: 0, cachedTokens: 0 }
    const tags = input.kind === 'chat' ? model.thinkTags : null
    this.#thoughts = tags === null ? null : new Thoughts(tags, thinks)
    if (tags !== null) this.usage.reasoningTokens = 0
    const tools = input.kind === 'chat' ? input.tools : null
    this.#calls =
      tools &&
      new CallText(
        model.toolForm,
        tools.tools.map(({ name }) => name),
      )
    this.#parallel = tools?.parallel ?? true
  }

  /** False = that was the last token. The token that ends an answer is counted: it was computed. */
  take(token: Token): boolean {
    const { model, limit, said } = this.#setting
    this.usage.completionTokens += 1
    const ended = model.ends.has(token)
    let text = ended ? '' : this.#text.push(model.bytesOf(token))
    if (ended || this.#text.stopped) this.finish = 'stop'
    else if (this.usage.completionTokens >= limit) this.finish = 'length'
    if (this.finish !== null) text += this.#text.end()
    said(this.#part(text), this.usage)
    return this.finish === null
  }

  #part(text: string): AnswerPart {
    if (this.#thoughts === null && this.#calls === null) return { text, thought: '', calls: noCalls }
    const segment = this.#think(text)
    if (this.#calls === null) return { ...segment, calls: noCalls }
    return { ...this.#call(this.#calls, segment.text), thought: segment.thought }
  }

  #think(text: string): { text: string; thought: string } {
    const thoughts = this.#thoughts
    if (thoughts === null) return { text, thought: '' }
    const before = thoughts.inside
    const segment = thoughts.push(text)
    if (before || thoughts.inside) this.usage.reasoningTokens! += 1
    if (this.finish === null) return segment
    const rest = thoughts.end()
    return { text: segment.text + rest.text, thought: segment.thought + rest.thought }
  }

  #call(calls: CallText, text: string): { text: string; calls: CallPart[] } {
    const segment = calls.push(text)
    if (calls.found > 0 && !this.#parallel) this.finish = 'stop'
    const opened = calls.takeOpened()
    if (opened !== null && this.finish === null) this.#setting.callBegins(opened)
    if (this.finish !== null) {
      const rest = calls.end()
      segment.text += rest.text
      segment.calls.push(...rest.calls)
    }
    if (this.finish === 'stop' && calls.found > 0 && !calls.cut) this.finish = 'tool_calls'
    const said = this.#parallel ? segment.calls : segment.calls.filter(({ at }) => at === 0)
    return { text: segment.text, calls: said.map(partOf) }
  }
}

function partOf({ at, name, arguments: args }: CallPiece): CallPart {
  if (name === undefined) return { index: at, arguments: args }
  return { index: at, begun: { id: `call_${newId('req').slice(4)}`, name }, arguments: args }
}
