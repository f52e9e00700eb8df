/**
 * `paddock upload`: a GGUF file as a model of one's own, in pieces, so that an interruption costs one piece. The same
 * command again goes on where the upload stands; at the end the server's hash is compared with the file's.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { ApiError } from '../wire/native/client.ts'
import type { UploadedModel } from '../wire/native/uploads.ts'
import { exitStatus, Failure, usageFailure } from './failure.ts'
import { type LiveLine, liveLine, silentLine } from './live-line.ts'
import type { Session } from './session.ts'

/** The first piece is small: what is no model is refused after it. The others take about a second each. */
const firstPieceBytes = 1024 * 1024
const pieceBytesMaximum = 16 * 1024 * 1024
const quickMs = 500
const slowMs = 4_000
/** Read at once of what was sent before. */
const readBytes = 4 * 1024 * 1024
/** In a row, without anything getting through. */
const failuresMaximum = 12
const firstPauseMs = 500
const longestPauseMs = 30_000
const lookEveryMs = 500

export interface UploadOptions {
  name?: string
  deployment?: string
  /** False: do not wait until it is ready. */
  wait: boolean
}

export async function upload(session: Session, path: string, options: UploadOptions): Promise<void> {
  const { screen, clock, interruption } = session
  const line = screen.json ? silentLine : liveLine(process.stderr, () => clock.monotonicMs())
  const file = await opened(path)
  try {
    const { size } = await checked(file, path)
    const name = options.name ?? nameOf(path)
    const begun = await begin(session, { name, size, ...options })
    const sha256 = await send(session, line, file, begun, size)
    const model = options.wait
      ? await untilReady(session, line, begun.id)
      : await session.client.uploadedModel(begun.id)
    line.clear()
    if (model.status === 'ready' && model.sha256 !== sha256) throw anotherFile(model)
    screen.answer(model, () => readyText(model))
  } catch (error) {
    line.clear()
    if (interruption.signal.aborted) screen.note(`The same command again goes on where it stands.`)
    throw error
  } finally {
    await file.close()
  }
}

async function opened(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    throw usageFailure(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'}).`)
  }
}

async function checked(file: FileHandle, path: string): Promise<{ size: number }> {
  const found = await file.stat()
  if (!found.isFile()) throw usageFailure(`${path} is no file.`)
  if (found.size === 0) throw usageFailure(`${path} is empty.`)
  return found
}

/** "My Model-7B.gguf" → "my-model-7b". */
export function nameOf(path: string): string {
  const plain = basename(path)
    .replace(/\.gguf$/i, '')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
  return (
    plain
      .replace(/^[^a-z0-9]+/, '')
      .slice(0, 63)
      .replace(/[._-]+$/, '') || 'model'
  )
}

/** A new upload, or the one of this name and size that was interrupted. */
async function begin(
  { client, screen }: Session,
  wish: { name: string; size: number; deployment?: string },
): Promise<{ id: string }> {
  try {
    return await client.beginUpload({ name: wish.name, bytes: wish.size, deploymentId: wish.deployment })
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'name_taken') throw error
    const known = await client.uploadedModel(wish.name).catch(() => null)
    if (known?.status !== 'uploading' || known.size_bytes !== wish.size) throw error
    screen.note(`Going on with the upload of ${wish.name}.`)
    return known
  }
}

/** Sends what is missing. Gives the file's hash. */
async function send(
  session: Session,
  line: LiveLine,
  file: FileHandle,
  { id }: { id: string },
  size: number,
): Promise<string> {
  const { client, clock, interruption } = session
  const hash = createHash('sha256')
  let from = clock.monotonicMs()
  let hashed = 0
  let failures = 0
  let known: number | null = null
  let first: number | null = null
  let pieceBytes = firstPieceBytes
  for (;;) {
    interruption.check()
    try {
      const offset: number = known ?? (await client.uploadOffset(id, interruption.signal))
      // What was sent before is read all the same, for the hash.
      while (hashed < offset) {
        const part = await read(file, hashed, Math.min(readBytes, offset - hashed))
        hash.update(part)
        hashed += part.length
      }
      if (offset >= size) return hash.digest('hex')
      if (first === null) {
        first = offset
        from = clock.monotonicMs()
      }
      const rate = (offset - first) / Math.max(1, clock.monotonicMs() - from)
      line.show(`uploading ${percent(offset, size)}`, rateText(rate))
      const piece = await read(file, offset, Math.min(pieceBytes, size - offset))
      const sentAt = clock.monotonicMs()
      known = await client.sendPiece(id, offset, piece, interruption.signal)
      failures = 0
      pieceBytes = nextPieceBytes(pieceBytes, clock.monotonicMs() - sentAt)
    } catch (error) {
      interruption.check()
      if (!(error instanceof ApiError) || !passes(error) || failures >= failuresMaximum) throw error
      known = null
      failures += 1
      line.show(`uploading: ${error.message}`, `try ${failures + 1}`)
      await clock.sleep(Math.min(longestPauseMs, firstPauseMs * 2 ** failures), interruption.signal)
    }
  }
}

/** No answer, a server that restarts, or one that stands elsewhere than we thought. */
function passes({ status, code }: ApiError): boolean {
  return status === 0 || status >= 500 || status === 429 || status === 408 || (status === 409 && code === 'conflict')
}

/** A piece is what an interruption may cost, and how often progress is shown. */
function nextPieceBytes(bytes: number, tookMs: number): number {
  if (tookMs < quickMs) return Math.min(pieceBytesMaximum, bytes * 2)
  return tookMs > slowMs ? Math.max(firstPieceBytes, bytes / 2) : bytes
}

async function read(file: FileHandle, offset: number, length: number): Promise<Buffer<ArrayBuffer>> {
  const buffer = Buffer.alloc(length)
  let got = 0
  while (got < length) {
    const { bytesRead } = await file.read(buffer, got, length - got, offset + got)
    if (bytesRead === 0)
      throw new Failure(exitStatus.failed, 'file_changed', 'The file became shorter while it was sent.', '')
    got += bytesRead
  }
  return buffer
}

async function untilReady(session: Session, line: LiveLine, id: string): Promise<UploadedModel> {
  const { client, clock, interruption } = session
  for (;;) {
    interruption.check()
    const model = await client.uploadedModel(id)
    if (model.status === 'ready') return model
    if (model.status === 'failed') {
      const { code = 'failed', message = '' } = model.reason ?? {}
      throw new Failure(exitStatus.failed, code, message, 'Upload another file under this name.')
    }
    line.show(model.status, '')
    await clock.sleep(lookEveryMs, interruption.signal)
  }
}

function anotherFile(model: UploadedModel): Failure {
  return new Failure(
    exitStatus.failed,
    'another_file',
    `What is stored as ${model.name} is another file: it was begun with one of the same size.`,
    `Delete it (DELETE /models/byom/${model.id}) and upload again.`,
  )
}

function readyText(model: UploadedModel): string {
  if (model.status !== 'ready') return `${model.name} is ${model.status}.`
  const rolls = model.deployment_id === null ? '' : ` ${model.deployment_id} rolls to it.`
  const use = model.kind === 'adapter' ? 'It is a LoRA adapter.' : `Deploy it:  paddock deploy ${model.model_id}`
  return `${model.model_id} is ready (sha256 ${model.sha256}).${rolls}\n${use}`
}

function percent(part: number, whole: number): string {
  return `${Math.floor((part / whole) * 100)} %`
}

function rateText(bytesPerMs: number): string {
  return `${(bytesPerMs / 1000).toFixed(1)} MB/s`
}
