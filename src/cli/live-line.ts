/**
 * One line that tells what is going on: redrawn in place on a terminal, a plain line per change elsewhere. Whatever
 * else is written goes between `clear` and the next `show`.
 */
import { cut, harmless } from './width.ts'

export interface LiveLine {
  /** `state` decides whether it is news; `elapsed` is only redrawn. */
  show(state: string, elapsed: string): void
  clear(): void
}

/** A silent wait on something that is no terminal gets a line at least this often. */
const repeatPlainMs = 30_000

export function liveLine(stream: NodeJS.WriteStream, nowMs: () => number): LiveLine {
  return stream.isTTY ? redrawn(stream) : plain(stream, nowMs)
}

function redrawn(stream: NodeJS.WriteStream): LiveLine {
  let shown = false
  return {
    show(state, elapsed) {
      // One column stays free: some terminals wrap when the last one is written.
      stream.write(`\r${cut(`${flat(state)}  ${elapsed}`, Math.max(20, (stream.columns || 80) - 1))}\u001B[K`)
      shown = true
    },
    clear() {
      if (shown) stream.write('\r\u001B[K')
      shown = false
    },
  }
}

function plain(stream: NodeJS.WriteStream, nowMs: () => number): LiveLine {
  let last = ''
  let at = 0
  return {
    show(state, elapsed) {
      if (state === last && nowMs() - at < repeatPlainMs) return
      last = state
      at = nowMs()
      stream.write(`${flat(state)}  ${elapsed}\n`)
    },
    clear() {},
  }
}

/** A line that nobody sees, for `--json`. */
export const silentLine: LiveLine = { show: () => {}, clear: () => {} }

function flat(text: string): string {
  return harmless(text).replaceAll('\n', ' ')
}
