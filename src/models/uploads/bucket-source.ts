/** The bucket of uploads as something that files are brought from. */
import { Readable } from 'node:stream'
import type { RemoteFile, RemoteFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import { type FileSource, isOfConnection, type SourceOf } from '../hub/file-source.ts'
import type { ModelStorage } from './storage.ts'

const whyMaximum = 200

export function bucketSource(storage: Pick<ModelStorage, 'read'>): SourceOf {
  return async (content) => new BucketSource(storage, content)
}

/** What is brought of an upload: one file, named by its id. */
export function fileOf({ id, bytes, sha256 }: { id: string; bytes: number; sha256: string }): RemoteFile {
  return { path: `${id}.gguf`, sizeBytes: bytes, digest: `sha256-${sha256}` }
}

class BucketSource implements FileSource {
  readonly #storage: Pick<ModelStorage, 'read'>
  readonly #content: RemoteFiles
  constructor(storage: Pick<ModelStorage, 'read'>, content: RemoteFiles) {
    this.#storage = storage
    this.#content = content
  }

  async open(_file: RemoteFile, from: number, signal: AbortSignal): Promise<{ from: number; body: Readable }> {
    return { from, body: Readable.from(this.#storage.read(this.#content.repo, from), { signal, objectMode: true }) }
  }

  failed(error: unknown): Fault | null {
    if (error instanceof Fault) return error
    const { $metadata, name, message } = error as Error & { $metadata?: { httpStatusCode?: number } }
    if ($metadata === undefined && name !== 'TimeoutError' && !isOfConnection(error)) return null
    if ($metadata?.httpStatusCode === 404)
      return new Fault('model_file_unreadable', `${this.#name} is not in the bucket any more.`, { cause: error })
    return this.broke(`${name} ${message}`.slice(0, whyMaximum), error)
  }

  passes({ code }: Fault): boolean {
    return code === 'unavailable'
  }

  broke(why: string, cause?: unknown): Fault {
    return new Fault('unavailable', `The bucket of uploads cannot be read now: ${why}.`, { cause })
  }

  wrong(): Fault {
    return new Fault('model_file_unreadable', `What the bucket has of ${this.#name} is not what was uploaded.`)
  }

  noRoom(message: string, cause?: unknown): Fault {
    const action = 'Make room on this machine’s disk, or raise models.copies_max_bytes.'
    return new Fault('unavailable', message, { action, cause })
  }

  get #name(): string {
    return this.#content.title ?? this.#content.repo
  }
}
