/**
 * Puts weights where one engine, and no other, can read them (root only; without root an engine reads what we read).
 * Each replica gets a folder of its own with hard links: to the source when every uid may read that file, else to a
 * copy in a store that only root can enter. Links cost no space; a copy that no replica links any more is removed by
 * the sweep. Nothing is changed at the source.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, chown, copyFile, link, mkdir, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { randomToken } from '../../runtime/ids.ts'
import type { Account } from '../../runtime/isolation.ts'

export interface WeightStore {
  /** Copies, one folder each; only root enters. */
  store: string
  /** The replica's own folder; its engine can enter but not list it. */
  replicaFolder: string
  account: Account
  /** In it; default: weights. */
  folder?: string
}

interface WeightFile {
  /** Real path. */
  source: string
  /** Below the folder that is placed. */
  relative: string
}

/** Path under which the engine finds the weights. Throws what the file system throws (ENOSPC, ENOENT, …). */
export async function placeWeights(path: string, places: WeightStore): Promise<string> {
  const isFolder = (await stat(path)).isDirectory()
  const files = isFolder ? await filesBelow(path) : await shardsOf(path)
  const target = join(places.replicaFolder, places.folder ?? 'weights')
  await mkdir(target, { recursive: true, mode: 0o750 })
  await openFor(places.account, places.replicaFolder, target)
  for (const file of files) {
    const placed = join(target, file.relative)
    await mkdir(dirname(placed), { recursive: true })
    for (let dir = dirname(placed); dir !== target; dir = dirname(dir)) await openFor(places.account, dir)
    await placeFile(file.source, placed, places.store)
  }
  return isFolder ? target : join(target, basename(path))
}

async function openFor(account: Account, ...folders: string[]): Promise<void> {
  for (const folder of folders) {
    await chown(folder, 0, account.gid)
    await chmod(folder, 0o750)
  }
}

async function placeFile(source: string, placed: string, store: string): Promise<void> {
  const { mode } = await stat(source)
  if (mode & 0o004 && (await tryLink(source, placed))) return
  try {
    if (await tryLink(await copyOf(source, store), placed)) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  // A sweep took the copy away just before it was linked; a fresh one stays long enough.
  if (!(await tryLink(await copyOf(source, store), placed))) throw new Error(`${placed} cannot be linked`)
}

/** False when they are on different file systems, or the source takes no more links. */
async function tryLink(source: string, placed: string): Promise<boolean> {
  try {
    await link(source, placed)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return true
    if (code === 'EXDEV' || code === 'EPERM' || code === 'EMLINK') return false
    throw error
  }
}

/** Copies under way in this process, so that replicas of one model that start together copy once. */
const copying = new Map<string, Promise<string>>()

async function copyOf(source: string, store: string): Promise<string> {
  const { size, mtimeMs, ino, dev } = await stat(source)
  const version = createHash('sha256')
    .update(JSON.stringify([source, size, mtimeMs, ino, dev]))
    .digest('hex')
  const target = join(store, `${version.slice(0, 24)}-${basename(source)}`)
  let copy = copying.get(target)
  if (copy === undefined) {
    copy = copyOnce(source, target).finally(() => copying.delete(target))
    copying.set(target, copy)
  }
  return copy
}

async function copyOnce(source: string, target: string): Promise<string> {
  if (await isThere(target)) return target
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  const partial = join(dirname(target), `.partial.${randomToken(6)}`)
  try {
    await copyFile(source, partial, constants.COPYFILE_FICLONE)
    await chmod(partial, 0o444)
    await rename(partial, target)
  } finally {
    await rm(partial, { force: true })
  }
  return target
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** A GGUF that was split is given by its first part; the engine looks for the others beside it. */
async function shardsOf(path: string): Promise<WeightFile[]> {
  const name = basename(path)
  const split = /^(.*)-\d{5}-of-(\d{5}\.gguf)$/.exec(name)
  if (split === null) return [{ source: await realpath(path), relative: name }]
  const names = (await readdir(dirname(path))).filter((other) => {
    const part = /^(.*)-\d{5}-of-(\d{5}\.gguf)$/.exec(other)
    return part?.[1] === split[1] && part?.[2] === split[2]
  })
  return Promise.all(
    names.map(async (relative) => ({ source: await realpath(join(dirname(path), relative)), relative })),
  )
}

/** Deeper is a link in a circle. */
const depthMaximum = 16

/** Links are followed: a hub's cache keeps its files elsewhere. */
async function filesBelow(folder: string, prefix = '', depth = 0): Promise<WeightFile[]> {
  if (depth > depthMaximum) throw new Error(`${folder} is nested deeper than ${depthMaximum} folders`)
  const names = await readdir(join(folder, prefix))
  const nested = await Promise.all(names.map((name) => filesOf(folder, join(prefix, name), depth)))
  return nested.flat()
}

async function filesOf(folder: string, relative: string, depth: number): Promise<WeightFile[]> {
  const source = await realpath(join(folder, relative))
  if ((await stat(source)).isDirectory()) return filesBelow(folder, relative, depth + 1)
  return [{ source, relative }]
}

/** Removes copies that no replica links and that nobody linked for `keepSeconds`; gives their names. */
export async function removeUnusedWeights(store: string, keepSeconds: number, nowMs: number): Promise<string[]> {
  const removed: string[] = []
  for (const name of await readdir(store).catch(() => [])) {
    const { nlink, ctimeMs } = await stat(join(store, name))
    // Linking and unlinking both set the time of status change.
    if (nlink > 1 || nowMs - ctimeMs < keepSeconds * 1000) continue
    if (name.startsWith('.partial.') && nowMs - ctimeMs < partialAbandonedMs) continue
    await rm(join(store, name), { force: true })
    removed.push(name)
  }
  return removed
}

/** A copy under way touches its file all the time; one that stands still belongs to somebody who died. */
const partialAbandonedMs = 600_000
