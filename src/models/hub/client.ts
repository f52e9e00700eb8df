/** What is asked of the Hub before anything is downloaded. Throws Faults of answer.ts; every answer is bounded. */
import { Fault } from '../../kernel/fault.ts'
import type { Secret } from '../../kernel/secret.ts'
import { faultOf, type HubAsk, header, unreachable } from './answer.ts'
import type { RemoteFile } from './file.ts'
import { type HubHttp, type HubResponse, readBody } from './http.ts'

export interface HubModel {
  /** As the Hub writes it: a repository that was renamed answers with its new name. */
  repo: string
  sha: string
  gated: boolean
  private: boolean
  disabled: boolean
  /** What its card says that it was made of, as names on the Hub; empty = it does not say. */
  bases: string[]
}

export interface HubPlace {
  repo: string
  /** Branch, tag or commit. */
  revision: string
  token: Secret | null
}

const jsonBytesMaximum = 16 * 1024 * 1024
const pagesMaximum = 50
const filesMaximum = 20_000
const basesMaximum = 16
const expanded = ['sha', 'gated', 'private', 'disabled', 'tags']

export class HubClient {
  readonly http: HubHttp
  constructor(http: HubHttp) {
    this.http = http
  }

  async model(place: HubPlace, signal: AbortSignal): Promise<HubModel> {
    const query = expanded.map((name) => `expand=${name}`).join('&')
    const path = `${apiPath(place.repo)}/revision/${encodeURIComponent(place.revision)}?${query}`
    const said = (await this.#json(path, place, signal)) as Record<string, unknown>
    const { id, sha } = said
    if (typeof sha !== 'string' || !/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(sha)) throw this.#odd('names no commit')
    return {
      repo: typeof id === 'string' && /^[\w.-]+\/[\w.-]+$/.test(id) ? id : place.repo,
      sha,
      gated: said.gated === 'auto' || said.gated === 'manual' || said.gated === true,
      private: said.private === true,
      disabled: said.disabled === true,
      bases: basesIn(said.tags),
    }
  }

  /** May this token read its files? A Hub without this route says so of none. */
  async checkAccess(place: HubPlace, signal: AbortSignal): Promise<void> {
    const response = await this.http.send({ path: `${apiPath(place.repo)}/auth-check`, token: place.token, signal })
    await response.body.dump().catch(() => {})
    const { status } = response
    if (status < 300 || (status === 404 && header(response, 'x-error-code') === null) || status === 405) return
    throw faultOf(response, this.ask(place))
  }

  /** All files at this commit. */
  async files(place: HubPlace, signal: AbortSignal): Promise<RemoteFile[]> {
    let path: string | null =
      `${apiPath(place.repo)}/tree/${encodeURIComponent(place.revision)}?recursive=true&expand=false`
    const files: RemoteFile[] = []
    for (let pages = 0; path !== null; pages++) {
      if (pages === pagesMaximum || files.length > filesMaximum) throw this.#odd(`has more than ${files.length} files`)
      const response: HubResponse = await this.#get(path, place, signal)
      const page = this.#parse(await readBody(response, jsonBytesMaximum, this.http))
      if (!Array.isArray(page)) throw this.#odd('lists no files')
      files.push(...page.flatMap((entry: unknown) => fileOf(entry) ?? []))
      path = nextPage(header(response, 'link'), this.http.endpoint)
    }
    return files
  }

  /** A small file whole; null when there is none. */
  async read(place: HubPlace, path: string, bytesMaximum: number, signal: AbortSignal): Promise<Buffer | null> {
    const response = await this.http.send({ path: resolvePath(place, path), token: place.token, signal })
    if (response.status === 200) return readBody(response, bytesMaximum, this.http)
    await response.body.dump().catch(() => {})
    const fault = faultOf(response, this.ask(place, path))
    if (fault.code === 'hub_file_not_found') return null
    throw fault
  }

  /** The beginning of a file, piece by piece until `take` has enough. */
  async begin(
    place: HubPlace,
    path: string,
    take: (piece: Buffer) => 'more' | 'enough',
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.http.send({ path: resolvePath(place, path), token: place.token, signal })
    if (response.status !== 200) {
      await response.body.dump().catch(() => {})
      throw faultOf(response, this.ask(place, path))
    }
    try {
      for await (const piece of response.body as AsyncIterable<Buffer>) if (take(piece) === 'enough') return
    } catch (error) {
      throw this.http.failed(error, signal)
    } finally {
      response.body.destroy()
    }
  }

  /** Name of the account that the token belongs to. */
  async whoAmI(token: Secret, signal: AbortSignal): Promise<string> {
    const response = await this.http.send({ path: '/api/whoami-v2', token, signal })
    if (response.status !== 200) {
      await response.body.dump().catch(() => {})
      const fault = faultOf(response, this.ask({ repo: 'it', revision: '', token }))
      if (response.status === 401 || response.status === 403)
        throw new Fault('hub_token_refused', `${new URL(this.http.endpoint).host} does not accept this token.`)
      throw fault
    }
    const said = this.#parse(await readBody(response, jsonBytesMaximum, this.http)) as { name?: unknown }
    if (typeof said?.name !== 'string') throw this.#odd('does not say whose token it is')
    return said.name.slice(0, 200)
  }

  ask({ repo, revision, token }: HubPlace, path: string | null = null): HubAsk {
    return { repo, revision, path, hasToken: token !== null, endpoint: this.http.endpoint }
  }

  async #json(path: string, place: HubPlace, signal: AbortSignal): Promise<unknown> {
    const said = this.#parse(await readBody(await this.#get(path, place, signal), jsonBytesMaximum, this.http))
    if (typeof said !== 'object' || said === null) throw this.#odd('says nothing of the model')
    return said
  }

