/**
 * Where journals are: `ROOT/WRITER/{lock, 00000001.segment, …}`. Every start of a writer has a folder of its own, so
 * nobody ever appends to what another has written; its lock says that it lives. The folder of a writer that died is
 * taken over by whoever gets its lock.
 */
import { readdirSync, rmdirSync, rmSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../../runtime/files.ts'
import { randomToken } from '../../runtime/ids.ts'
import { type HeldLock, takeLock } from '../../runtime/lock.ts'

export interface Place {
  folder: string
  lock: HeldLock
}

const lockName = 'lock'
const segmentName = /^(\d{8})\.segment$/
/** A new folder may be taken over before its lock is taken; then another one is made. */
const namesTried = 5

/** Throws the error of the disk. */
export function makePlace(root: string): Place {
  makeFolder(root, 0o700)
  for (let tried = 1; ; tried++) {
    const folder = join(root, `writer-${process.pid}-${randomToken(6)}`)
    makeFolder(folder, 0o700)
    const lock = takeLockIn(folder)
    if (lock !== null) return { folder, lock }
    if (tried >= namesTried) throw new Error(`no folder in ${root} can be locked`)
  }
}

/** Folders of writers, dead and alive, in no order. */
export async function placesIn(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(root, name))
}

/** null while its writer lives, and when it is gone. */
export function takeLockIn(folder: string): HeldLock | null {
  try {
    return takeLock(join(folder, lockName))
  } catch {
    return null
  }
}

/** Paths of the segments, oldest first. */
export async function segmentsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return names
    .filter((name) => segmentName.test(name))
    .sort()
    .map((name) => join(folder, name))
}

export function segmentPath(folder: string, number: number): string {
  return join(folder, `${String(number).padStart(8, '0')}.segment`)
}

/** Lets go of a folder of which nothing is needed any more. */
export function removePlace({ folder, lock }: Place): void {
  for (const name of names(folder)) if (name !== lockName) rmSync(join(folder, name), { force: true })
  rmSync(join(folder, lockName), { force: true })
  lock.release()
  try {
    rmdirSync(folder)
  } catch {
    // Somebody looked into it at that moment; the next look removes it.
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
