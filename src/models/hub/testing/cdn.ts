/** For tests: where the Hub keeps large files. Links are signed and expire; whoever brings a token as well is refused. */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { LoopbackServer } from './loopback.ts'
import type { Repos } from './repos.ts'

export interface Served {
  hash: string
  /** First byte that was asked for. */
  from: number
  status: number
}

const pieceBytes = 64 * 1024

export class Cdn extends LoopbackServer {
  readonly #repos: Repos
  readonly served: Served[] = []
  /** Requests that came with an Authorization header: there must be none. */
  leaked = 0
  /** The connections of so many answers break off after so many bytes. */
  cut: { answers: number; afterBytes: number } = { answers: 0, afterBytes: 0 }
  /** Answers whole files whatever part was asked for. */
  ignoresRange = false
  /** So many answers have a wrong byte in them. */
  corrupt = 0
  /** So many requests are told that their link is over. */
  expired = 0
  /** Called before every piece with its place in the file; a piece is sent when it resolves. */
  gate: ((at: number, hash: string) => Promise<void>) | null = null
  #generation = 0

  constructor(repos: Repos) {
    super()
    this.#repos = repos
  }

  /** How often this file, or any, was asked for. */
  times(hash?: string): number {
    return this.served.filter((one) => hash === undefined || one.hash === hash).length
  }

  link(hash: string, path: string): string {
    const name = encodeURIComponent(`inline; filename*=UTF-8''${path.split('/').at(-1)}`)
    const query = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-Signature=${this.#signature(hash)}`
    return `${this.url}/xet-bridge-us/65c0e0a24913fc50b7ba14d2/${hash}?${query}&response-content-disposition=${name}`
  }

  /** Links that were given are over; new ones work. */
  expireLinks(): void {
    this.#generation += 1
  }

  #signature(hash: string): string {
    return createHash('sha256').update(`${hash} ${this.#generation}`).digest('hex')
  }

  override close(): Promise<void> {
    this.gate = null
    return super.close()
  }

  protected async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.url)
    const hash = url.pathname.split('/').at(-1)!
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (request.headers.authorization !== undefined) {
      this.leaked += 1
      return xml(response, 400, 'InvalidArgument', 'Only one auth mechanism allowed')
    }
    const bytes = this.#repos.large(hash)
    const isExpired = this.expired > 0 || url.searchParams.get('X-Amz-Signature') !== this.#signature(hash)
    if (this.expired > 0) this.expired -= 1
    if (bytes === null || isExpired) {
      this.served.push({ hash, from, status: 403 })
      return xml(response, 403, 'AccessDenied', 'Request has expired')
    }
    const partial = request.headers.range !== undefined && !this.ignoresRange
    if (partial && from >= bytes.length) {
      this.served.push({ hash, from, status: 416 })
      response.setHeader('content-range', `bytes */${bytes.length}`)
      return xml(response, 416, 'InvalidRange', 'The requested range is not satisfiable')
    }
    this.served.push({ hash, from: partial ? from : 0, status: partial ? 206 : 200 })
    await this.#send(response, hash, bytes, partial ? from : 0)
  }

  async #send(response: ServerResponse, hash: string, whole: Buffer, from: number): Promise<void> {
    const bytes = Buffer.from(whole.subarray(from))
    if (this.corrupt > 0) {
      this.corrupt -= 1
      bytes[bytes.length - 1]! ^= 1
    }
    const cutAt = this.cut.answers > 0 ? this.cut.afterBytes : Number.POSITIVE_INFINITY
    if (this.cut.answers > 0) this.cut.answers -= 1
    response.writeHead(from > 0 ? 206 : 200, {
      'content-type': 'application/octet-stream',
      'content-length': bytes.length,
      'accept-ranges': 'bytes',
      etag: `"${createHash('md5').update(whole).digest('hex')}"`,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` } : {}),
    })
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      await this.gate?.(from + at, hash)
      if (response.destroyed) return
      const piece = bytes.subarray(at, Math.min(at + pieceBytes, cutAt, bytes.length))
      await new Promise<void>((done) => response.write(piece, () => done()))
      if (at + pieceBytes >= cutAt) return void response.destroy()
    }
    response.end()
  }
}

function xml(response: ServerResponse, status: number, code: string, message: string): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
