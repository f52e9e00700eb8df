/**
 * Brings one file here, whatever happens on the way: goes on where it was left off, by whoever, is checked by its digest,
 * and is brought by one process at a time. What passes by itself (a connection that breaks, a link that expires, a limit of
 * requests) is tried again as long as bytes come; what does not is a Fault.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Fault } from '../../kernel/fault.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { HubCache } from './cache.ts'
import { bytesText, type RemoteFile } from './file.ts'
import type { FileSource } from './file-source.ts'

export interface BringWork {
  cache: HubCache
  source: FileSource
  clock: Clock
  file: RemoteFile
  signal: AbortSignal
  /** How much of it is here, in bytes. */
  progress(bytes: number): void
}

/** Tries in a row that bring nothing. */
const fruitlessMaximum = 8
const firstPauseMs = 500
const longestPauseMs = 30_000
const otherHolderMs = 250
/** A wrong file is fetched once more from its beginning; twice wrong is wrong at its source. */
const wrongMaximum = 2

export async function bringFile(work: BringWork): Promise<void> {
  const { cache, clock, file, signal } = work
  for (;;) {
    signal.throwIfAborted()
    const { bytes, whole } = await cache.here(file.digest)
    work.progress(bytes)
    if (whole) return
    const lock = cache.lock(file.digest)
    if (lock === null) {
      await clock.sleep(otherHolderMs, signal)
      continue
    }
    try {
      if (!(await cache.here(file.digest)).whole) await bring(work)
      return
    } finally {
      lock.release()
    }
  }
}

/** With the lock held. */
async function bring(work: BringWork): Promise<void> {
  const { cache, clock, source, file, signal } = work
  let fruitless = 0
  let wrong = 0
  let most = (await cache.here(file.digest)).bytes
  for (;;) {
    const partial = await open(cache.partial(file.digest), 'a', 0o600)
    try {
      const begun = await begin(work, partial)
      await receive(work, partial, begun)
      if (begun.hash.digest('hex') === file.digest.slice(file.digest.indexOf('-') + 1)) break
      wrong += 1
      await partial.truncate(0)
      if (wrong === wrongMaximum) throw source.wrong(file)
    } catch (error) {
      signal.throwIfAborted()
      if (isFull(error)) throw noSpace(work, error)
      const known = source.failed(error)
      if (known === null) throw error
      if (!source.passes(known)) throw known
      const { size } = await partial.stat()
      fruitless = size > most ? 0 : fruitless + 1
      most = Math.max(most, size)
      if (fruitless === fruitlessMaximum) throw known
      await clock.sleep(pauseMs(known, fruitless), signal)
    } finally {
      await partial.close()
    }
  }
  await cache.keep(file.digest)
  work.progress(file.sizeBytes)
}

function pauseMs(fault: Fault, fruitless: number): number {
  if (fault.code === 'hub_rate_limited') return (fault.retryAfterSeconds ?? 1) * 1000
  return Math.min(longestPauseMs, firstPauseMs * 2 ** fruitless)
}

interface Begun {
  /** Bytes that are here. */
  size: number
  /** Of those bytes. */
  hash: Hash
}

/** What an earlier try, or an earlier process, left: read once, so that the digest covers it. */
async function begin({ file, cache, signal }: BringWork, partial: FileHandle): Promise<Begun> {
  const { size } = await partial.stat()
  const hash = hashFor(file)
  if (size > file.sizeBytes) {
    await partial.truncate(0)
    return { size: 0, hash }
  }
  if (size > 0)
    for await (const piece of createReadStream(cache.partial(file.digest), { end: size - 1, signal }))
      hash.update(piece as Buffer)
  return { size, hash }
}

function hashFor({ digest, sizeBytes }: RemoteFile): Hash {
  return digest.startsWith('git-') ? createHash('sha1').update(`blob ${sizeBytes}\0`) : createHash('sha256')
}

async function receive(work: BringWork, partial: FileHandle, begun: Begun): Promise<void> {
  const { source, file, signal } = work
  let { size } = begun
  if (size === file.sizeBytes) return
  const { from, body } = await source.open(file, size, signal)
  try {
    if (from < size) {
      await partial.truncate(0)
      begun.hash = hashFor(file)
      size = 0
    }
    for await (const piece of body as AsyncIterable<Buffer>) {
      size += piece.length
      if (size > file.sizeBytes) throw source.broke(`${file.path} is longer than it should be`)
      await partial.appendFile(piece)
      begun.hash.update(piece)
      work.progress(size)
    }
  } finally {
    body.destroy()
  }
  if (size < file.sizeBytes) throw source.broke(`${file.path} broke off after ${size} bytes`)
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
}

function noSpace({ source, file }: BringWork, cause: unknown): Fault {
  const size = bytesText(file.sizeBytes)
  return source.noRoom(`There is no space left on the disk for ${file.path} (${size}).`, cause)
}
