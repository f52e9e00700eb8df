/** Whoever has the files of a model that is brought here: the Hub, or the bucket of uploads. */
import type { Readable } from 'node:stream'
import type { RemoteFile, RemoteFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import type { Secret } from '../../kernel/secret.ts'
import { faultOf, header, passesByItself, unreachable } from './answer.ts'
import { type HubClient, resolvePath } from './client.ts'
import type { HubResponse } from './http.ts'

/** For one model. */
export interface FileSource {
  /** The file's bytes from `from` on, or from its first where that cannot be had. Throws Faults, or what a connection throws. */
  open(file: RemoteFile, from: number, signal: AbortSignal): Promise<{ from: number; body: Readable }>
  /** What went wrong, when it is the source's and not this machine's. */
  failed(error: unknown): Fault | null
  /** It will be right when it is tried again. */
  passes(fault: Fault): boolean
  /** `why`: half a sentence; it passes. */
  broke(why: string): Fault
  wrong(file: RemoteFile): Fault
  noRoom(message: string, cause?: unknown): Fault
}

/** Asked for once per model that is brought. */
export type SourceOf = (content: RemoteFiles) => Promise<FileSource>

/** `tokenOf`: an organisation's, where it has one. */
export function hubSource(client: HubClient, tokenOf: (orgId: string) => Promise<Secret | null>): SourceOf {
  return async (content) => new HubFileSource(client, content, await tokenOf(content.orgId))
}

class HubFileSource implements FileSource {
  readonly #client: HubClient
  readonly #content: RemoteFiles
  readonly #token: Secret | null
  constructor(client: HubClient, content: RemoteFiles, token: Secret | null) {
    this.#client = client
    this.#content = content
    this.#token = token
  }

  async open(file: RemoteFile, from: number, signal: AbortSignal): Promise<{ from: number; body: Readable }> {
    const { repo, sha } = this.#content
    const path = resolvePath({ repo, revision: sha }, file.path)
    const response = await this.#client.http.send({ path, token: this.#token, from, signal })
    try {
      return { from: await this.#beginning(response, file, from), body: response.body }
    } catch (error) {
      response.body.destroy()
      throw error
    }
  }

  failed(error: unknown): Fault | null {
    return error instanceof Fault || isOfConnection(error) ? (this.#client.http.failed(error) as Fault) : null
  }

  passes(fault: Fault): boolean {
    return passesByItself(fault)
  }

  broke(why: string): Fault {
    return unreachable(why, this.#client.http.endpoint)
  }

  wrong({ path }: RemoteFile): Fault {
    const why = `${this.#content.repo}: ${path} is not what the Hub says it is: its digest differs.`
    return new Fault('hub_files_missing', why)
  }

  noRoom(message: string, cause?: unknown): Fault {
    return new Fault('hub_too_large', message, { cause })
  }

  /** Where what comes begins. Throws a Fault when it is no file. */
  async #beginning(response: HubResponse, { path, sizeBytes }: RemoteFile, asked: number): Promise<number> {
    const { status, foreign } = response
    const { endpoint } = this.#client.http
    if (status === 200) return 0
    if (status === 206) {
      const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header(response, 'content-range') ?? '') ?? []
      if (Number(from) === asked && (total === '*' || Number(total) === sizeBytes)) return asked
      throw unreachable(`${path} came in another part than was asked for`, endpoint)
    }
    await response.body.dump().catch(() => {})
    // Whoever keeps the files says that a link is over in any of these ways; the Hub gives another.
    if (foreign && status !== 429) throw unreachable(`a link to ${path} was answered with ${status}`, endpoint)
    const { repo, sha: revision } = this.#content
    throw faultOf(response, { repo, revision, path, hasToken: this.#token !== null, endpoint })
  }
}

/** Not of this machine's disk. */
export function isOfConnection(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException
  return code.startsWith('UND_') || /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_|ENOTFOUND|ERR_TLS|ERR_SSL|CERT)/.test(code)
}
