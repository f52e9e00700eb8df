/**
 * What this gateway has begun and settled, on its own disk: written before an engine is asked and before the last byte
 * of an answer leaves, so that SIGKILL loses nothing; forced to the disk every few milliseconds, which nobody waits for.
 * What comes in one turn of the event loop is written together, at its end. Whoever ships it to the database reads the
 * files (shipper.ts).
 *
 * A disk that is full: a request that is not begun yet is refused, or served without being counted, as the setting says.
 * It counts as full while there is still room for the ends of what has begun. Ends that cannot be written all the same
 * wait in memory, at most one for each request that was under way.
 */
import { isCharged } from '../../kernel/charge.ts'
import { Fault } from '../../kernel/fault.ts'
import { Roster } from '../../kernel/roster.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { atEndOfTurn } from '../../runtime/turn.ts'
import type { SettledRequest } from '../request.ts'
import { Batch, Opened } from './batch.ts'
import { bytesBelow, type Disk, realDisk } from './disk.ts'
import { makePlace, type Place, removePlace, segmentPath } from './folder.ts'
import type { Line } from './frame.ts'
import { encodeBeginning, encodeEnd, journalHead } from './record.ts'
import { Segment } from './segment.ts'

export interface JournalOptions {
  /** Holds the folders of all writers of this machine. */
  root: string
  syncMs: number
  segmentBytes: number
  /** Of everything below `root`. */
  maxBytes: number
  /** Of the disk; less counts as full. */
  minFreeBytes: number
  whenFull: 'refuse' | 'serve_unmetered'
  clock: Clock
  log: Log
  disk?: Disk
  /** How often it is looked whether there is room. */
  lookMs?: number
}

export interface JournalState {
  /** Why requests are refused or not counted, a sentence; null = all is well. */
  problem: string | null
  refuses: boolean
  /** Below `root`, as of the last look. */
  bytes: number
  /** Settled, and not written yet. */
  waiting: number
  /** Would have been charged, and was never written. */
  unrecorded: number
}

const lookEveryMs = 1_000
/** A disk that breaks again and again is tried ever more rarely, down to this many looks. */
const mostLooksBetween = 8
const retryAfterSeconds = 5

export class Journal {
  readonly #options: JournalOptions
  readonly #disk: Disk
  readonly #stop = new AbortController()
  /** Begun and not settled. */
  readonly #opened = new Roster<Opened>()
  /** Of this turn; null = nothing has come yet. */
  #batch: Batch | null = null
  /** Ends that could not be written. */
  #waiting: string[] = []
  #place: Place | null = null
  #segment: Segment | null = null
  #segments = 0
  /** Size at which the next segment begins. */
  #limit = 0
  #problem: string | null = null
  #bytes = 0
  #unrecorded = 0
  /** Times in a row that it broke before anything was on the disk. */
  #breaks = 0
  #dirty = false
  #syncing: Promise<void> | null = null
  #looking: Promise<void> = Promise.resolve()

  private constructor(options: JournalOptions) {
    this.#options = options
    this.#disk = options.disk ?? realDisk
  }

  /** Never rejects: a journal that cannot be written says so in its state and goes on trying. */
  static async open(options: JournalOptions): Promise<Journal> {
    const journal = new Journal(options)
    await journal.#look()
    journal.#looking = journal.#lookForever()
    return journal
  }

