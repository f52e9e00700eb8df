/**
 * A lock on a file that the kernel gives back when its holder dies, however it dies. Node has no flock; SQLite takes
 * the same kind of lock for us. It also holds between containers that share a volume, where process ids mean nothing.
 * Nothing is ever stored in the file, and it is never deleted: a deleted lock file can be locked twice.
 */
import { DatabaseSync } from 'node:sqlite'

export interface HeldLock {
  /** Idempotent. */
  release(): void
}

const sqliteBusy = 5

/** Takes the lock; null when somebody else (also in this process) holds it. Throws when the file cannot be opened. */
export function takeLock(path: string): HeldLock | null {
  const file = new DatabaseSync(path, { timeout: 0 })
  try {
    file.exec('pragma journal_mode = off; begin exclusive')
  } catch (error) {
    file.close()
    if ((error as { errcode?: number }).errcode === sqliteBusy) return null
    throw error
  }
  return {
    release: () => {
      if (file.isOpen) file.close()
    },
  }
}