  async #get(path: string, place: HubPlace, signal: AbortSignal): Promise<HubResponse> {
    const response = await this.http.send({ path, token: place.token, signal })
    if (response.status === 200) return response
    await response.body.dump().catch(() => {})
    throw faultOf(response, this.ask(place))
  }

  #parse(body: Buffer): unknown {
    try {
      return JSON.parse(body.toString('utf8'))
    } catch {
      throw this.#odd('is no JSON')
    }
  }

  #odd(what: string): Fault {
    return unreachable(`its answer ${what}`, this.http.endpoint)
  }
}

/** `base_model:<owner>/<name>`, or with what was done to it between: `base_model:quantized:<owner>/<name>`. */
function basesIn(tags: unknown): string[] {
  const named = (Array.isArray(tags) ? tags : []).flatMap((tag) => {
    return /^base_model:(?:\w+:)?([\w.-]{1,96}\/[\w.-]{1,96})$/.exec(String(tag))?.[1] ?? []
  })
  return [...new Set(named)].slice(0, basesMaximum)
}

function apiPath(repo: string): string {
  return `/api/models/${repo}`
}

/** Where a file is had, below the Hub's address. */
export function resolvePath({ repo, revision }: Pick<HubPlace, 'repo' | 'revision'>, path: string): string {
  return `/${repo}/resolve/${encodeURIComponent(revision)}/${path.split('/').map(encodeURIComponent).join('/')}`
}

function fileOf(entry: unknown): RemoteFile | null {
  const { type, path, size, oid, lfs } = (entry ?? {}) as Record<string, unknown>
  if (type !== 'file' || typeof path !== 'string' || typeof size !== 'number') return null
  const large = (lfs ?? null) as { oid?: unknown; size?: unknown } | null
  const sha256 = String(large?.oid ?? '').replace(/^sha256:/, '')
  if (large !== null && /^[0-9a-f]{64}$/.test(sha256))
    return { path, sizeBytes: Number(large.size ?? size), digest: `sha256-${sha256}` }
  return typeof oid === 'string' && /^[0-9a-f]{40}$/.test(oid) ? { path, sizeBytes: size, digest: `git-${oid}` } : null
}

/** A mirror may hand on the address of the Hub behind it: only what follows the host counts. */
function nextPage(link: string | null, endpoint: string): string | null {
  const address = /<([^>]+)>\s*;\s*rel="next"/.exec(link ?? '')?.[1]
  if (address === undefined) return null
  const { pathname, search } = new URL(address, endpoint)
  const at = pathname.indexOf('/api/')
  return at === -1 ? null : pathname.slice(at) + search
}
