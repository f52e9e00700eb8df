/**
 * Checks a GGUF while it comes in, piece by piece: its head as soon as it is there, its size at the end. What it keeps is
 * the head's texts and the piece that is not whole; the weights only pass. Pure.
 */
import { alignmentOf, BrokenGguf, type GgufValue, type Reading, readHead, readTensors } from '../kernel/gguf-grammar.ts'

/** Largest head; larger ones are refused. Vocabularies make honest ones up to 20 MB. */
export const headBytesMaximum = 64 * 1024 * 1024

export interface GgufFile {
  /** The pairs that a deployment and a fit check need. */
  pairs: ReadonlyMap<string, GgufValue>
  tensors: number
  /** Bytes before the first tensor. */
  headBytes: number
  /** Of the whole file. */
  sizeBytes: bigint
}

export type Checked =
  /** The head is not whole yet. */
  { state: 'reading' } | { state: 'head'; file: GgufFile } | { state: 'broken'; why: string }

export class GgufCheck {
  readonly #reading = whole()
  #step: IteratorResult<number, Omit<GgufFile, 'headBytes' | 'sizeBytes'> & { dataBytes: bigint; alignment: number }>
  /** Bytes of the file that are consumed by the head's reader. */
  #consumed = 0
  #pieces: Buffer[] = []
  #kept = 0
  #received = 0n
  #checked: Checked = { state: 'reading' }

  constructor() {
    this.#step = this.#reading.next()
  }

  get received(): bigint {
    return this.#received
  }

  /** The next piece. Once it is broken it stays so. */
  push(piece: Buffer): Checked {
    this.#received += BigInt(piece.length)
    if (this.#checked.state === 'reading' && piece.length > 0) {
      this.#pieces.push(piece)
      this.#kept += piece.length
      this.#advance()
    } else if (this.#checked.state === 'head' && this.#received > this.#checked.file.sizeBytes)
      this.#break(`it goes on after its ${this.#checked.file.sizeBytes} bytes`)
    return this.#checked
  }

  /** No more comes. */
  end(): Checked {
    if (this.#checked.state === 'reading') this.#break('it ends inside its header')
    else if (this.#checked.state === 'head' && this.#received < this.#checked.file.sizeBytes)
      this.#break(`it is cut off: ${this.#received} of ${this.#checked.file.sizeBytes} bytes`)
    return this.#checked
  }

  #advance(): void {
    try {
      while (!this.#step.done) {
        const wants = this.#step.value
        const length = Math.abs(wants)
        if (this.#consumed + length > headBytesMaximum)
          throw new BrokenGguf(`its header is larger than ${headBytesMaximum} bytes`)
        if (wants < 0 ? !this.#pass(length) : this.#kept < length) return
        this.#step = this.#reading.next(wants < 0 ? nothing : this.#take(length))
      }
      this.#finish(this.#step.value)
    } catch (error) {
      if (!(error instanceof BrokenGguf)) throw error
      this.#break(error.message)
    }
  }

  /** Bytes still to be passed over, when the last piece ended among them. */
  #passing = 0

  #pass(length: number): boolean {
    if (this.#passing === 0) this.#passing = length
    const now = Math.min(this.#passing, this.#kept)
    this.#drop(now)
    this.#passing -= now
    return this.#passing === 0
  }

  #take(length: number): Buffer {
    const first = this.#pieces[0]!
    const bytes = first.length >= length ? first.subarray(0, length) : Buffer.concat(this.#pieces).subarray(0, length)
    this.#drop(length)
    return bytes
  }

  #drop(length: number): void {
    this.#consumed += length
    this.#kept -= length
    let left = length
    while (left > 0) {
      const first = this.#pieces[0]!
      if (first.length > left) {
        this.#pieces[0] = first.subarray(left)
        return
      }
      left -= first.length
      this.#pieces.shift()
    }
  }

  #finish(head: {
    pairs: ReadonlyMap<string, GgufValue>
    tensors: number
    dataBytes: bigint
    alignment: number
  }): void {
    this.#pieces = []
    const headBytes = Math.ceil(this.#consumed / head.alignment) * head.alignment
    const sizeBytes = BigInt(headBytes) + head.dataBytes
    this.#checked = { state: 'head', file: { pairs: head.pairs, tensors: head.tensors, headBytes, sizeBytes } }
    if (this.#received > sizeBytes) this.#break(`it goes on after its ${sizeBytes} bytes`)
  }

  #break(why: string): void {
    this.#pieces = []
    this.#checked = { state: 'broken', why }
  }
}

const nothing = Buffer.alloc(0)

function* whole(): Reading<{ pairs: Map<string, GgufValue>; tensors: number; dataBytes: bigint; alignment: number }> {
  const { pairs, tensors } = yield* readHead(isWanted)
  const alignment = alignmentOf(pairs)
  return { pairs, tensors, dataBytes: yield* readTensors(tensors, alignment), alignment }
}

/** Texts of vocabularies and templates pass; what sizes and names the model stays. */
function isWanted(key: string): boolean {
  return !key.startsWith('tokenizer.') || key === 'tokenizer.ggml.model'
}
