/**
 * Media that a request brings along: inside it (data URLs) always, from elsewhere only where the operator allows. An
 * engine fetches what it is told to, from wherever it stands: other machines' services, and files of its own.
 */
import { Fault } from '../kernel/fault.ts'
import type { Ask } from './parse.ts'

export interface MediaLimits {
  /** Hosts, in small letters; `*.` before one stands for all under it. */
  mediaDomains: readonly string[]
}

/** Fields that hold what is said; what else has addresses in it (schemas of tools, metadata) no engine goes to. */
const spoken: ReadonlySet<string> = new Set([
  'messages',
  'prompt',
  'input',
  'system',
  'instructions',
  'query',
  'documents',
])
const pathLengthMaximum = 256
/** Members that engines take for media or where to get them, whatever the part's `type` says. */
const places: ReadonlySet<string> = new Set([
  'image_url',
  'audio_url',
  'video_url',
  'file_url',
  'file_data',
  'image',
  'audio',
  'video',
  'url',
  'uri',
])
/** Members of what an engine itself had answered, which clients send back: no engine looks into them for media. */
const answered: ReadonlySet<string> = new Set(['annotations', 'tool_calls'])
/**
 * Only what every parser of addresses reads alike: those that accept more differ in which host they find in
 * "http://one\@two/".
 */
const address = /^https?:\/\/([a-z0-9.-]+)(?::\d{1,5})?(?:[/?#][\x21-\x5b\x5d-\x7e]*)?$/i

/** Throws Fault `engine_parameter_refused` with the path of the first that is not allowed. */
export function requireAllowedMedia(ask: Ask, domains: readonly string[]): void {
  for (const { key } of ask.members) {
    const value = ask.fields[key]
    if (value === null || typeof value !== 'object' || !spoken.has(key)) continue
    const path = foreign(value, domains, false)
    if (path === null) continue
    const param = (key + path).slice(0, pathLengthMaximum)
    const elsewhere = domains.length === 0 ? '' : `, or an address on ${domains.join(', ')}`
    throw new Fault('engine_parameter_refused', `"${param}" is not fetched: media must be a data URL${elsewhere}.`, {
      detail: { param },
    })
  }
}

/** Path from here to the first string that stands where media do and is not allowed; null = there is none. */
function foreign(value: object, domains: readonly string[], isPlace: boolean): string | null {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const path = foreignAt(value[i], domains, isPlace)
      if (path !== null) return `[${i}]${path}`
    }
    return null
  }
  for (const key in value) {
    if (answered.has(key)) continue
    const path = foreignAt((value as Record<string, unknown>)[key], domains, places.has(key))
    if (path !== null) return `.${key}${path}`
  }
  return null
}

function foreignAt(value: unknown, domains: readonly string[], isPlace: boolean): string | null {
  if (typeof value === 'string') return isPlace && !isAllowed(value, domains) ? '' : null
  return value !== null && typeof value === 'object' ? foreign(value, domains, isPlace) : null
}

function isAllowed(place: string, domains: readonly string[]): boolean {
  if (/^data:/i.test(place)) return true
  const host = address.exec(place)?.[1]?.toLowerCase()
  if (host === undefined) return false
  return domains.some((domain) => (domain.startsWith('*.') ? host.endsWith(domain.slice(1)) : host === domain))
}