  /**
   * Before an engine is asked, which must wait until it is `written`: `draft` is what the request settles as if this
   * process dies. null: it is served without being counted. Throws Fault `journal_full`.
   */
  open(draft: SettledRequest): Opened | null {
    if (this.#problem !== null) return this.#withoutRoom()
    const opened = new Opened(draft)
    this.#opened.add(opened)
    const batch = this.#batchOfTurn()
    batch.open(opened)
    if (batch.isFull) this.#flush()
    return opened
  }

  /** `opened`: what `open` gave for this very request; null = it was never begun, or is not counted. */
  settle(opened: Opened | null, request: SettledRequest): void {
    // What room there is left is for the ends of what was begun: whoever is refused now comes again and again.
    if (opened === null && request.usage === null && this.#problem !== null) return
    const line = (opened === null ? encodeBeginning(request) : opened.beginning) + encodeEnd(request)
    const batch = this.#batchOfTurn()
    batch.end({ line, opened, charged: isCharged(request.status) })
    if (batch.isFull) this.#flush()
  }

  /**
   * null: everything that was told is in the kernel, or cannot be brought there. Else that is so when it resolves; it
   * never rejects.
   */
  written(): Promise<void> | null {
    return this.#batch === null ? null : this.#batch.written
  }

  /** Throws Fault `journal_full` when `open` would. */
  requireRoom(): void {
    if (this.#problem !== null && this.#options.whenFull === 'refuse') this.#withoutRoom()
  }

  /** Where it writes now; null while it cannot. */
  get folder(): string | null {
    return this.#place?.folder ?? null
  }

  state(): JournalState {
    return {
      problem: this.#problem,
      refuses: this.#problem !== null && this.#options.whenFull === 'refuse',
      bytes: this.#bytes,
      waiting: this.#waiting.length,
      unrecorded: this.#unrecorded,
    }
  }

  /** Everything is on the disk; then the folder is anybody's. What still waits to be written is lost, and said. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#looking
    await this.#syncing
    // What came in this very turn, and whatever came while it was waited.
    this.#flush()
    if (this.#waiting.length > 0)
      this.#options.log.error({ requests: this.#waiting.length }, 'the journal was never written again: not counted')
    const segment = this.#segment
    this.#segment = null
    this.#problem = 'The server is stopping.'
    await segment?.end().catch((error: Error) => this.#broke(error))
    this.#place?.lock.release()
    this.#place = null
  }

  #withoutRoom(): null {
    if (this.#options.whenFull === 'serve_unmetered') return null
    throw new Fault('journal_full', 'This gateway cannot write down what it would serve.', {
      internal: this.#problem ?? undefined,
      retryAfterSeconds,
    })
  }

  #batchOfTurn(): Batch {
    if (this.#batch !== null) return this.#batch
    atEndOfTurn(this.#flush)
    return (this.#batch = new Batch())
  }

  readonly #flush = (): void => {
    const batch = this.#batch
    if (batch === null) return
    this.#batch = null
    const isWritten = this.#append(batch.opens, batch.closes)
    // Until here a new segment would have had to begin with them.
    for (const { opened } of batch.ended) if (opened !== null) this.#opened.remove(opened)
    if (!isWritten) this.#lose(batch)
    batch.done()
    this.#rotateWhenFull()
  }

  #lose({ opened, ended }: Batch): void {
    for (const one of opened) {
      one.lost = true
      this.#opened.remove(one)
    }
    for (const { line, opened, charged } of ended) {
      if (opened !== null) this.#waiting.push(line)
      else if (charged) this.#unrecorded += 1
    }
  }

  /** False when it could not be written. */
  #append(opens: string, closes: string): boolean {
    const segment = this.#segment
    if (segment === null) return false
    try {
      segment.append(opens, closes)
    } catch (error) {
      this.#broke(error as Error)
      return false
    }
    this.#wrote()
    return true
  }

  #rotateWhenFull(): void {
    const full = this.#segment
    if (full === null || full.size < this.#limit) return
    try {
      this.#begin()
    } catch (error) {
      // There may be room where there is no other file to be had.
      this.#limit += this.#options.segmentBytes
      this.#options.log.warn({ error: (error as Error).message }, 'no new segment of the journal can be made')
      return
    }
    full.end().catch((error: Error) => this.#broke(error))
  }

  /** A new segment, with everything that is still open. Throws the error of the disk. */
  #begin(): void {
    this.#place ??= makePlace(this.#options.root)
    const path = segmentPath(this.#place.folder, (this.#segments += 1))
    const still: Line[] = this.#opened.list().map(({ line }) => ({ kind: 'open', text: line }))
    this.#segment = Segment.create(this.#disk, path, [{ kind: 'head', text: journalHead }, ...still])
    this.#limit = this.#segment.size + this.#options.segmentBytes
    this.#wrote()
  }

  /** Nothing is appended to a file that may end in half a line; the next look tries a new one. */
  #broke(error: Error): void {
    const problem = `The journal cannot be written: ${error.message}.`
    if (this.#problem === null) this.#options.log.error({ error: error.message }, 'the journal cannot be written')
    this.#problem = problem
    this.#breaks += 1
    const segment = this.#segment
    this.#segment = null
    segment?.end().catch(() => {})
  }

  #wrote(): void {
    this.#dirty = true
    this.#syncing ??= this.#syncUntilClean().finally(() => {
      this.#syncing = null
    })
  }

  async #syncUntilClean(): Promise<void> {
    while (this.#dirty) {
      await this.#options.clock.sleep(this.#options.syncMs, this.#stop.signal)
      this.#dirty = false
      const segment = this.#segment
      await segment?.sync().then(
        () => {
          this.#breaks = 0
        },
        (error: Error) => this.#broke(error),
      )
    }
  }

  async #lookForever(): Promise<void> {
    const { clock, lookMs = lookEveryMs } = this.#options
    while (!this.#stop.signal.aborted) {
      await clock.sleep(lookMs * Math.min(mostLooksBetween, 2 ** Math.max(0, this.#breaks - 3)), this.#stop.signal)
      if (!this.#stop.signal.aborted) await this.#look()
    }
  }

  /** Tries again what failed, and finds out whether there is room. */
  async #look(): Promise<void> {
    const { root, log } = this.#options
    const before = this.#problem
    if (this.#segment === null && !this.#tryBegin()) return
    if (!this.#writeWaiting()) return
    this.#bytes = await bytesBelow(root)
    const free = await this.#disk.freeBytes(root).catch(() => Number.POSITIVE_INFINITY)
    // It may have broken meanwhile.
    if (this.#segment === null) return
    this.#problem = this.#shortage(free)
    if (this.#problem !== null && before === null) log.error({ problem: this.#problem }, 'the journal is full')
    if (this.#problem === null && before !== null) log.info({}, 'the journal is written again')
  }

  /** False when some still wait. */
  #writeWaiting(): boolean {
    const written = this.#waiting.findIndex((line) => !this.#append('', line))
    this.#waiting = written === -1 ? [] : this.#waiting.slice(written)
    this.#rotateWhenFull()
    return written === -1
  }

  #tryBegin(): boolean {
    try {
      this.#begin()
      return true
    } catch (error) {
      this.#broke(error as Error)
      this.#giveUpUnusedPlace()
      return false
    }
  }

  /** A folder whose disk takes nothing is not kept: the next try may find another disk in its place. */
  #giveUpUnusedPlace(): void {
    if (this.#place === null || this.#segments > 1) return
    removePlace(this.#place)
    this.#place = null
    this.#segments = 0
  }

  #shortage(free: number): string | null {
    const { minFreeBytes, maxBytes } = this.#options
    if (free < minFreeBytes)
      return `The disk of the journal has ${free} bytes free; at least ${minFreeBytes} are needed (journal.min_free_bytes).`
    if (this.#bytes > maxBytes)
      return `The journal has ${this.#bytes} bytes that the database has not taken yet, of ${maxBytes} (journal.max_bytes).`
    return null
  }
}
