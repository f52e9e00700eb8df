/**
 * Streams of named events: the Responses API's and the Messages API's. The model's name and the usage stand inside
 * another object of a few events; all others pass as they are. The event that ends the answer is held back until
 * `end`, so that it leaves after the request is settled. `[DONE]`, which some engines add, is not part of either.
 */
import { edited, findUsage } from './answer-edit.ts'
import type { AnswerStream } from './answer-stream.ts'
import { EventCutter } from './event-cutter.ts'
import { endsGivenUp } from './given-up.ts'
import { type Member, members } from './json-members.ts'

export interface NamedView {
  /** JSON of the model's name for the client, byte form, with what follows it; null = as the engine says. */
  model: string | null
  /** Largest event; a larger one is an engine gone wrong. */
  maxEventBytes: number
  /** The route's own error event with this message, for engines that fail in other words. */
  errorEvent(message: string): string
}

export type NamedRoute = 'responses' | 'messages'

const maxDepth = 128
/** The member that holds model and usage, by route. */
const holders: Record<NamedRoute, string> = { responses: 'response', messages: 'message' }
/** Events that have such a member. `response.*.…` of finer grain have none. */
const holding: Record<NamedRoute, ReadonlySet<string>> = {
  responses: new Set([
    'response.created',
    'response.queued',
    'response.in_progress',
    'response.completed',
    'response.incomplete',
    'response.failed',
  ]),
  messages: new Set(['message_start']),
}
/** After these nothing follows. */
const last: Record<NamedRoute, ReadonlySet<string>> = {
  responses: new Set(['response.completed', 'response.incomplete', 'response.failed']),
  messages: new Set(['message_stop']),
}

interface Parsed {
  name: string
  /** Where the data is in the text. */
  start: number
  end: number
  payload: string
}

export class NamedStream extends EventCutter implements AnswerStream {
  readonly #route: NamedRoute
  readonly #view: NamedView
  /** The event that ends the answer, as the client gets it. */
  #held = ''
  /** Texts of usage objects: of the first event, and of the last that had one. */
  #firstUsage: string | null = null
  #lastUsage: string | null = null
  done = false
  complete = false
  givenUp = false
  contentSeen = false
  errorText: string | null = null
  /** Pieces of the answer so far. */
  events = 0

  constructor(route: NamedRoute, view: NamedView) {
    super(view.maxEventBytes)
    this.#route = route
    this.#view = view
  }

  protected override get over(): boolean {
    return this.done
  }

  end(): string {
    return this.lastEvent() + this.#held
  }

  /** Later events count the answer, the first one the question; each says what it knows. */
  get usageText(): string | null {
    const first = this.#firstUsage
    const later = this.#lastUsage
    return first === null || later === null ? (later ?? first) : merged(first, later)
  }

  get uncounted(): number {
    return this.#lastUsage === null ? this.events : 0
  }

