/**
 * Brings one file here, whatever happens on the way: goes on where it was left off, by whoever, is checked by its digest,
 * and is brought by one process at a time. What passes by itself (a connection that breaks, a link that expires, a limit of
 * requests) is tried again as long as bytes come; what does not is a Fault.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Fault } from '../../kernel/fault.ts'
import type { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../runtime/clock.ts'
import { faultOf, header, passesByItself, unreachable } from './answer.ts'
import type { HubCache } from './cache.ts'
import { type HubClient, resolvePath } from './client.ts'
import { bytesText, type RemoteFile } from './file.ts'
import type { HubResponse } from './http.ts'

export interface BringWork {
  cache: HubCache
  client: HubClient
  clock: Clock
  repo: string
  sha: string
  token: Secret | null
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
  const { cache, clock, client, file, signal } = work
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
      if (wrong === wrongMaximum)
        throw new Fault(
          'hub_files_missing',
          `${work.repo}: ${file.path} is not what the Hub says it is: its digest differs.`,
        )
    } catch (error) {
      signal.throwIfAborted()
      const known = client.http.failed(error) as Fault
      if (isFull(error)) throw noSpace(work, error)
      if (!(error instanceof Fault) && !isOfConnection(error)) throw error
      if (!passesByItself(known)) throw known
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
  const { client, file, repo, sha, token, signal } = work
  let { size } = begun
  if (size === file.sizeBytes) return
  const path = resolvePath({ repo, revision: sha }, file.path)
  const response = await client.http.send({ path, token, from: size, signal })
  try {
    if (await restarts(work, response, size)) {
      await partial.truncate(0)
      begun.hash = hashFor(file)
      size = 0
    }
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      size += piece.length
      if (size > file.sizeBytes) throw unreachable(`${file.path} is longer than it should be`, client.http.endpoint)
      await partial.appendFile(piece)
      begun.hash.update(piece)
      work.progress(size)
    }
  } finally {
    response.body.destroy()
  }
  if (size < file.sizeBytes) throw unreachable(`${file.path} broke off after ${size} bytes`, client.http.endpoint)
}

/** True when it begins at the beginning although more was asked for. Throws a Fault when it is no file. */
async function restarts(
  { client, file, repo, sha, token }: BringWork,
  response: HubResponse,
  size: number,
): Promise<boolean> {
  const { status, foreign } = response
  const { endpoint } = client.http
  if (status === 200) return size > 0
  if (status === 206) {
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header(response, 'content-range') ?? '') ?? []
    if (Number(from) === size && (total === '*' || Number(total) === file.sizeBytes)) return false
    throw unreachable(`${file.path} came in another part than was asked for`, endpoint)
  }
  await response.body.dump().catch(() => {})
  // Whoever keeps the files says that a link is over in any of these ways; the Hub gives another.
  if (foreign && status !== 429) throw unreachable(`a link to ${file.path} was answered with ${status}`, endpoint)
  throw faultOf(response, { repo, revision: sha, path: file.path, hasToken: token !== null, endpoint })
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** Not of this machine's disk. */
function isOfConnection(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException
  return code.startsWith('UND_') || /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_|ENOTFOUND|ERR_TLS|ERR_SSL|CERT)/.test(code)
}

function noSpace({ file }: BringWork, cause: unknown): Fault {
  return new Fault(
    'hub_too_large',
    `There is no space left on the disk for ${file.path} (${bytesText(file.sizeBytes)}).`,
    { cause },
  )
}
