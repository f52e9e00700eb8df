/**
 * A LoRA adapter on this disk, as GGUF (one file) or PEFT (a folder): what it says of itself, and which matrices of its
 * model it changes. Only heads are read; weights never. What is damaged or of a kind that no engine takes is refused
 * here, before an engine sees it.
 */
import { statSync } from 'node:fs'
import { Fault } from '../../kernel/fault.ts'
import { type AdapterFile, unreadable } from './file.ts'
import { readGgufAdapter } from './gguf.ts'
import { readPeftAdapter } from './peft.ts'

/** Throws Fault `adapter_unreadable` or `adapter_not_supported`. */
export function readAdapter(path: string): AdapterFile {
  try {
    return statSync(path).isDirectory() ? readPeftAdapter(path) : readGgufAdapter(path)
  } catch (error) {
    if (error instanceof Fault) throw error
    throw unreadable(`it cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}
