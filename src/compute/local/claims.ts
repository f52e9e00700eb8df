/**
 * Things of this machine of which each belongs to one replica at a time: uids, GPUs, uses of a copy. Under root the folder is the
 * machine's, so that two Paddocks on it never give one uid or one GPU to two engines; else it is the instance's own.
 * A claim is a file, made in one step, that names its run folder; once that folder is gone the claim means nothing.
 */
import { existsSync, linkSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createFileOnce, makeFolder, readJsonIfThere } from '../../runtime/files.ts'
import { randomToken } from '../../runtime/ids.ts'
import { namesIn } from './run-folder.ts'

export interface Claim {
  name: string
  /** Path of the run folder it is held for. */
  folder: string
}

const claimName = /^[a-z]+-[a-z0-9_-]+$/

export class Claims {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  all(): Claim[] {
    return namesIn(this.#folder)
      .filter((name) => claimName.test(name))
      .flatMap((name) => this.#read(name) ?? { name, folder: '' })
  }

  /** `count` of these names for this run folder, what it holds already first; null (and nothing new) when too few. */
  take(names: Iterable<string>, count: number, folder: string): string[] | null {
    makeFolder(this.#folder, 0o755)
    const wanted = [...names]
    const mine = wanted.filter((name) => this.#read(name)?.folder === folder).slice(0, count)
    const fresh: string[] = []
    for (const name of wanted) {
      if (mine.length + fresh.length === count) break
      if (!mine.includes(name) && this.#create(name, folder)) fresh.push(name)
    }
    if (mine.length + fresh.length === count) return [...mine, ...fresh]
    for (const name of fresh) rmSync(join(this.#folder, name), { force: true })
    return null
  }

  release(folder: string): void {
    for (const claim of this.all()) if (claim.folder === folder) rmSync(join(this.#folder, claim.name), { force: true })
  }

  /** What is held for run folders that are gone, also those of another Paddock. */
  stale(): Claim[] {
    return this.all().filter((claim) => !existsSync(claim.folder))
  }

  #create(name: string, folder: string): boolean {
    const path = join(this.#folder, name)
    return !existsSync(path) && createFileOnce(path, JSON.stringify({ folder }), 0o600)
  }

  #read(name: string): Claim | null {
    const content = readJsonIfThere<{ folder: string }>(join(this.#folder, name))
    return content === null ? null : { name, folder: content.folder }
  }

  /** Frees a stale claim. Moves it aside first: between the look and the removal it may have become somebody's. */
  drop(claim: Claim): boolean {
    const path = join(this.#folder, claim.name)
    const aside = join(this.#folder, `.stale.${randomToken(6)}`)
    try {
      renameSync(path, aside)
    } catch {
      return false
    }
    const moved = readJsonIfThere<{ folder: string }>(aside)
    const stale = moved === null || moved.folder === claim.folder
    if (!stale) linkSync(aside, path)
    rmSync(aside, { force: true })
    return stale
  }
}
