/**
 * Brings what the journals of this machine say into the ledger, from their files alone: of living writers as they
 * write, of dead ones to the end, with what they had begun and never settled. A segment goes when everything in it has
 * been committed and what is still open stands in the next one, on the disk. Everything may happen twice: the ledger
 * knows every request by its id.
 *
 * What is not shipped lies on the disk; in memory there is one batch.
 */
import { appendFile, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { type Place, placesIn, removePlace, segmentsIn, takeLockIn } from './folder.ts'
import { type Piece, readSegment, syncFile } from './reader.ts'
import { knownHeads, receivedAtOf, requestIdOf } from './record.ts'

/** Where lines go. */
export interface Ledger {
  /** All of them or none; those that it has already change nothing. Gives the number that were new. */
  record(lines: readonly string[]): Promise<number>
  /** True when the error is the lines' own fault: the same lines will never be taken. */
  refuses(error: unknown): boolean
}

export interface ShipperOptions {
  root: string
  /** Folder of the writer beside it: of others that live, each is shipped by its own. Default: it ships for all. */
  own?: () => string | null
  ledger: Ledger
  /** Requests that arrived before it are not shipped: the ledger may have forgotten that it had them. ms since epoch. */
  horizon(): number
  clock: Clock
  log: Log
}

export interface ShipperState {
  /** Since this process began. */
  shipped: number
  /** Were in the ledger already. */
  repeated: number
  /** Set aside in `rejected.log`. */
  rejected: number
  /** The database does not take anything since then; null = it does. ms since epoch. */
  failingSince: number | null
}

/** How far a folder has been read. */
interface Reading {
  /** Name of the segment. */
  segment: string
  at: number
  /** Of a writer that died: what it had begun and, as far as has been read, not settled. Request id → line. */
  begun: Map<string, string> | null
}

export const batchLines = 500
const shipEveryMs = 400
const longestPauseMs = 5_000
/** How often the folders of others are looked at: has their writer died? */
const claimEveryMs = 2_000
/** Lines in `rejected.log` that one process writes at most. */
const rejectedLinesMaximum = 10_000

export class Shipper {
  readonly #options: ShipperOptions
  readonly #readings = new Map<string, Reading>()
  /** Of the folders that were taken over. */
  readonly #places = new Map<string, Place>()
  readonly #state: ShipperState = { shipped: 0, repeated: 0, rejected: 0, failingSince: null }
  #claimedAt = Number.NEGATIVE_INFINITY

  constructor(options: ShipperOptions) {
    this.#options = options
  }

  state(): Readonly<ShipperState> {
    return this.#state
  }

  /** Until the signal; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options
    let pauseMs = shipEveryMs
    while (!signal.aborted) {
      try {
        await this.pass(signal)
        if (this.#state.failingSince !== null) log.info({}, 'requests are shipped again')
        this.#state.failingSince = null
        pauseMs = shipEveryMs
      } catch (error) {
        if (this.#state.failingSince === null)
          log.warn({ error: (error as Error).message }, 'requests cannot be shipped; they are kept in the journal')
        this.#state.failingSince ??= clock.now()
        pauseMs = Math.min(longestPauseMs, pauseMs * 2)
      }
      await clock.sleep(pauseMs, signal)
    }
  }

  /** Everything that is there now. Rejects when the ledger or the disk fails; what was shipped stays so. */
  async pass(signal?: AbortSignal, claim = this.#isTimeToClaim()): Promise<void> {
    const folders = await placesIn(this.#options.root)
    for (const known of this.#readings.keys()) if (!folders.includes(known)) this.#readings.delete(known)
    for (const folder of folders) {
      if (signal?.aborted) return
      const place = this.#places.get(folder) ?? (claim ? this.#claim(folder) : null)
      if (place === null && !this.#isOurs(folder)) continue
      await this.#read(folder, place !== null, signal)
      if (place !== null && !signal?.aborted) await this.#finish(place)
    }
  }

  /** Lets go of what was taken over and is not shipped yet; another takes it. */
  close(): void {
    for (const { lock } of this.#places.values()) lock.release()
    this.#places.clear()
  }

  #isOurs(folder: string): boolean {
    const { own } = this.#options
    return own === undefined || own() === folder
  }

  #isTimeToClaim(): boolean {
    const now = this.#options.clock.monotonicMs()
    if (now - this.#claimedAt < claimEveryMs) return false
    this.#claimedAt = now
    return true
  }

  #claim(folder: string): Place | null {
    const lock = takeLockIn(folder)
    if (lock === null) return null
    const place = { folder, lock }
    this.#places.set(folder, place)
    // Once more from the beginning of what is left: now it matters what was begun.
    this.#readings.set(folder, { segment: '', at: 0, begun: new Map() })
    return place
  }

  /**
   * Ships what has been settled since the last time. `dead`: nobody writes here any more. Segments go one by one: what
   * is open at the end of one stands at the head of the next, which is safe on the disk before the one goes.
   */
  async #read(folder: string, dead: boolean, signal?: AbortSignal): Promise<void> {
    const reading = this.#readings.get(folder) ?? { segment: '', at: 0, begun: null }
    this.#readings.set(folder, reading)
    const segments = await segmentsIn(folder)
    const newest = segments.at(-1)
    for (const path of segments) {
      const segment = basename(path)
      if (segment < reading.segment) continue
      const from = segment === reading.segment ? reading.at : 0
      const without = reading.begun === null ? 'open' : null
      for await (const piece of readSegment(path, from, dead || path !== newest, without)) {
        if (signal?.aborted) return
        this.#check(path, piece)
        if (reading.begun !== null) note(reading.begun, piece)
        await this.#ship(settledIn(piece))
        reading.segment = segment
        reading.at = piece.next
      }
      if (path === newest) continue
      await syncFile(newest!).catch(ignoreMissing)
      await rm(path, { force: true })
    }
  }

  /** A writer that died, all of whose lines are shipped: what it had begun, and then its folder goes. */
  async #finish(place: Place): Promise<void> {
    const begun = [...(this.#readings.get(place.folder)?.begun?.values() ?? [])]
    await this.#ship(begun)
    if (begun.length > 0)
      this.#options.log.warn({ requests: begun.length }, 'a gateway died with requests under way: settled as 500')
    removePlace(place)
    this.#places.delete(place.folder)
    this.#readings.delete(place.folder)
  }

  async #ship(lines: string[]): Promise<void> {
    const horizon = this.#options.horizon()
    const expired = lines.filter((line) => receivedAtOf(line) < horizon)
    if (expired.length > 0) await this.#reject(expired, 'older than the ledger remembers')
    const due = expired.length === 0 ? lines : lines.filter((line) => receivedAtOf(line) >= horizon)
    for (let from = 0; from < due.length; from += batchLines) await this.#record(due.slice(from, from + batchLines))
  }

  /** Lines that the ledger refuses must not stop those beside them: halves are tried until the one is found. */
  async #record(lines: string[]): Promise<void> {
    const { ledger } = this.#options
    try {
      const fresh = await ledger.record(lines)
      this.#state.shipped += fresh
      this.#state.repeated += lines.length - fresh
    } catch (error) {
      if (!ledger.refuses(error)) throw error
      if (lines.length === 1) return this.#reject(lines, (error as Error).message)
      const half = Math.ceil(lines.length / 2)
      await this.#record(lines.slice(0, half))
      await this.#record(lines.slice(half))
    }
  }

  /** Not lost: they stand in a file beside the journals, for the operator. */
  async #reject(lines: string[], why: string): Promise<void> {
    const { root, log } = this.#options
    this.#state.rejected += lines.length
    log.error({ requests: lines.length, why }, 'the ledger does not take some requests; they are in rejected.log')
    if (this.#state.rejected > rejectedLinesMaximum) return
    await appendFile(join(root, 'rejected.log'), lines.map((line) => `${line}\n`).join(''), { mode: 0o600 })
  }

  /** Throws when a newer release wrote it: nothing is shipped or dropped that is not understood. */
  #check(path: string, { lines, damagedBytes }: Piece): void {
    const head = lines.find(({ kind }) => kind === 'head')
    if (head !== undefined && !knownHeads.has(head.text))
      throw new Error(`${path} was written by another release (${head.text}); start that one to have it shipped`)
    if (damagedBytes > 0)
      this.#options.log.warn({ segment: path, damagedBytes }, 'a segment of the journal has a torn or spoiled part')
  }
}

function settledIn({ lines }: Piece): string[] {
  return lines.filter(({ kind }) => kind === 'close').map(({ text }) => text)
}

function note(begun: Map<string, string>, { lines }: Piece): void {
  for (const { kind, text } of lines) {
    if (kind === 'open') begun.set(requestIdOf(text), text)
    if (kind === 'close') begun.delete(requestIdOf(text))
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
