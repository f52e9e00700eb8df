/**
 * Uploads that go on after an interruption, in whatever pieces. What has come is asked of the storage, never of memory
 * or the row, so that it is true after any crash; the newest connection is the one that counts.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import type { Once } from '../../access/once.ts'
import { can, type Principal } from '../../access/permissions.ts'
import { record } from '../../events/store.ts'
import { Fault } from '../../kernel/fault.ts'
import type { Uploads } from './commands.ts'
import type { UploadContext } from './context.ts'
import { lacks, notThere } from './faults.ts'
import { type Intake, store } from './intake.ts'
import { givenUp, touching } from './receive.ts'
import * as rows from './store.ts'

export interface ResumableState {
  id: string
  offset: number
  length: number
  /** When it is given up unless more comes; null = it is whole. */
  expiresAt: Date | null
}

export interface Piece {
  offset: number
  /** Of this piece; null = unknown. */
  bytes: number | null
  checksum: Checksum | null
  body: Readable
}

export interface Checksum {
  algorithm: (typeof checksumAlgorithms)[number]
  digest: Buffer
}

export const checksumAlgorithms = ['sha1', 'sha256', 'md5'] as const

/** A piece that is not what its checksum says; nothing of it was kept. */
export class WrongChecksum extends Fault {
  constructor() {
    super('invalid_request', 'Upload-Checksum: the piece that came is another one; nothing of it was kept.', {
      action: 'Send the piece again.',
    })
  }
}

export class ResumableUploads {
  readonly #context: UploadContext
  readonly #uploads: Uploads
  constructor(context: UploadContext, uploads: Uploads) {
    this.#context = context
    this.#uploads = uploads
  }

  /** Throws Faults as `Uploads.begin`. */
  async create(
    principal: Principal,
    wish: { name: string; bytes: number; deployment: string | null },
    once: Once | null,
  ): Promise<ResumableState> {
    const { row } = await this.#uploads.begin(principal, { ...wish, resumable: true }, once)
    return this.#state(row, await this.#context.storage.kept(row.id))
  }

  /** Whoever asks is about to go on: a connection that still writes is ended. */
  async state(principal: Principal, id: string): Promise<ResumableState> {
    const row = await this.#row(principal, id)
    if (row.status !== 'uploading') return this.#state(row, Number(row.size_bytes))
    const { db, clock, storage, receiving, wake } = this.#context
    await receiving.stop(id, goneOn())
    const kept = await storage.kept(id)
    // Whoever stored its last byte died before it said so, and nobody sends what is there: it is read once more.
    const bytes = { bytes: kept, sha256: null, facts: null }
    if (kept === Number(row.size_bytes) && (await rows.markReceived(db, id, bytes, new Date(clock.now())))) wake()
    return this.#state(row, kept)
  }

  /** Throws Faults: `conflict` with the right offset, WrongChecksum, and what is wrong with the file. */
  async append(principal: Principal, id: string, piece: Piece): Promise<ResumableState> {
    const row = await this.#row(principal, id)
    if (row.status === 'failed') throw new Fault('conflict', `The upload failed: ${row.reason?.message ?? ''}`)
    if (row.status !== 'uploading') throw wrongOffset(piece.offset, Number(row.size_bytes))
    return this.#context.receiving.only(id, (stopped) => this.#append(row, piece, stopped))
  }

  async #append(row: rows.UploadRow, piece: Piece, stopped: Promise<never>): Promise<ResumableState> {
    const { storage, receiving } = this.#context
    const kept = await storage.kept(row.id)
    if (piece.offset !== kept) throw wrongOffset(piece.offset, kept)
    const size = Number(row.size_bytes)
    if (piece.bytes !== null && kept + piece.bytes > size) throw tooMuch(size)
    const intake = receiving.intakeAt(row.id, kept, this.#context.bases())
    let offset = kept
    try {
      const source = piecesOf(piece.body, stopped)
      if (piece.checksum === null) offset = await this.#write(row, kept, source, intake)
      else offset = await this.#checked(row, kept, source, intake, piece.checksum)
      if (offset === size) await this.#complete(row, offset, intake)
    } catch (thrown) {
      if (thrown instanceof Fault && isAboutTheFile(thrown)) await this.#fail(row, thrown)
      throw thrown
    }
    return this.#state({ ...row, touched_at: new Date(this.#context.clock.now()) }, offset)
  }

