/**
 * Our own program where an engine's uid can read it. A clone in a folder that only its owner enters is no use to
 * another uid, so root copies what an engine needs (never data) below the system folder, once per content.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeFolder } from '../../runtime/files.ts'
import { type Account, placeReadable, reachableBy } from '../../runtime/isolation.ts'
import { runsFromSource } from '../../runtime/self.ts'
import { namesIn } from './run-folder.ts'

export interface EngineFiles {
  node: string
  packageRoot: string
}

/** Folders of ours that an engine's program may import. */
const ownParts = ['kernel', 'runtime', 'engines']
const ownRoot = runsFromSource ? 'src' : 'dist'

/**
 * `files` themselves when `account` can read them, else their copy below `folder`. `packages`: folders such as
 * `node_modules/pkg`, looked for at `packageRoot` and above it, where npm puts them when we are somebody's dependency.
 * `claim` is told the name of the copy before it is used. Throws what the file system throws.
 */
export function placeEngineFiles(
  files: EngineFiles,
  packages: readonly string[],
  account: Account | null,
  folder: string,
  claim: (copy: string) => void,
): EngineFiles {
  const own = ['package.json', ...ownParts.map((part) => join(ownRoot, part))]
  const parts = [...own, ...packages].flatMap((part) => {
    const source = packages.includes(part) ? findAbove(files.packageRoot, part) : join(files.packageRoot, part)
    return source !== null && existsSync(source) ? [{ part, source }] : []
  })
  const needed = [files.node, ...parts.map(({ source }) => source)]
  if (needed.every((path) => reachableBy(account, path))) return files
  const copy = contentHash(files.node, parts)
  claim(copy)
  const target = join(folder, copy)
  const place = (source: string, part: string) => {
    // Whatever our umask is, other uids get through.
    makeFolder(dirname(join(target, part)), 0o755)
    return placeReadable(source, join(target, part))
  }
  for (const { source, part } of parts) place(source, part)
  const node = place(realpathSync(files.node), join('bin', 'node'))
  return { node, packageRoot: target }
}

/** `part` below `folder` or the nearest folder above it that has one, as Node looks for packages. */
function findAbove(folder: string, part: string): string | null {
  const found = join(folder, part)
  if (existsSync(found)) return found
  return dirname(folder) === folder ? null : findAbove(dirname(folder), part)
}

/** What npm installed is known by name and version, the Node binary by its size and time, ours by its content. */
function contentHash(node: string, parts: readonly { part: string; source: string }[]): string {
  const hash = createHash('sha256')
  const { size, mtimeMs } = statSync(node)
  hash.update(JSON.stringify([size, mtimeMs]))
  for (const { part, source } of parts) {
    hash.update(part)
    if (!statSync(source).isDirectory()) hash.update(readFileSync(source))
    else if (part.startsWith('node_modules')) hash.update(readFileSync(join(source, 'package.json')))
    else hashTree(hash, source)
  }
  return hash.digest('hex').slice(0, 24)
}

function hashTree(hash: ReturnType<typeof createHash>, folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    hash.update(entry.name)
    if (entry.isDirectory()) hashTree(hash, path)
    else hash.update(readFileSync(path))
  }
}

/** Removes copies that are in nobody's use and older than a day: those of releases before this one. */
export function removeUnusedFiles(folder: string, inUse: ReadonlySet<string>, nowMs: number): string[] {
  return namesIn(folder).filter((name) => {
    const path = join(folder, name)
    if (inUse.has(name) || nowMs - statSync(path).ctimeMs < keepUnusedMs) return false
    rmSync(path, { recursive: true, force: true })
    return true
  })
}

const keepUnusedMs = 24 * 3_600_000
