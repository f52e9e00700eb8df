/**
 * The simulated provider's memory on disk: a line for every change, read back by the next process. The last line of a
 * machine counts. A line that was cut off by a kill is the change that did not happen.
 */
import { appendFileSync } from 'node:fs'
import { readIfThere, writeFileAtomic } from '../../runtime/files.ts'
import type { Machine } from './machine.ts'
import type { KnownTrouble } from './troubles.ts'

export interface Kept {
  machines: Machine[]
  troubles: KnownTrouble[]
}

export interface Journal {
  keep(machine: Machine): void
  drop(id: string): void
  keepTroubles(troubles: readonly KnownTrouble[]): void
}

type Line = { machine: Machine } | { gone: string } | { troubles: KnownTrouble[] }

export class FileJournal implements Journal {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** What an earlier process knew, written anew in short; null when there was none. */
  open(): Kept | null {
    const text = readIfThere(this.#path)
    const kept = text === null ? null : replay(text)
    const lines: Line[] = kept ? [{ troubles: kept.troubles }, ...kept.machines.map((machine) => ({ machine }))] : []
    writeFileAtomic(this.#path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    return kept
  }

  keep(machine: Machine): void {
    this.#append({ machine })
  }

  drop(id: string): void {
    this.#append({ gone: id })
  }

  keepTroubles(troubles: readonly KnownTrouble[]): void {
    this.#append({ troubles: [...troubles] })
  }

  #append(line: Line): void {
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`, { mode: 0o600 })
  }
}

function replay(text: string): Kept {
  const machines = new Map<string, Machine>()
  let troubles: KnownTrouble[] = []
  for (const line of text.split('\n')) {
    const read = parse(line)
    if (read === null) continue
    if ('machine' in read) machines.set(read.machine.id, read.machine)
    else if ('gone' in read) machines.delete(read.gone)
    else troubles = read.troubles
  }
  return { machines: [...machines.values()], troubles }
}

function parse(line: string): Line | null {
  try {
    return JSON.parse(line) as Line
  } catch {
    return null
  }
}
