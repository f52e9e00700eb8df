/** What is to be written in one go: the requests that began and ended in one turn of the event loop. */
import type { Rostered } from '../../kernel/roster.ts'
import type { SettledRequest } from '../request.ts'
import { encodeBeginning, encodeEnd } from './record.ts'

/** A request that was begun; given back when it settles. */
export class Opened implements Rostered {
  slot = -1
  /** It could not be written: the request stands nowhere. */
  lost = false
  /** What its line begins with, whatever becomes of it. */
  readonly beginning: string
  /** What it settles as if this process dies. */
  readonly line: string

  constructor(draft: SettledRequest) {
    this.beginning = encodeBeginning(draft)
    this.line = this.beginning + encodeEnd(draft)
  }
}

export interface Ended {
  line: string
  /** null: it stands nowhere as begun. */
  opened: Opened | null
  charged: boolean
}

/** Beyond it the turn is not waited for; far below what a frame holds. */
const fullChars = 8 * 1024

export class Batch {
  readonly opened: Opened[] = []
  readonly ended: Ended[] = []
  /** Lines with a line feed between them. */
  opens = ''
  closes = ''
  readonly #written = Promise.withResolvers<void>()

  get isFull(): boolean {
    return this.opens.length > fullChars || this.closes.length > fullChars
  }

  open(opened: Opened): void {
    this.opened.push(opened)
    this.opens = this.opens === '' ? opened.line : `${this.opens}\n${opened.line}`
  }

  end(ended: Ended): void {
    this.ended.push(ended)
    this.closes = this.closes === '' ? ended.line : `${this.closes}\n${ended.line}`
  }

  /** Resolves when the batch is in the file, or cannot be brought there. */
  get written(): Promise<void> {
    return this.#written.promise
  }

  done(): void {
    this.#written.resolve()
  }
}