  /** What came before an interruption is kept. Returns how much there is. */
  async #write(
    row: rows.UploadRow,
    kept: number,
    source: AsyncIterable<Buffer>,
    intake: Intake | null,
  ): Promise<number> {
    const { db, clock, storage, receiving } = this.#context
    const size = Number(row.size_bytes)
    const writer = await storage.append(row.id)
    let offset = kept
    try {
      await store(source, writer, {
        intake,
        bytesMaximum: size - kept,
        tooMuch: () => tooMuch(size),
        progress: touching(this.#context, row.id, kept),
      })
    } finally {
      offset = await writer.close()
      // Of a storage that kept less than it was given the rest comes again, and is not looked at twice.
      if (intake?.bytes === offset) receiving.keep(row.id, intake)
    }
    if (!(await rows.touchUpload(db, row.id, offset, new Date(clock.now())))) throw givenUp()
    return offset
  }

  /** Put aside first: what is not as its checksum says must leave nothing. */
  async #checked(
    row: rows.UploadRow,
    kept: number,
    source: AsyncIterable<Buffer>,
    intake: Intake | null,
    checksum: Checksum,
  ): Promise<number> {
    const path = this.#context.copies.asidePath(row.id)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const hash = createHash(checksum.algorithm)
    const file = await open(path, 'w', 0o600)
    try {
      const size = Number(row.size_bytes)
      const write = async (bytes: Buffer) => {
        hash.update(bytes)
        await file.writeFile(bytes)
      }
      const progress = touching(this.#context, row.id, kept)
      await store(
        source,
        { write },
        { intake: null, bytesMaximum: size - kept, tooMuch: () => tooMuch(size), progress },
      )
      if (!hash.digest().equals(checksum.digest)) throw new WrongChecksum()
      return await this.#write(row, kept, createReadStream(path), intake)
    } finally {
      await file.close()
      await rm(path, { force: true })
    }
  }

  async #complete(row: rows.UploadRow, bytes: number, intake: Intake | null): Promise<void> {
    const { db, clock, receiving, wake } = this.#context
    receiving.forget(row.id)
    const received = intake?.bytes === bytes ? intake.end() : { bytes, sha256: null, facts: null }
    if (!(await rows.markReceived(db, row.id, received, new Date(clock.now())))) throw givenUp()
    wake()
  }

  async #fail(row: rows.UploadRow, { code, message }: Fault): Promise<void> {
    const { db, clock, storage, receiving } = this.#context
    const at = new Date(clock.now())
    receiving.forget(row.id)
    await db.tx(async (tx) => {
      if (!(await rows.markFailed(tx, row.id, { code, message }, at))) return
      const data = { model_id: row.id, name: row.name, code, message }
      await record(tx, { orgId: row.org_id, deploymentId: null, type: 'model.failed', data, at })
    })
    await storage.remove(row.id)
  }

  async #row(principal: Principal, id: string): Promise<rows.UploadRow> {
    if (!can(principal, 'deployment:write')) throw lacks('deployment:write')
    const row = await this.#uploads.row(principal, id)
    if (!row.resumable) throw notThere(id)
    return row
  }

  #state(row: rows.UploadRow, offset: number): ResumableState {
    const expiresAt = new Date(row.touched_at.getTime() + this.#context.limits.keptMs)
    return {
      id: row.id,
      offset,
      length: Number(row.size_bytes),
      expiresAt: row.status === 'uploading' ? expiresAt : null,
    }
  }
}

/** The request's body until it ends, its client goes, or another connection takes its place. */
async function* piecesOf(body: Readable, stopped: Promise<never>): AsyncGenerator<Buffer> {
  const pieces = body.iterator({ destroyOnReturn: false })
  try {
    for (;;) {
      const next = pieces.next()
      next.catch(() => {})
      const { value, done } = await Promise.race([next, stopped])
      if (done) return
      yield value as Buffer
    }
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown
    throw new Fault('client_closed', 'The connection ended before the piece was complete.', { cause: thrown })
  }
}

function isAboutTheFile({ code }: Fault): boolean {
  return code === 'model_file_unreadable' || code === 'model_not_supported'
}

function goneOn(): Fault {
  return new Fault('conflict', 'The upload is gone on with over another connection.')
}

function wrongOffset(asked: number, offset: number): Fault {
  return new Fault('conflict', `Upload-Offset: ${asked} is not where the upload stands, which is ${offset}.`, {
    action: 'Ask with HEAD where it stands, and go on from there.',
    detail: { upload_offset: offset },
  })
}

function tooMuch(size: number): Fault {
  return new Fault('body_too_large', `The upload was announced with ${size} bytes, and more came.`, {
    action: 'Begin another upload with the right Upload-Length.',
  })
}
