/** Reads a request body with a limit and says where JSON is broken, without repeating what was sent. */
import { createHash } from 'node:crypto'
import { Fault } from '../kernel/fault.ts'

export const bodyBytesMaximum = 10 * 1024 * 1024
/** Broken bodies up to this size are searched for the place; larger ones cost too much. */
const searchedCharactersMaximum = 64 * 1024

/** The parsed body; undefined when it is empty. Throws Fault 400, 413, 415 or 499. */
export async function readJsonBody(request: Request, maximumBytes = bodyBytesMaximum): Promise<unknown> {
  const bytes = await readBytes(request, maximumBytes)
  if (bytes.byteLength === 0) return undefined
  const type = request.headers.get('content-type')
  if (type === null || !/^application\/json\s*(;|$)/i.test(type))
    throw new Fault('unsupported_media_type', `The body is ${type === null ? 'without a Content-Type' : 'not JSON'}.`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Fault('invalid_json', 'The body is not valid UTF-8.', { cause })
  }
  return parse(text)
}

async function readBytes(request: Request, maximumBytes: number): Promise<Uint8Array> {
  const tooLarge = new Fault('body_too_large', `The body is larger than ${maximumBytes} bytes.`)
  if (Number(request.headers.get('content-length') ?? 0) > maximumBytes) throw tooLarge
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of request.body ?? []) {
      length += chunk.byteLength
      if (length > maximumBytes) throw tooLarge
      chunks.push(chunk)
    }
  } catch (thrown) {
    if (thrown === tooLarge) throw thrown
    throw new Fault('client_closed', 'The body ended before it was complete.', { cause: thrown })
  }
  return Buffer.concat(chunks, length)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (thrown) {
    // The parser's own message repeats parts of the body, which may hold a secret: only the place is taken from it.
    const offset = brokenAt(text, thrown as Error)
    throw new Fault('invalid_json', `The body is not valid JSON${offset === null ? '' : `: ${place(text, offset)}`}.`)
  }
}

function place(text: string, offset: number): string {
  if (offset >= text.length) return `it ends too early, after ${text.length} characters`
  const before = text.slice(0, offset).split('\n')
  return `it breaks at line ${before.length}, column ${before.at(-1)!.length + 1} (position ${offset})`
}

function brokenAt(text: string, error: Error): number | null {
  const said = / at position (\d+)/.exec(error.message)
  if (said) return Number(said[1])
  if (/end of JSON/.test(error.message)) return text.length
  if (text.length > searchedCharactersMaximum) return null
  // No position given: the shortest prefix that is broken, rather than merely unfinished, ends with the culprit.
  let [low, high] = [0, text.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (isBroken(text.slice(0, middle))) high = middle
    else low = middle + 1
  }
  return low - 1
}

function isBroken(prefix: string): boolean {
  try {
    JSON.parse(prefix)
    return false
  } catch (thrown) {
    const { message } = thrown as Error
    const at = / at position (\d+)/.exec(message)
    return at ? Number(at[1]) < prefix.length : !/end of JSON/.test(message)
  }
}

/** SHA-256 of the body whatever the order of its fields and its white space, hex. */
export function bodyHash(body: unknown): string {
  return createHash('sha256').update(canonical(body)).digest('hex')
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, item]) => `${JSON.stringify(name)}:${canonical(item)}`).join(',')}}`
}