  protected event(cutFrom: string, start: number, end: number): string | null {
    const text = cutFrom.slice(start, end)
    const event = parsed(text)
    if (event === null) return null
    if (event.payload === '[DONE]') return ''
    if (event.name === 'error' || event.payload.startsWith('{"error"')) return this.#failed(event)
    if (isContent(event.name)) {
      // Proves a thought; it is none. In a text these quotes would be escaped.
      if (event.payload.includes('"signature_delta"')) return null
      this.events += 1
      this.contentSeen = true
      return null
    }
    const shown = this.#edited(event)
    const whole = shown === event.payload ? text : text.slice(0, event.start) + shown + text.slice(event.end)
    if (!last[this.#route].has(event.name)) return whole === text ? null : whole
    if (this.#route === 'responses') this.givenUp = endsGivenUp('responses', event.payload)
    this.done = true
    if (this.givenUp) return ''
    this.complete = true
    this.#held = whole
    if (event.name === 'response.failed') this.errorText = event.payload
    return ''
  }

  #failed({ payload }: Parsed): string | null {
    this.errorText = payload
    this.done = true
    // In the route's own words it passes; engines that fail as they do in chats are translated.
    this.#held =
      typeOf(payload) === 'error' ? `event: error\ndata: ${payload}\n\n` : this.#view.errorEvent(said(payload))
    return ''
  }

  /** The payload with the client's name of the model; on the way it is read what was used. */
  #edited({ name, payload }: Parsed): string {
    if (name === 'message_delta') {
      this.#lastUsage = usageIn(payload) ?? this.#lastUsage
      this.givenUp = endsGivenUp('messages', payload)
    }
    if (!holding[this.#route].has(name)) return payload
    const holder = memberOf(payload, holders[this.#route])
    if (holder === null) return payload
    const inner = payload.slice(holder.valueStart, holder.valueEnd)
    if (name === 'message_start') this.#firstUsage = usageIn(inner)
    else this.#lastUsage = usageIn(inner) ?? this.#lastUsage
    const shown = edited(inner, this.#view.model, null, 'keep')
    return shown === inner ? payload : payload.slice(0, holder.valueStart) + shown + payload.slice(holder.valueEnd)
  }
}

/** The event's name and data; null for comments and data of several lines (nobody writes those). */
function parsed(text: string): Parsed | null {
  let name = ''
  let found: { start: number; end: number } | null = null
  for (let at = 0; at < text.length; ) {
    const lineEnd = text.indexOf('\n', at) === -1 ? text.length : text.indexOf('\n', at)
    const end = text.charCodeAt(lineEnd - 1) === 0x0d ? lineEnd - 1 : lineEnd
    if (text.startsWith('data:', at)) {
      if (found !== null) return null
      found = { start: at + (text.charCodeAt(at + 5) === 0x20 ? 6 : 5), end }
    } else if (text.startsWith('event:', at)) name = text.slice(at + 6, end).trim()
    at = lineEnd + 1
  }
  if (found === null) return null
  const payload = text.slice(found.start, found.end)
  // The name is in the data as well; some engines write it there only.
  return { ...found, payload, name: name === 'error' ? name : (typeOf(payload) ?? name) }
}

const typeFirst = '{"type":"'

function typeOf(payload: string): string | null {
  if (payload.startsWith(typeFirst)) return payload.slice(typeFirst.length, payload.indexOf('"', typeFirst.length))
  const type = memberOf(payload, 'type')
  return type === null ? null : stringOf(payload.slice(type.valueStart, type.valueEnd))
}

/** Does it carry a piece of the answer? Events before only open it. */
function isContent(name: string): boolean {
  return name === 'content_block_delta' || (name.startsWith('response.') && name.endsWith('.delta'))
}

function memberOf(text: string, key: string): Member | null {
  if (!text.includes(`"${key}"`)) return null
  return members(text, maxDepth)?.findLast((member) => member.key === key) ?? null
}

/** The text of the outermost usage object; null when there is none. */
function usageIn(text: string): string | null {
  const span = findUsage(text)
  if (span === null || text.charCodeAt(span.valueStart) !== 0x7b) return null
  return text.slice(span.valueStart, span.valueEnd)
}

/** Of two objects, the members of the first that the second does not have, and all of the second. */
function merged(first: string, second: string): string {
  const [one, other] = [members(first, maxDepth) ?? [], members(second, maxDepth) ?? []]
  const kept = one
    .filter(({ key }) => !other.some((member) => member.key === key))
    .map((member) => first.slice(member.keyStart, member.valueEnd))
  return `{${[...kept, ...other.map((member) => second.slice(member.keyStart, member.valueEnd))].join(',')}}`
}

/** The engine's sentence, wherever it puts it. */
function said(payload: string): string {
  try {
    const body = JSON.parse(Buffer.from(payload, 'latin1').toString()) as Record<string, unknown>
    const error = (typeof body.error === 'object' && body.error !== null ? body.error : body) as { message?: unknown }
    if (typeof error.message === 'string' && error.message !== '') return error.message
  } catch {
    // Then it says nothing.
  }
  return 'The engine broke off its answer.'
}

function stringOf(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'string' ? value : null
  } catch {
    return null
  }
}
