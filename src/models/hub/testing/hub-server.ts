/**
 * For tests: a Hub, with the place where it keeps large files as a host of its own. It answers as the real one does, in the
 * shapes of its answers and in its ugly parts: what is private looks as if it were not there, metadata of gated repositories
 * is open to all, small files take a detour by 307, large ones come by 302 from elsewhere through a link that expires and
 * that refuses a token, lists come in pages, there are rate limits, and connections break off. Troubles are switched on by
 * the test.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Cdn } from './cdn.ts'
import { LoopbackServer } from './loopback.ts'
import { type Account, gitSha1, type Repo, Repos, type StoredFile, sha256 } from './repos.ts'

export interface Asked {
  method: string
  path: string
  token: string | null
}

const pageEntries = 50

export class HubServer extends LoopbackServer {
  readonly repos = new Repos()
  readonly cdn = new Cdn(this.repos)
  /** Every request to the Hub itself. */
  readonly asked: Asked[] = []
  /** This many requests from now on are told to come later, in the words of the rate limit, with or without Retry-After. */
  limited: { requests: number; retryAfter: string | null } = { requests: 0, retryAfter: '1' }
  /** Answers 502 as a proxy before it would. */
  broken = 0
  /** Nothing is answered until it resolves. */
  pause: Promise<void> | null = null
  /** A mirror without the newer route. */
  hasAuthCheck = true
  /** What a mirror hands on of the Hub behind it. */
  pageHost: string | null = null

  override async start(): Promise<this> {
    await this.cdn.start()
    return super.start()
  }

  override async close(): Promise<void> {
    await this.cdn.close()
    await super.close()
  }

  protected async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.url)
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1] ?? null
    this.asked.push({ method: request.method!, path: url.pathname, token })
    await this.pause
    response.setHeader('x-request-id', `Root=1-${this.asked.length}`)
    if (this.broken > 0) {
      this.broken -= 1
      return send(response, 502, '<html>Bad Gateway</html>', { 'content-type': 'text/html' })
    }
    if (this.limited.requests > 0) {
      this.#limit(response)
      return
    }
    const account = token === null ? null : this.repos.accounts.get(token)
    if (account === undefined) return refuse(response, 401, null, 'Invalid credentials in Authorization header')
    this.#route(url, account, response, request.method === 'HEAD')
  }

  #limit(response: ServerResponse): void {
    this.limited.requests -= 1
    const { retryAfter } = this.limited
    response.setHeader('ratelimit', '"api";r=0;t=1')
    response.setHeader('ratelimit-policy', '"fixed window";"api";q=500;w=300')
    if (retryAfter !== null) response.setHeader('retry-after', retryAfter)
    send(
      response,
      429,
      JSON.stringify({ error: 'We had to rate limit your IP. To continue using our service, create a HF account.' }),
    )
  }

  #route(url: URL, account: Account | null, response: ServerResponse, head: boolean): unknown {
    const path = decodeURIComponent(url.pathname)
    if (path === '/api/whoami-v2') {
      if (account === null) return refuse(response, 401, null, 'Invalid username or password.')
      return json(response, { type: 'user', id: '1', name: account.name, auth: { type: 'access_token' } })
    }
    const [, api, id, rest = ''] =
      /^\/(api\/models\/|api\/resolve-cache\/models\/)?([^/]+\/[^/]+)(\/.*)?$/.exec(path) ?? []
    if (id === undefined) return refuse(response, 404, null, 'Sorry, we can’t find the page you are looking for.')
    const moved = this.repos.renamed.get(id)
    if (moved !== undefined) {
      response.setHeader('location', url.pathname.replace(id, moved) + url.search)
      return send(response, 307, `Temporary Redirect. Redirecting to ${moved}`, { 'content-type': 'text/plain' })
    }
    const repo = this.repos.byId.get(id)
    if (!repo || (repo.private && !account?.may.has(id))) {
      const status = account === null ? 401 : 404
      return refuse(response, status, 'RepoNotFound', 'Repository not found', api === undefined ? 'text' : 'json')
    }
    if (repo.disabled) return refuse(response, 403, null, 'Access to this resource is disabled.')
    if (api === 'api/models/') return this.#api(repo, rest, url, account, response)
    if (api === 'api/resolve-cache/models/') return this.#cached(repo, rest, response, head)
    this.#resolve(repo, rest, url, account, response, head)
  }

  #api(repo: Repo, rest: string, url: URL, account: Account | null, response: ServerResponse): unknown {
    if (rest === '/auth-check') {
      if (!this.hasAuthCheck) return refuse(response, 404, null, 'Not Found')
      return isOpen(repo, account) ? json(response, {}) : gated(repo, account, response, 'json')
    }
    const [, what, revision = 'main'] = /^\/(revision|tree)\/(.+)$/.exec(rest) ?? []
    const sha = this.repos.commitOf(repo, revision)
    if (sha === null) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`)
    // Also of gated repositories, to everybody.
    if (what === 'tree') return this.#tree(repo, sha, url, response)
    const all: Record<string, unknown> = { ...repo, sha }
    const wanted = url.searchParams.getAll('expand')
    json(response, {
      _id: '65c0e0a24913fc50b7ba14d2',
      id: repo.id,
      ...Object.fromEntries(wanted.map((name) => [name, all[name]])),
    })
  }

  #tree(repo: Repo, sha: string, url: URL, response: ServerResponse): void {
    const entries = [...repo.commits.get(sha)!].map(([path, file]) => entryOf(path, file))
    const folders = new Set(
      entries.flatMap(({ path }) => (path.includes('/') ? [path.slice(0, path.lastIndexOf('/'))] : [])),
    )
    const all = [
      ...[...folders].map((path) => ({ type: 'directory', oid: gitSha1(Buffer.from(path)), size: 0, path })),
      ...entries,
    ]
    const from = Number(url.searchParams.get('cursor') ?? 0)
    if (from + pageEntries < all.length) {
      const next = new URL(url)
      next.searchParams.set('cursor', String(from + pageEntries))
      response.setHeader('link', `<${this.pageHost ?? this.url}${next.pathname}${next.search}>; rel="next"`)
    }
    json(response, all.slice(from, from + pageEntries))
  }

  #resolve(
    repo: Repo,
    rest: string,
    url: URL,
    account: Account | null,
    response: ServerResponse,
    head: boolean,
  ): unknown {
    if (!isOpen(repo, account)) return gated(repo, account, response, 'text')
    const [, revision = '', path = ''] = /^\/resolve\/([^/]+)\/(.+)$/.exec(rest) ?? []
    const sha = this.repos.commitOf(repo, revision)
    if (sha === null) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`, 'text')
    response.setHeader('x-repo-commit', sha)
    const file = repo.commits.get(sha)!.get(path)
    if (!file) return refuse(response, 404, 'EntryNotFound', 'Entry not found', 'text')
    if (!file.lfs) {
      response.setHeader('etag', `"${gitSha1(file.bytes)}"`)
      response.setHeader(
        'location',
        `/api/resolve-cache/models/${repo.id}/${sha}/${encodeURI(path)}?${encodeURIComponent(url.pathname)}=&etag=%22${gitSha1(file.bytes)}%22`,
      )
      return send(response, 307, 'Temporary Redirect', { 'content-type': 'text/plain; charset=utf-8' })
    }
    const hash = sha256(file.bytes)
    response.setHeader('x-linked-size', file.bytes.length)
    response.setHeader('x-linked-etag', `"${hash}"`)
    response.setHeader('x-xet-hash', hash.split('').reverse().join(''))
    response.setHeader('link', `<${this.url}/api/models/${repo.id}/xet-read-token/${sha}>; rel="xet-auth"`)
    response.setHeader('location', this.cdn.link(hash, path))
    send(response, 302, head ? '' : `Found. Redirecting to ${this.cdn.url}`, {
      'content-type': 'text/plain; charset=utf-8',
    })
  }

  #cached(repo: Repo, rest: string, response: ServerResponse, head: boolean): unknown {
    const [, sha = '', path = ''] = /^\/([0-9a-f]{40})\/(.+)$/.exec(rest) ?? []
    const file = repo.commits.get(sha)?.get(path)
    if (!file) return refuse(response, 404, 'EntryNotFound', 'Entry not found', 'text')
    const headers = { etag: `"${gitSha1(file.bytes)}"`, 'x-repo-commit': sha, 'accept-ranges': 'bytes' }
    send(response, 200, head ? '' : file.bytes, { 'content-type': 'text/plain; charset=utf-8', ...headers })
  }
}

