/** What the journal does to the disk: one small door, so that a test can have a disk that is full or broken. */
import { closeSync, fdatasync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { open, readdir, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'

export interface Disk {
  /** A new file, readable by its owner only; its descriptor. */
  create(path: string): number
  /** Bytes that were taken. In the kernel when it returns: a killed process loses nothing of it. */
  write(descriptor: number, bytes: Buffer, length: number, position: number): number
  rename(from: string, to: string): void
  remove(path: string): void
  /** On the disk when it resolves. */
  sync(descriptor: number): Promise<void>
  syncFolder(path: string): Promise<void>
  close(descriptor: number): void
  freeBytes(path: string): Promise<number>
}

export const realDisk: Disk = {
  create: (path) => openSync(path, 'wx', 0o600),
  write: (descriptor, bytes, length, position) => writeSync(descriptor, bytes, 0, length, position),
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
  sync: (descriptor) =>
    new Promise((resolve, reject) => fdatasync(descriptor, (error) => (error === null ? resolve() : reject(error)))),
  syncFolder: async (path) => {
    const folder = await open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  close: closeSync,
  freeBytes: async (path) => {
    const { bavail, bsize } = await statfs(path)
    return bavail * bsize
  },
}

/** Bytes of all files in the folders of a folder. What goes meanwhile counts nothing. */
export async function bytesBelow(root: string): Promise<number> {
  const names = await readdir(root, { recursive: true }).catch(() => [])
  const sizes = await Promise.all(names.map((name) => stat(join(root, name)).catch(() => null)))
  return sizes.reduce((sum, one) => sum + (one?.isFile() ? one.size : 0), 0)
}
