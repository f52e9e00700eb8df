/** How a request is answered on the wire. */
import type { ServerResponse } from 'node:http'
import {
  type AnswerHead,
  type CallPart,
  chunk,
  doneEvent,
  type FinishReason,
  type ToolCall,
  type Usage,
  usageChunk,
  wholeAnswer,
} from '../../contract.answer.ts'
import { send } from '../../contract.body.ts'
import type { AnswerPart } from './answer.ts'
import type { EngineRequest } from './request.ts'

/**
 * An answer being written: collected when plain, in chunks when streamed. A stream begins with its first token, so that
 * what fails before still has a status of its own.
 */
export class Reply {
  readonly #response: ServerResponse
  readonly #request: EngineRequest
  readonly #head: AnswerHead
  #text = ''
  #thought = ''
  readonly #calls: ToolCall[] = []

  constructor(response: ServerResponse, request: EngineRequest, head: AnswerHead) {
    this.#response = response
    this.#request = request
    this.#head = head
  }

  token(part: AnswerPart, usage: Usage): void {
    if (this.#request.stream) {
      if (usage.completionTokens === 1) this.#begin(usage)
      this.#stream(part, this.#usageOf(usage))
      return
    }
    this.#text += part.text
    this.#thought += part.thought
    for (const call of part.calls) this.#collect(call)
  }

  end({ finish, usage }: { finish: FinishReason; usage: Usage }): void {
    if (!this.#request.stream) {
      const said = { text: this.#text, thought: this.#thought, calls: this.#calls }
      send(this.#response, 200, wholeAnswer(this.#head, said, finish, usage))
      return
    }
    const last = chunk(this.#head, { finish, usage: this.#usageOf(usage) })
    const total = this.#request.usage === 'none' ? '' : usageChunk(this.#head, usage)
    this.#response.end(last + total + doneEvent)
  }

  #stream({ text, thought, calls }: AnswerPart, usage: Usage | null | undefined): void {
    if (thought !== '') this.#response.write(chunk(this.#head, { thought, usage }))
    const isSilent = thought === '' && calls.length === 0
    if (text !== '' || (isSilent && this.#request.usage === 'every'))
      this.#response.write(chunk(this.#head, { text, usage }))
    for (const call of calls) this.#response.write(chunk(this.#head, { call, usage }))
  }

  #collect({ index, begun, arguments: args }: CallPart): void {
    if (begun !== undefined) this.#calls[index] = { ...begun, arguments: args }
    else this.#calls[index]!.arguments += args
  }

  #begin(usage: Usage): void {
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    if (this.#head.kind === 'chat') this.#response.write(chunk(this.#head, { role: true, usage: this.#usageOf(usage) }))
  }

  /** Each chunk shows usage, shows null, or says nothing of it. */
  #usageOf(usage: Usage): Usage | null | undefined {
    if (this.#request.usage === 'none') return undefined
    return this.#request.usage === 'every' ? usage : null
  }
}
