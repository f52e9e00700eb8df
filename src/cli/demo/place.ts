/** Where the demo keeps its data, and what is left there. */
import { accessSync, constants, copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { homeFolder } from '../../runtime/environment.ts'
import { readJsonIfThere } from '../../runtime/files.ts'
import { exitStatus, Failure } from '../failure.ts'

export interface Place {
  /** Absolute, symbolic links resolved. */
  folder: string
  /** Removed at the end. */
  temporary: boolean
  logPath: string
  /** Of the server that has been started there; null before. */
  instanceId(): string | null
}

/** Throws Failure when no folder can be made. */
export function choosePlace(wish: { data: string | undefined; exit: boolean }): Place {
  const kept = wish.data ?? (wish.exit ? undefined : join(homeFolder(), '.paddock-demo'))
  const folder = kept === undefined ? null : madeFolder(resolve(kept), wish.data !== undefined)
  if (folder !== null) return place(folder, false)
  // Nothing is to be kept, or there is no home to keep it in.
  return place(temporaryFolder(), true)
}

function place(folder: string, temporary: boolean): Place {
  const instanceId = () => {
    const id = readJsonIfThere<{ id?: unknown }>(join(folder, 'instance.json'))?.id
    return typeof id === 'string' && /^[0-9a-f]{16}$/.test(id) ? id : null
  }
  return { folder, temporary, logPath: join(folder, 'server.log'), instanceId }
}

function madeFolder(path: string, insist: boolean): string | null {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    return realpathSync(path)
  } catch (error) {
    if (!insist) return null
    const why = (error as NodeJS.ErrnoException).code
    const message = `The data folder ${path} cannot be used (${why}).`
    throw new Failure(exitStatus.failed, 'data_folder', message, 'Name another one with --data.', { cause: error })
  }
}

function temporaryFolder(): string {
  try {
    return realpathSync(mkdtempSync(join(tmpdir(), 'paddock-demo-')))
  } catch (error) {
    const message = `No folder for temporary data can be made in ${tmpdir()} (${(error as NodeJS.ErrnoException).code}).`
    throw new Failure(exitStatus.failed, 'data_folder', message, 'Name a folder with --data.', { cause: error })
  }
}

/**
 * Removes a temporary place, and what the server keeps for it outside: under root, other uids cannot enter the folder
 * of a user, so their files are in the system folder under this instance's id.
 */
export function removePlace(place: Place, systemFolder: string): void {
  if (!place.temporary) return
  const id = place.instanceId()
  if (id !== null) remove(join(systemFolder, id))
  remove(place.folder)
}

function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

/** After a failure the log must outlive a temporary place. Returns where it is now. */
export function keepLog(place: Place): string {
  if (!place.temporary) return place.logPath
  const kept = join(tmpdir(), `${basename(place.folder)}.log`)
  try {
    copyFileSync(place.logPath, kept, constants.COPYFILE_EXCL)
    return kept
  } catch {
    return place.logPath
  }
}
