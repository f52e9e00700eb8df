import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes a file so that a reader, or a crash, sees the old content or the new, never half. */
export function writeFileAtomic(path: string, content: string | Buffer, mode = 0o600): void {
  renameSync(writeBeside(path, content, mode), path)
}

/** Writes a file unless there is one, in one step for every other writer and for a crash. False when there was one. */
export function createFileOnce(path: string, content: string | Buffer, mode = 0o600): boolean {
  const partial = writeBeside(path, content, mode)
  try {
    linkSync(partial, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(partial, { force: true })
  }
}

function writeBeside(path: string, content: string | Buffer, mode: number): string {
  const partial = partialPath(path)
  writeFileSync(partial, content, { mode })
  const fd = openSync(partial, 'r')
  fsyncSync(fd)
  closeSync(fd)
  return partial
}

/** Not from node:crypto: loading it is a tenth of a keeper's start. */
function partialPath(path: string): string {
  return `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.tmp`
}

/** The same without blocking the event loop: for processes that relay tokens meanwhile. */
export async function replaceFile(path: string, content: string | Buffer, mode = 0o600): Promise<void> {
  const partial = partialPath(path)
  try {
    const file = await open(partial, 'wx', mode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

/** The file's text; null when it does not exist. Other errors are thrown. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Parsed JSON of a file; null when it is missing or not JSON (half-written by someone who died). */
export function readJsonIfThere<T>(path: string): T | null {
  const text = readIfThere(path)
  if (text === null) return null
  try {
    return JSON.parse(text) as T
  } catch {
    return null
  }
}

/** Makes a folder with exactly this mode, whatever the umask; leaves an existing one as it is. */
export function makeFolder(path: string, mode: number): void {
  if (existsSync(path)) return
  makeFolder(dirname(path), 0o755)
  try {
    mkdirSync(path)
    chmodSync(path, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
