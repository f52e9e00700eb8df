/**
 * Uploads in a bucket that speaks S3. What comes is a multipart upload whose parts are asked of the bucket, so that any
 * process can go on with it; bytes that do not fill a part yet wait in a file here, named by the part that they begin.
 */
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Fault } from '../../kernel/fault.ts'
import { checkedId, type ModelStorage, type StorageWriter } from './storage.ts'

/** S3 takes 10,000 parts of at least 5 MiB: enough for 160 GB. One is kept in memory per upload. */
const partBytes = 16 * 1024 * 1024
/** Read at once when a file is fetched; a connection that breaks costs one of them. */
const readBytes = 32 * 1024 * 1024

const connectMs = 10_000
const idleMs = 60_000

export interface S3Options {
  bucket: string
  /** Ends in "/"; nobody else keeps anything below it. */
  prefix: string
  region: string
  /** Of a service that is not Amazon's; '' = Amazon's. */
  endpoint: string
  /** The bucket in the path and not in the host's name. */
  pathStyle: boolean
  /** '' = as the SDK finds them (environment, instance). */
  accessKeyId: string
  secretAccessKey: string
  /** Folder for what does not fill a part. */
  folder: string
}

interface Part {
  number: number
  etag: string
  bytes: number
}

export class S3Storage implements ModelStorage {
  readonly kind = 's3'
  readonly #client: S3Client
  readonly #options: S3Options
  constructor(options: S3Options) {
    const { region, endpoint, pathStyle, accessKeyId, secretAccessKey } = options
    this.#options = options
    this.#client = new S3Client({
      region,
      forcePathStyle: pathStyle,
      // A bucket that stands still is one that is away; whoever waits tries again.
      requestHandler: { connectionTimeout: connectMs, socketTimeout: idleMs },
      // Others than Amazon's do not know the newer sums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(endpoint === '' ? {} : { endpoint }),
      ...(accessKeyId === '' ? {} : { credentials: { accessKeyId, secretAccessKey } }),
    })
  }

  async kept(id: string): Promise<number> {
    const upload = await this.#pending(id)
    if (upload === null) return (await this.#size(id)) ?? 0
    const parts = await this.#parts(id, upload)
    return sum(parts) + (await this.#rest(id, parts.length + 1)).length
  }

  async append(id: string): Promise<StorageWriter> {
    const upload = (await this.#pending(id)) ?? (await this.#begin(id))
    const parts = await this.#parts(id, upload)
    const rest = await this.#rest(id, parts.length + 1)
    return new PartWriter({
      parts,
      rest,
      send: (number, bytes) => this.#send(id, upload, number, bytes),
      save: (number, bytes) => this.#save(id, number, bytes),
    })
  }

  async finish(id: string): Promise<void> {
    const upload = await this.#pending(id)
    if (upload === null) return
    const parts = await this.#parts(id, upload)
    const rest = await this.#rest(id, parts.length + 1)
    if (rest.length > 0) parts.push(await this.#send(id, upload, parts.length + 1, rest))
    const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }))
    const all = { ...this.#at(id), UploadId: upload, MultipartUpload: { Parts } }
    await this.#client.send(new CompleteMultipartUploadCommand(all))
    await this.#dropRest(id)
  }

  async *read(id: string, start = 0): AsyncIterable<Buffer> {
    const size = await this.#size(id)
    if (size === null) throw new Fault('model_file_unreadable', `${id} is not in the bucket any more.`)
    for (let from = start; from < size; from += readBytes) {
      const range = `bytes=${from}-${Math.min(size, from + readBytes) - 1}`
      const { Body } = await this.#client.send(new GetObjectCommand({ ...this.#at(id), Range: range }))
      if (Body === undefined) throw new Error(`the bucket gave nothing of ${id}`)
      for await (const piece of Body as AsyncIterable<Buffer>) yield piece
    }
  }

  async remove(id: string): Promise<void> {
    for (let upload = await this.#pending(id); upload !== null; upload = await this.#pending(id))
      await this.#client.send(new AbortMultipartUploadCommand({ ...this.#at(id), UploadId: upload }))
    await this.#client.send(new DeleteObjectCommand(this.#at(id)))
    await this.#dropRest(id)
  }

  async list(): Promise<string[]> {
    const ids = new Set<string>()
    const { bucket: Bucket, prefix: Prefix } = this.#options
    for (let token: string | undefined, more = true; more; ) {
      const page = await this.#client.send(new ListObjectsV2Command({ Bucket, Prefix, ContinuationToken: token }))
      for (const { Key } of page.Contents ?? []) this.#note(ids, Key)
      token = page.NextContinuationToken
      more = page.IsTruncated === true && token !== undefined
    }
    for (let KeyMarker: string | undefined, UploadIdMarker: string | undefined, more = true; more; ) {
      const ask = { Bucket, Prefix, KeyMarker, UploadIdMarker }
      const page = await this.#client.send(new ListMultipartUploadsCommand(ask))
      for (const { Key } of page.Uploads ?? []) this.#note(ids, Key)
      KeyMarker = page.NextKeyMarker
      UploadIdMarker = page.NextUploadIdMarker
      more = page.IsTruncated === true && KeyMarker !== undefined
    }
    for (const name of await this.#restNames()) ids.add(name.split('.')[0]!)
    return [...ids]
  }

  path(): null {
    return null
  }

  #at(id: string): { Bucket: string; Key: string } {
    return { Bucket: this.#options.bucket, Key: `${this.#options.prefix}${checkedId(id)}.gguf` }
  }

  #note(ids: Set<string>, key: string | undefined): void {
    const id = /(mdl_[a-z0-9]+)\.gguf$/.exec(key ?? '')?.[1]
    if (id !== undefined && key === this.#at(id).Key) ids.add(id)
  }

  /** Id of the multipart upload under way; null = there is none. */
  async #pending(id: string): Promise<string | null> {
    const { Bucket, Key } = this.#at(id)
    const { Uploads = [] } = await this.#client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: Key }))
    return Uploads.find((upload) => upload.Key === Key)?.UploadId ?? null
  }

  async #begin(id: string): Promise<string> {
    const { UploadId } = await this.#client.send(new CreateMultipartUploadCommand(this.#at(id)))
    if (UploadId === undefined) throw new Error('the bucket began no upload')
    return UploadId
  }

  async #parts(id: string, UploadId: string): Promise<Part[]> {
    const parts: Part[] = []
    for (let PartNumberMarker: string | undefined, more = true; more; ) {
      const page = await this.#client.send(new ListPartsCommand({ ...this.#at(id), UploadId, PartNumberMarker }))
      for (const { PartNumber = 0, ETag = '', Size = 0 } of page.Parts ?? [])
        parts.push({ number: PartNumber, etag: ETag, bytes: Size })
      PartNumberMarker = page.NextPartNumberMarker
      more = page.IsTruncated === true && PartNumberMarker !== undefined
    }
    return parts.sort((a, b) => a.number - b.number)
  }

  async #send(id: string, UploadId: string, number: number, bytes: Buffer): Promise<Part> {
    const part = { ...this.#at(id), UploadId, PartNumber: number, Body: bytes, ContentLength: bytes.length }
    const { ETag } = await this.#client.send(new UploadPartCommand(part))
    return { number, etag: ETag ?? '', bytes: bytes.length }
  }

  async #size(id: string): Promise<number | null> {
    try {
      return (await this.#client.send(new HeadObjectCommand(this.#at(id)))).ContentLength ?? 0
    } catch (error) {
      if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode === 404) return null
      throw error
    }
  }

  #restPath(id: string, number: number): string {
    return join(this.#options.folder, `${checkedId(id)}.${number}`)
  }

  /** What begins another part than the next is from before a crash, and in a part already. */
  async #rest(id: string, number: number): Promise<Buffer> {
    return readFile(this.#restPath(id, number)).catch(() => Buffer.alloc(0))
  }

  async #save(id: string, number: number, bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return this.#dropRest(id)
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 })
    const file = await open(this.#restPath(id, number), 'w', 0o600)
    try {
      await file.writeFile(bytes)
      await file.datasync()
    } finally {
      await file.close()
    }
  }

  async #dropRest(id: string): Promise<void> {
    for (const name of await this.#restNames())
      if (name.startsWith(`${id}.`)) await rm(join(this.#options.folder, name), { force: true })
  }

  async #restNames(): Promise<string[]> {
    const names = await readdir(this.#options.folder).catch(() => [])
    return names.filter((name) => /^mdl_[a-z0-9]+\.\d+$/.test(name))
  }
}

/** Fills parts and sends each when it is full. */
class PartWriter implements StorageWriter {
  readonly #to: {
    send(number: number, bytes: Buffer): Promise<Part>
    save(number: number, bytes: Buffer): Promise<void>
  }
  #next: number
  #sentBytes: number
  #pieces: Buffer[]
  #waiting: number

  constructor(from: {
    parts: readonly Part[]
    rest: Buffer
    send(number: number, bytes: Buffer): Promise<Part>
    save(number: number, bytes: Buffer): Promise<void>
  }) {
    this.#to = from
    this.#next = from.parts.length + 1
    this.#sentBytes = sum(from.parts)
    this.#pieces = [from.rest]
    this.#waiting = from.rest.length
  }

  async write(piece: Buffer): Promise<void> {
    this.#pieces.push(piece)
    this.#waiting += piece.length
    if (this.#waiting < partBytes) return
    const all = Buffer.concat(this.#pieces, this.#waiting)
    await this.#to.send(this.#next, all.subarray(0, partBytes))
    this.#next += 1
    this.#sentBytes += partBytes
    // A copy: what is left must not hold the whole part in memory.
    const rest = Buffer.from(all.subarray(partBytes))
    this.#pieces = [rest]
    this.#waiting = rest.length
  }

  async close(): Promise<number> {
    await this.#to.save(this.#next, Buffer.concat(this.#pieces, this.#waiting))
    return this.#sentBytes + this.#waiting
  }
}

function sum(parts: readonly Part[]): number {
  return parts.reduce((total, { bytes }) => total + bytes, 0)
}
