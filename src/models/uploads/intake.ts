/**
 * One upload on its way: every piece is checked, hashed and stored before the next is taken, so that memory holds one
 * piece and the head's texts, however large the file is.
 */
import { createHash, type Hash } from 'node:crypto'
import { Fault } from '../../kernel/fault.ts'
import { type Checked, GgufCheck } from '../gguf-check.ts'
import type { KnownBase } from '../supported/judge.ts'
import { factsOf } from './facts.ts'
import type { StorageWriter } from './storage.ts'
import type { UploadFacts } from './store.ts'

export interface Received {
  bytes: number
  sha256: string
  facts: UploadFacts
}

/** What is known of the bytes so far. It outlives a connection, not the process. */
export class Intake {
  readonly #known: readonly KnownBase[]
  readonly #check = new GgufCheck()
  readonly #hash: Hash = createHash('sha256')
  #facts: UploadFacts | null = null
  #bytes = 0

  /** `known`: models that others rest on. */
  constructor(known: readonly KnownBase[]) {
    this.#known = known
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Throws Fault `model_file_unreadable` at the first byte that shows it. */
  take(piece: Buffer): void {
    this.#bytes += piece.length
    this.#judge(this.#check.push(piece))
    this.#hash.update(piece)
  }

  /** No more comes. Throws Fault `model_file_unreadable`. */
  end(): Received {
    this.#judge(this.#check.end())
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex'), facts: this.#facts! }
  }

  #judge(checked: Checked): void {
    if (checked.state === 'broken') throw unreadable(checked.why)
    if (checked.state === 'head') this.#facts ??= factsOf(checked.file, this.#known)
  }
}

export function unreadable(why: string): Fault {
  return new Fault('model_file_unreadable', `The file is not a usable GGUF file: ${why}.`, {
    action: 'Upload a complete GGUF file, as llama.cpp reads it.',
  })
}

/** Stores what the source gives and takes note of it. Throws what the source throws, and Faults. */
export async function store(
  source: AsyncIterable<Buffer>,
  writer: Pick<StorageWriter, 'write'>,
  limits: { intake: Intake | null; bytesMaximum: number; tooMuch(): Fault; progress(bytes: number): Promise<void> },
): Promise<number> {
  let bytes = 0
  for await (const piece of source) {
    bytes += piece.length
    if (bytes > limits.bytesMaximum) throw limits.tooMuch()
    limits.intake?.take(piece)
    await writer.write(piece)
    await limits.progress(bytes)
  }
  return bytes
}