function isOpen(repo: Repo, account: Account | null): boolean {
  return repo.gated === false || account?.may.has(repo.id) === true
}

function gated(repo: Repo, account: Account | null, response: ServerResponse, as: 'json' | 'text'): void {
  const message =
    account === null
      ? `Access to model ${repo.id} is restricted. You must have access to it and be authenticated to access it. Please log in.`
      : `Access to model ${repo.id} is restricted and you are not in the authorized list. Visit https://huggingface.co/${repo.id} to ask for access.`
  refuse(response, account === null ? 401 : 403, 'GatedRepo', message, as)
}

function entryOf(path: string, { bytes, lfs }: StoredFile) {
  const entry = { type: 'file', path, size: bytes.length }
  if (!lfs) return { ...entry, oid: gitSha1(bytes) }
  const pointer = Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(bytes)}\nsize ${bytes.length}\n`,
  )
  const large = { oid: sha256(bytes), size: bytes.length, pointerSize: pointer.length }
  return { ...entry, oid: gitSha1(pointer), lfs: large, xetHash: sha256(pointer) }
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string | null,
  message: string,
  as: 'json' | 'text' = 'json',
): void {
  if (code !== null) response.setHeader('x-error-code', code)
  // Headers hold Latin letters only.
  response.setHeader('x-error-message', message.replace(/[^\x20-\x7e]/g, "'"))
  if (as === 'json') send(response, status, JSON.stringify({ error: message }), { 'content-type': 'application/json' })
  else send(response, status, message, { 'content-type': 'text/plain; charset=utf-8' })
}

function json(response: ServerResponse, value: unknown): void {
  send(response, 200, JSON.stringify(value), { 'content-type': 'application/json; charset=utf-8' })
}

function send(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  headers: Record<string, string> = { 'content-type': 'application/json' },
): void {
  response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers })
  response.end(body)
}
