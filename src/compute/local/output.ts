/** The engine's output: whole lines into a file of bounded size, and the last ones in memory for the exit record. */
import { closeSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'

export const lastLinesMaximum = 50
/** Longer lines are cut. */
const lineLengthMaximum = 4_000
/** Per file; there are two, the older one is dropped. */
export const logBytesMaximum = 1024 * 1024
export const olderLogSuffix = '.1'

export class EngineOutput {
  readonly lastLines: string[] = []
  readonly #path: string
  readonly #bytesMaximum: number
  #fd: number
  #bytes = 0

  constructor(path: string, bytesMaximum = logBytesMaximum) {
    this.#path = path
    this.#bytesMaximum = bytesMaximum
    this.#fd = openSync(path, 'a', 0o600)
  }

  /** A sink for one of the engine's streams; call it with null at the end. */
  stream(): (chunk: Buffer | null) => void {
    const decoder = new StringDecoder('utf8')
    let rest = ''
    return (chunk) => {
      const lines = (rest + (chunk === null ? decoder.end() : decoder.write(chunk))).split('\n')
      rest = lines.pop()!.slice(0, lineLengthMaximum + 1)
      for (const line of lines) this.#write(line)
      if (chunk !== null || rest === '') return
      this.#write(rest)
      rest = ''
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  #write(raw: string): void {
    const whole = raw.replace(/\r$/, '')
    const line = whole.length > lineLengthMaximum ? `${whole.slice(0, lineLengthMaximum)}…` : whole
    this.lastLines.push(line)
    if (this.lastLines.length > lastLinesMaximum) this.lastLines.shift()
    try {
      if (this.#bytes > this.#bytesMaximum) this.#rotate()
      this.#bytes += writeSync(this.#fd, `${line}\n`)
    } catch {
      // A full disk costs log lines, never the engine.
    }
  }

  #rotate(): void {
    closeSync(this.#fd)
    renameSync(this.#path, this.#path + olderLogSuffix)
    this.#fd = openSync(this.#path, 'a', 0o600)
    this.#bytes = 0
  }
}

/** The last `lines` lines of a log and its older part, oldest first. */
export function tail(path: string, lines: number): string[] {
  if (lines <= 0) return []
  const newer = linesOf(path)
  const all = newer.length >= lines ? newer : [...linesOf(path + olderLogSuffix), ...newer]
  return all.slice(-lines)
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(0, -1)
  } catch {
    return []
  }
}
