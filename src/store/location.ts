/**
 * Decides where the database's files are and which account owns them. The rule: inside the data folder whenever the
 * account can get there, else in a fixed system folder that the data folder names. Once decided it never changes by
 * itself, and a recorded database that is missing is an error, never a reason to start with an empty one.
 */
import { existsSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeFolder, readJsonIfThere, writeFileAtomic } from '../runtime/files.ts'
import { instanceId } from '../runtime/instance.ts'
import { type Account, postgresAccount, reachableBy, runsAsRoot } from '../runtime/isolation.ts'

export interface Location {
  /** Postgres' own data directory. */
  folder: string
  /** Who owns it and runs Postgres; null = we ourselves. */
  account: Account | null
}

export interface LocationInput {
  /** Must exist. */
  dataFolder: string
  systemFolder: string
  uidBase?: number
  /** Every account that must be able to enter the folder above the database. */
  accounts: ReadonlyArray<Account | null>
}

interface Recorded {
  folder: string
  /** True once a whole database is there. */
  created: boolean
}

/** Name of the file in the data folder that says where the database is when it is not in the data folder. */
export const locationFile = 'postgres-location.json'
/** Name of the file beside a database outside its data folder; says which data folder it belongs to. */
const ownerFile = 'data-folder.json'

/** Throws with a sentence for the operator when the database cannot be where it should be. */
export function locateDatabase(input: LocationInput): Location {
  const recorded = readRecord(input.dataFolder)
  const inside = join(input.dataFolder, 'postgres')
  const folder = recorded?.folder ?? (existsSync(inside) ? inside : chooseFolder(input, inside))
  if (folder !== inside) claimOutside(folder, input.dataFolder)
  if (recorded?.created && !isDatabase(folder)) {
    throw new Error(
      `The database of this data folder should be in ${folder} and is not there. Restore it; or, to begin with an ` +
        `empty database, delete ${join(input.dataFolder, locationFile)}.`,
    )
  }
  const location = { folder, account: ownerOf(folder, input.uidBase) }
  if (isDatabase(folder)) checkAccess(location)
  return location
}

/** True when a whole database is in this folder (initdb works elsewhere and its result is renamed into place). */
export function isDatabase(folder: string): boolean {
  return existsSync(join(folder, 'PG_VERSION'))
}

/** Called when the database was made: from now on its absence is an error. */
export function recordCreated(dataFolder: string): void {
  const recorded = readRecord(dataFolder)
  if (recorded && !recorded.created) writeRecord(dataFolder, { ...recorded, created: true })
}

function chooseFolder(input: LocationInput, inside: string): string {
  if (input.accounts.every((account) => reachableBy(account, input.dataFolder))) return inside
  const home = join(input.systemFolder, instanceId(input.dataFolder))
  makeFolder(home, 0o711)
  if (!input.accounts.every((account) => reachableBy(account, input.systemFolder)))
    throw new Error(`Postgres’ own user cannot enter ${input.systemFolder}. Allow every user to enter that folder.`)
  const folder = join(home, 'postgres')
  writeRecord(input.dataFolder, { folder, created: false })
  return folder
}

/** A copied data folder names the original's database; two Paddocks must not take turns with one database. */
function claimOutside(folder: string, dataFolder: string): void {
  const path = join(dirname(folder), ownerFile)
  if (!existsSync(dirname(folder))) return
  const mine = realpathSync(dataFolder)
  const owner = readJsonIfThere<{ dataFolder: string }>(path)?.dataFolder
  if (owner === mine) return
  if (owner !== undefined && readRecord(owner)?.folder === folder) {
    throw new Error(
      `${mine} is a copy of ${owner}, whose database in ${folder} is not copied with it. Use the original, or remove ` +
        `${join(mine, locationFile)} and ${join(mine, 'instance.json')} to begin with an empty database.`,
    )
  }
  writeFileAtomic(path, `${JSON.stringify({ dataFolder: mine })}\n`)
}

/** The owner of an existing database keeps it; a new one belongs to the account of Postgres. */
function ownerOf(folder: string, uidBase: number | undefined): Account | null {
  if (!runsAsRoot()) return null
  const stat = statSync(folder, { throwIfNoEntry: false })
  return stat && stat.uid !== 0 ? { uid: stat.uid, gid: stat.gid } : postgresAccount(uidBase)
}

function checkAccess({ folder, account }: Location): void {
  const { uid } = statSync(folder)
  const wanted = account?.uid ?? process.getuid?.()
  if (wanted !== undefined && uid !== wanted)
    throw new Error(`The database in ${folder} belongs to user ${uid}. Start Paddock as that user.`)
  if (account && !reachableBy(account, folder))
    throw new Error(`User ${account.uid}, who owns the database in ${folder}, cannot enter a folder above it.`)
}

function readRecord(dataFolder: string): Recorded | null {
  const path = join(dataFolder, locationFile)
  if (!existsSync(path)) return null
  const recorded = readJsonIfThere<Recorded>(path)
  if (typeof recorded?.folder !== 'string') throw new Error(`${path} is damaged. Restore it from a backup.`)
  return recorded
}

function writeRecord(dataFolder: string, recorded: Recorded): void {
  writeFileAtomic(join(dataFolder, locationFile), `${JSON.stringify(recorded)}\n`)
}
