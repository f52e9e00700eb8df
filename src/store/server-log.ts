import { closeSync, copyFileSync, fstatSync, openSync, readSync, renameSync, statSync, truncateSync } from 'node:fs'
import type { Clock } from '../runtime/clock.ts'

/** Size at which the log is moved to `<log>.1`, replacing the one before. */
export const logMaxBytes = 8 * 1024 * 1024
/** How often a running server's log is looked at. */
export const logLookEveryMs = 30_000
const tailBytes = 8 * 1024

/** Opens the server's log for appending; one past its limit is moved aside first. */
export function openLog(path: string): number {
  if (sizeOf(path) > logMaxBytes) renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}

/**
 * Keeps a running server's log within its limit until `signal` aborts. The server holds the file open for appending,
 * so the content is copied away and the file emptied: a line written in between may be lost.
 */
export async function boundLog(path: string, clock: Clock, signal: AbortSignal, maxBytes = logMaxBytes): Promise<void> {
  while (!signal.aborted) {
    if (sizeOf(path) > maxBytes) {
      copyFileSync(path, `${path}.1`)
      truncateSync(path)
    }
    await clock.sleep(logLookEveryMs, signal)
  }
}

/** The last lines from position `from` on; what a person needs when the server did not start. */
export function lastLogLines(path: string, lines: number, from = 0): string {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    const start = Math.max(from, size - tailBytes, 0)
    const buffer = Buffer.alloc(Math.max(0, size - start))
    readSync(fd, buffer, 0, buffer.length, start)
    return buffer.toString('utf8').trim().split('\n').slice(-lines).join('\n')
  } finally {
    closeSync(fd)
  }
}

export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
