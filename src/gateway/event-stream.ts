/**
 * A stream of chat or completion chunks on its way to the client. Usage is asked of engines with every chunk, so the last
 * one seen is always what was used, also when the client leaves in the middle.
 *
 * `[DONE]` is swallowed here: whoever ends the stream writes it after the request is settled.
 */
import { edited, findModel, findUsage, hasNoChoices, type Span, type UsageFate } from './answer-edit.ts'
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
  /** What the first event began with, up to the model's name and with it; null = others begin otherwise. */
  #beginning: string | null = ''
  #shownBeginning = ''
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
    const isUsual = isOneLine(text, start, end)
    const line = isUsual ? null : dataLine(text, start, end)
    if (line === null && !isUsual) return null
    const from = line === null ? start + usualStart.length : line.start
    const to = line === null ? end - 2 : line.end
    const raw = text.slice(from, to)
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
    return shown === raw ? null : text.slice(start, from) + shown + text.slice(to, end)
  }

  #untimed(raw: string): string {
    const found = untimed(raw)
    if (found === null) return raw
    this.usageText = found.usageText
    return found.payload
  }

  #shown(payload: string, usage: ReturnType<typeof findUsage>, known: boolean): string {
    const { usage: wanted } = this.#view
    if (usage === null || wanted === 'every') return this.#edited(payload, null, 'keep')
    const usageOnly = known && hasNoChoices(payload)
    if (wanted === 'none') return usageOnly ? '' : this.#edited(payload, usage, 'remove')
    if (usageOnly) this.#finalUsageShown = true
    return this.#edited(payload, usage, usageOnly || !known ? 'keep' : 'null')
  }

  /** Where all events begin in the same way, up to the model's name and with it, it is looked for once. */
  #edited(payload: string, usage: Span | null, fate: UsageFate): string {
    const { model } = this.#view
    if (model === null) return edited(payload, null, usage, fate)
    const before = this.#beginning
    if (before === null) return edited(payload, model, usage, fate)
    if (before === '' || !payload.startsWith(before)) return this.#begin(payload, model, usage, fate)
    if (usage === null || fate === 'keep') return this.#shownBeginning + payload.slice(before.length)
    if (usage.keyStart < before.length) return edited(payload, model, usage, fate)
    return this.#shownBeginning + edited(payload, null, usage, fate).slice(before.length)
  }

  #begin(payload: string, model: string, usage: Span | null, fate: UsageFate): string {
    const named = findModel(payload)
    // Only what ends with a quote cannot be the beginning of another name.
    const isOther = this.#beginning !== ''
    if (isOther || named === null || payload.charCodeAt(named.valueEnd - 1) !== 0x22) this.#beginning = null
    else {
      this.#beginning = payload.slice(0, named.valueEnd)
      this.#shownBeginning = payload.slice(0, named.valueStart) + model
    }
    return edited(payload, model, usage, fate, named)
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

const usualStart = 'data: '

/** As nearly all events are: one line of data, a blank one, line feeds alone. */
function isOneLine(text: string, start: number, end: number): boolean {
  return (
    text.startsWith(usualStart, start) && text.indexOf('\n', start) === end - 2 && text.charCodeAt(end - 3) !== 0x0d
  )
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
