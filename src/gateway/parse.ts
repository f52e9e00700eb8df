/** Stage 1: what does the client ask for? Validates only what the gateway itself reads; the rest is the engine's. */
import { isAscii, isUtf8 } from 'node:buffer'
import { Fault } from '../kernel/fault.ts'
import { type Member, members } from './json-members.ts'
import type { Shortened } from './long-strings.ts'

/** Deepest nesting of a request body; engines' own parsers recurse. */
export const maxJsonDepth = 128

/** Which usage the client is to see: none, the last chunk of a stream, or every chunk. */
export type UsageShown = 'none' | 'final' | 'every'

export interface Ask {
  /** As the client wrote it; null when absent. */
  model: string | null
  stream: boolean
  usage: UsageShown
  /** Of large bodies with the beginnings of long strings only. */
  fields: Record<string, unknown>
  /** The body, one character per byte, and its outermost members; of a large one what is left without long strings. */
  text: string
  members: Member[]
  bytes: Buffer
  /** Where the members are in `bytes`. */
  places: Member[]
  /** null: the text is whole. */
  shortened: Shortened | null
}

/** Throws Fault `invalid_json` or `invalid_request` with `detail.param`. */
export function parseAsk(bytes: Buffer): Ask {
  if (bytes.length === 0) throw new Fault('invalid_json', 'The body is empty.')
  if (!isUtf8(bytes)) throw new Fault('invalid_json', 'The body is not UTF-8.')
  const text = bytes.toString('latin1')
  // Before JSON.parse, which would build a tree of millions of arrays out of a few megabytes of brackets.
  const found = members(text, maxJsonDepth)
  if (found === null) throw notAnObject(bytes)
  const fields = parseObject(isAscii(bytes) ? text : bytes.toString('utf8'))
  return {
    model: readModel(fields.model),
    stream: readStream(fields.stream),
    usage: readUsage(fields.stream_options),
    fields,
    text,
    members: found,
    bytes,
    places: found,
    shortened: null,
  }
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    throw notJson(error)
  }
}

function notAnObject(bytes: Buffer): Fault {
  // Only to say what is wrong with it; nobody needs that of a large one.
  if (bytes.length < 4096) {
    try {
      JSON.parse(bytes.toString('utf8'))
    } catch (error) {
      return notJson(error)
    }
  }
  return new Fault('invalid_json', `The body must be a JSON object that nests at most ${maxJsonDepth} levels deep.`)
}

/** V8 quotes the text around the fault; prompts stay out of answers and logs, so only the position is kept. */
function notJson(error: unknown): Fault {
  const position = /position (\d+)/.exec((error as Error).message)?.[1]
  return new Fault('invalid_json', `The body is not valid JSON${position ? ` (see character ${position})` : ''}.`)
}

function readModel(value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null
  if (typeof value === 'string' && value.length <= 512) return value
  throw wrong('model', 'must be a string of at most 512 characters')
}

function readStream(value: unknown): boolean {
  if (value === undefined || value === null) return false
  if (typeof value === 'boolean') return value
  throw wrong('stream', 'must be true or false')
}

function readUsage(options: unknown): UsageShown {
  if (options === undefined || options === null) return 'none'
  if (typeof options !== 'object' || Array.isArray(options)) throw wrong('stream_options', 'must be an object')
  const { include_usage: final, continuous_usage_stats: every } = options as Record<string, unknown>
  if (final !== true) return 'none'
  return every === true ? 'every' : 'final'
}

function wrong(param: string, what: string): Fault {
  return new Fault('invalid_request', `"${param}" ${what}.`, { detail: { param } })
}
