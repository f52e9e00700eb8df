/** What is known of an adapter's file, and how it is read: in pieces, with refusals that say why. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import { Fault } from '../../kernel/fault.ts'

export interface AdapterFile {
  format: AdapterFormat
  /** A file, or a folder. */
  path: string
  sizeBytes: number
  /** The largest of its matrices. */
  rank: number
  /** What it was trained on, as it says: Hub ids, addresses, paths; empty = it does not say. */
  bases: string[]
  /** In llama.cpp's words; null = it does not say. */
  architecture: string | null
  changes: Change[]
}

/** One matrix of the model, and what the adapter believes of it. */
export interface Change {
  /** By llama.cpp's name without `.weight`: `blk.0.attn_q`; one that has none there by its own. */
  module: string
  inputs: number
  outputs: number
}

/** Largest head that is read, of a GGUF or a safetensors file. */
export const headBytesMaximum = 64 * 1024 * 1024

export type Read = (offset: number, length: number) => Buffer

/** `why` completes "This is not a usable LoRA adapter: ". */
export function unreadable(why: string): Fault {
  return new Fault('adapter_unreadable', `This is not a usable LoRA adapter: ${why}.`, { detail: { reason: why } })
}

/** A file open for reading in pieces, and its size; closed when `use` returns. */
export function withFile<T>(path: string, use: (read: Read, sizeBytes: number) => T): T {
  const fd = openSync(path, 'r')
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw unreadable('it is not a file')
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length)
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
    }
    return use(read, stat.size)
  } finally {
    closeSync(fd)
  }
}
