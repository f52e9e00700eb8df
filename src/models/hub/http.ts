/**
 * One request to the Hub, redirects followed by hand. The token goes to the operator's address and to no other host, and
 * not back to it after a detour; where a redirect may lead is said in address.ts, and checked again when its name is
 * looked up, which is the moment that counts.
 */
import { lookup as dnsLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import { Fault } from '../../kernel/fault.ts'
import type { Secret } from '../../kernel/secret.ts'
import { version } from '../../runtime/self.ts'
import { kindOfAddress, literalOf, refusedRedirect } from './address.ts'
import { header, unreachable } from './answer.ts'

export interface HubHttpOptions {
  /** Address of the Hub, perhaps with a path, without a trailing slash. */
  endpoint: string
  /** Longest silence of a connection. */
  silenceMs?: number
  /** For tests: what names mean. */
  lookup?: LookupFunction
}

export interface HubRequest {
  method?: 'GET' | 'HEAD'
  /** Below the endpoint, beginning with a slash. */
  path: string
  token: Secret | null
  /** From this byte on. */
  from?: number
  signal?: AbortSignal
}

export interface HubResponse {
  status: number
  headers: Dispatcher.ResponseData['headers']
  /** Must be read or destroyed. */
  body: Dispatcher.ResponseData['body']
  /** The Hub's own first answer, which tells what it redirects to. */
  first: { status: number; headers: Dispatcher.ResponseData['headers'] }
  /** It came from another host than the Hub. */
  foreign: boolean
}

const redirectsMaximum = 6
const silenceMsDefault = 30_000
const connectMs = 10_000
const idleMs = 4_000
const redirects = new Set([301, 302, 303, 307, 308])

export class HubHttp {
  readonly endpoint: string
  readonly #base: URL
  readonly #own: Agent
  readonly #foreign: Agent
  /** The Hub is a machine of ours: then what it redirects to may be one, too. */
  #isPrivate: boolean

  constructor({ endpoint, silenceMs = silenceMsDefault, lookup = dnsLookup as LookupFunction }: HubHttpOptions) {
    this.endpoint = endpoint.replace(/\/+$/, '')
    this.#base = new URL(this.endpoint)
    const literal = literalOf(this.#base)
    this.#isPrivate = literal !== null && kindOfAddress(literal) === 'private'
    const waits = {
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: idleMs,
    }
    this.#own = new Agent({ ...waits, connect: { timeout: connectMs, lookup: this.#remembering(lookup) } })
    this.#foreign = new Agent({ ...waits, connect: { timeout: connectMs, lookup: this.#guarded(lookup) } })
  }

  /** Throws Fault `hub_unreachable`; an answer that is an error is an answer. */
  async send({ method = 'GET', path, token, from = 0, signal }: HubRequest): Promise<HubResponse> {
    let url = new URL(this.endpoint + path)
    let foreign = false
    let first: HubResponse['first'] | null = null
    for (let hops = 0; ; hops++) {
      const headers: Record<string, string> = { 'user-agent': `paddock/${version}`, 'accept-encoding': 'identity' }
      if (token !== null && !foreign) headers.authorization = `Bearer ${token.reveal()}`
      if (from > 0) headers.range = `bytes=${from}-`
      const answer = await this.#ask(foreign ? this.#foreign : this.#own, { method, url, headers, signal })
      const head = { status: answer.statusCode, headers: answer.headers }
      first ??= head
      const location = redirects.has(head.status) ? header(head, 'location') : null
      if (location === null) return { ...head, body: answer.body, first, foreign }
      await answer.body.dump().catch(() => {})
      if (hops === redirectsMaximum) throw unreachable('it redirects in a circle', this.endpoint)
      url = this.#follow(url, location)
      foreign ||= url.origin !== this.#base.origin
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#own.destroy(), this.#foreign.destroy()])
  }

  async #ask(
    agent: Agent,
    {
      url,
      signal,
      ...rest
    }: { method: 'GET' | 'HEAD'; url: URL; headers: Record<string, string>; signal?: AbortSignal },
  ): Promise<Dispatcher.ResponseData> {
    try {
      return await agent.request({ origin: url.origin, path: url.pathname + url.search, signal, ...rest })
    } catch (error) {
      throw this.failed(error, signal)
    }
  }

  /** What broke on the way, as a fault; what the caller aborted stays what it is. */
  failed(error: unknown, signal?: AbortSignal): unknown {
    if (signal?.aborted || error instanceof Fault) return error
    const { message, code } = error as Error & { code?: string }
    return unreachable(code === undefined ? message : `${code}: ${message}`.slice(0, 200), this.endpoint, error)
  }

  #follow(from: URL, location: string): URL {
    let to: URL
    try {
      to = new URL(location, from)
    } catch {
      throw unreachable('it redirects to what is no address', this.endpoint)
    }
    const literal = literalOf(to)
    const why =
      refusedRedirect(from, to, this.#base) ??
      (literal !== null && to.origin !== this.#base.origin && !this.#mayGoTo(literal)
        ? 'it leads into a private network'
        : null)
    if (why !== null) throw unreachable(`its redirect to ${to.host} is not followed, since ${why}`, this.endpoint)
    return to
  }

  #mayGoTo(address: string): boolean {
    const kind = kindOfAddress(address)
    return kind === 'public' || (kind === 'private' && this.#isPrivate)
  }

  #remembering(lookup: LookupFunction): LookupFunction {
    return (host, options, done) =>
      lookup(host, options, (error, found, family) => {
        if (!error) this.#isPrivate = listed(found).every((address) => kindOfAddress(address) === 'private')
        done(error, found, family)
      })
  }

  #guarded(lookup: LookupFunction): LookupFunction {
    return (host, options, done) =>
      lookup(host, options, (error, found, family) => {
        if (error || listed(found).every((address) => this.#mayGoTo(address))) return done(error, found, family)
        done(new Error(`${host} is in a private network`), [], undefined)
      })
  }
}

function listed(found: string | { address: string }[]): string[] {
  return typeof found === 'string' ? [found] : found.map(({ address }) => address)
}

/** The whole body; throws Fault `hub_unreachable` when it is larger than it may be or breaks off. */
export async function readBody(response: HubResponse, bytesMaximum: number, http: HubHttp): Promise<Buffer> {
  const pieces: Buffer[] = []
  let size = 0
  try {
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      size += piece.length
      if (size > bytesMaximum) throw unreachable(`an answer is larger than ${bytesMaximum} bytes`, http.endpoint)
      pieces.push(piece)
    }
  } catch (error) {
    throw http.failed(error)
  }
  return Buffer.concat(pieces)
}
