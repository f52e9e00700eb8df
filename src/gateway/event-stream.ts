/**
 * A stream of chat or completion chunks on its way to the client. Usage is asked of engines with every chunk, so the last
 * one seen is always what was used, also when the client leaves in the middle.
 *
 * `[DONE]` is swallowed here: whoever ends the stream writes it after the request is settled.
 */
import { edited, findUsage, hasNoChoices } from './answer-edit.ts'
import type { AnswerStream } from './answer-stream.ts'
import { EventCutter } from './event-cutter.ts'
import { endsGivenUp } from './given-up.ts'
import { members } from './json-members.ts'
import type { UsageShown } from './parse.ts'
import { untimed } from './timings.ts'

export interface StreamView {
  /** JSON of the model's name for the client, byte form, with what follows it; null = as the engine says. */
  model: string | null
  usage: UsageShown
  /** Chunks carry `timings`, which are read for usage and taken out. */
  timings?: boolean
  /** Largest event; a larger one is an engine gone wrong. */
  maxEventBytes: number
}

const finishReason = /"finish_reason":\s*"/

export class EventStream extends EventCutter implements AnswerStream {
  readonly #view: StreamView
  #lastPayload: string | null = null
  #finalUsageShown = false
  /** Text of the last `usage` object; null = none yet. */
  usageText: string | null = null
  /** The engine said `[DONE]`. */
  done = false
  /** Text of the engine's own error event; the stream failed, whatever its status was. */
  errorText: string | null = null
  /** Events with data so far. */
  events = 0
  /** An event with text, reasoning or a tool call has passed. */
  contentSeen = false
  /** The last two events: what says why the answer ended is one of them; the other may hold usage. */
  #latest = ''
  #before = ''

  constructor(view: StreamView) {
    super(view.maxEventBytes)
    this.#view = view
  }

  /** What is left at the engine's proper end: an event without its blank line, and the usage the client waits for. */
  end(): string {
    return this.lastEvent() + this.#missingUsage()
  }

  /** The engine said that the answer is complete: `[DONE]`, or a reason why it finished. */
  get complete(): boolean {
    return this.done || finishReason.test(this.#latest) || finishReason.test(this.#before)
  }

  get givenUp(): boolean {
    return endsGivenUp('completions', this.#latest) || endsGivenUp('completions', this.#before)
  }

  protected event(text: string, start: number, end: number): string | null {
    const line = dataLine(text, start, end)
    if (line === null) return null
    const raw = text.slice(line.start, line.end)
    if (raw === '[DONE]') {
      this.done = true
      return ''
    }
    this.events += 1
    const payload = this.#view.timings ? this.#untimed(raw) : raw
    this.#before = this.#latest
    this.#latest = payload
    if (payload.startsWith('{"error"')) {
      this.errorText = payload
      return null
    }
    if (!this.contentSeen) this.contentSeen = hasContent(payload)
    const usage = findUsage(payload)
    const known = usage !== null && payload.charCodeAt(usage.valueStart) === 0x7b
    if (known) this.usageText = payload.slice(usage.valueStart, usage.valueEnd)
    const shown = this.#shown(payload, usage, known)
    if (shown === '') return ''
    if (this.#view.usage === 'final') this.#lastPayload = shown
    return shown === raw ? null : text.slice(start, line.start) + shown + text.slice(line.end, end)
  }

  #untimed(raw: string): string {
    const found = untimed(raw)
    if (found === null) return raw
    this.usageText = found.usageText
    return found.payload
  }

  #shown(payload: string, usage: ReturnType<typeof findUsage>, known: boolean): string {
    const { model, usage: wanted } = this.#view
    if (usage === null || wanted === 'every') return edited(payload, model, null, 'keep')
    const usageOnly = known && hasNoChoices(payload)
    if (wanted === 'none') return usageOnly ? '' : edited(payload, model, usage, 'remove')
    if (usageOnly) this.#finalUsageShown = true
    return edited(payload, model, usage, usageOnly || !known ? 'keep' : 'null')
  }

  /** Some engines put usage into the last chunk with choices, where it is not expected: give it its own chunk. */
  #missingUsage(): string {
    if (this.#view.usage !== 'final' || this.#finalUsageShown) return ''
    if (this.usageText === null || this.#lastPayload === null || this.errorText !== null) return ''
    const last = this.#lastPayload
    const kept = (members(last, 128) ?? [])
      .filter((member) => ['id', 'object', 'created', 'model'].includes(member.key))
      .map((member) => last.slice(member.keyStart, member.valueEnd))
    return `data: {${[...kept, '"choices":[]', `"usage":${this.usageText}`].join(',')}}\n\n`
  }
}

/** Where the data of an event is; null for comments, empty events and data of several lines (nobody writes those). */
function dataLine(text: string, start: number, end: number): { start: number; end: number } | null {
  let at = start
  let found: { start: number; end: number } | null = null
  while (at < end) {
    let lineEnd = text.indexOf('\n', at)
    if (lineEnd === -1 || lineEnd >= end) lineEnd = end
    if (text.startsWith('data:', at)) {
      if (found !== null) return null
      const space = text.charCodeAt(at + 5) === 0x20 ? 6 : 5
      const cr = text.charCodeAt(lineEnd - 1) === 0x0d ? 1 : 0
      found = { start: at + space, end: lineEnd - cr }
    }
    at = lineEnd + 1
  }
  return found
}

/** Does this chunk carry the first thing a person would see? (Chunks before it only name the role.) */
function hasContent(payload: string): boolean {
  try {
    const { choices } = JSON.parse(payload) as { choices?: Array<Record<string, unknown>> }
    for (const choice of choices ?? []) {
      const delta = (choice.delta ?? {}) as Record<string, unknown>
      if (choice.text || delta.content || delta.reasoning || delta.reasoning_content || delta.refusal) return true
      if (Array.isArray(delta.tool_calls) && delta.tool_calls.length > 0) return true
    }
    return false
  } catch {
    return true
  }
}
