/**
 * Makes a new, empty database folder. initdb works beside the final place and the finished result is renamed into it:
 * whatever kills us before that leaves only a partial folder, which the next start removes.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Clock } from '../runtime/clock.ts'
import { randomToken } from '../runtime/ids.ts'
import type { Account } from '../runtime/isolation.ts'
import type { Binaries } from './binaries.ts'
import { endOrphans } from './orphans.ts'
import { startTied } from './tied.ts'

export interface CreateInput {
  binaries: Binaries
  /** The final place; must not exist, or be empty. */
  folder: string
  /** Who will own it; null = we ourselves. */
  account: Account | null
  /** Who runs initdb; null = we ourselves. */
  initAccount: Account | null
  user: string
  password: string
  /** False only in tests: nothing is forced to the disk. */
  durable: boolean
}

/** Throws with initdb's own words when it fails; then nothing is left behind. */
export async function createDatabaseFolder(input: CreateInput): Promise<void> {
  const work = `${input.folder}${partialMark}${randomToken(6)}`
  mkdirSync(work, { mode: 0o700 })
  try {
    if (input.initAccount) lchownSync(work, input.initAccount.uid, input.initAccount.gid)
    await runInitdb(input, work)
    const made = join(work, 'data')
    if (input.account) giveTree(made, input.account)
    renameSync(made, input.folder)
    if (input.durable) for (const path of [input.folder, dirname(input.folder)]) syncFolder(path)
  } finally {
    removeTree(work)
  }
}

/** Removes what an interrupted creation left, its processes first. */
export async function removePartialFolders(folder: string, clusterName: string, clock: Clock): Promise<void> {
  const parent = dirname(folder)
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(`${basename(folder)}${partialMark}`)) continue
    const work = join(parent, name)
    for (const folder of [work, join(work, 'data')]) await endOrphans(folder, clusterName, clock)
    removeTree(work)
  }
}

const removalPasses = 20
const partialMark = '.partial-'

async function runInitdb(input: CreateInput, work: string): Promise<void> {
  const passwordFile = join(work, 'password')
  const outputPath = join(work, 'output')
  writeFileSync(passwordFile, `${input.password}\n`, { mode: 0o600 })
  if (input.initAccount) lchownSync(passwordFile, input.initAccount.uid, input.initAccount.gid)
  const output = openSync(outputPath, 'w', 0o600)
  const argv = initdbLine(input, join(work, 'data'), passwordFile)
  const tied = { argv, endSignal: 'TERM', account: input.initAccount, output, cwd: work } as const
  const { code, notStarted } = await startTied(tied).ended
  closeSync(output)
  if (code === 0) return
  throw new Error(`The database could not be created: ${notStarted || explain(readFileSync(outputPath, 'utf8'))}`)
}

function initdbLine(input: CreateInput, folder: string, passwordFile: string): [string, ...string[]] {
  return [
    input.binaries.initdb,
    `--pgdata=${folder}`,
    `--username=${input.user}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // The same order and case rules on every system, whatever locales it has.
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
    '--data-checksums',
    '--no-instructions',
    ...(input.durable ? [] : ['--no-sync']),
  ]
}

function explain(output: string): string {
  if (output.includes('could not look up effective user ID'))
    return (
      'initdb needs an entry for this user id in the user database (/etc/passwd). Add one, start as another user, ' +
      'or set DATABASE_URL to a Postgres of yours.'
    )
  const lines = output.trim().split('\n')
  return (
    lines.filter((line) => /error|fatal|could not|cannot|not found/i.test(line)).join(' ') || lines.slice(-3).join(' ')
  )
}

/** Top first: from then on the former owner can no longer enter by name. */
function giveTree(path: string, account: Account): void {
  lchownSync(path, account.uid, account.gid)
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name)
    if (entry.isDirectory()) giveTree(child, account)
    else lchownSync(child, account.uid, account.gid)
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

/** Repeated, because what somebody else removes at the same time makes one pass end early without an error. */
function removeTree(path: string): void {
  for (let pass = 0; pass < removalPasses && existsSync(path); pass += 1)
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
}
