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
 * `files` themselves when `account` can read them, else their copy below `folder`. `packages`: folders below
 * `packageRoot`, e.g. `node_modules/node-llama-cpp`. `claim` is told the name of the copy before it is used. Throws
 * what the file system throws.
 */
export function placeEngineFiles(
  files: EngineFiles,
  packages: readonly string[],
  account: Account | null,
  folder: string,
  claim: (copy: string) => void,
): EngineFiles {
  const parts = ['package.json', ...ownParts.map((part) => join(ownRoot, part)), ...packages].filter((part) =>
    existsSync(join(files.packageRoot, part)),
  )
  const needed = [files.node, ...parts.map((part) => join(files.packageRoot, part))]
  if (needed.every((path) => reachableBy(account, path))) return files
  const copy = contentHash(files, parts)
  claim(copy)
  const target = join(folder, copy)
  const place = (source: string, part: string) => {
    // Whatever our umask is, other uids get through.
    makeFolder(dirname(join(target, part)), 0o755)
    return placeReadable(source, join(target, part))
  }
  for (const part of parts) place(join(files.packageRoot, part), part)
  const node = place(realpathSync(files.node), join('bin', 'node'))
  return { node, packageRoot: target }
}

/** What npm installed is known by name and version, the Node binary by its size and time, ours by its content. */
function contentHash({ node, packageRoot }: EngineFiles, parts: readonly string[]): string {
  const hash = createHash('sha256')
  const { size, mtimeMs } = statSync(node)
  hash.update(JSON.stringify([size, mtimeMs]))
  for (const part of parts) {
    const path = join(packageRoot, part)
    hash.update(part)
    if (!statSync(path).isDirectory()) hash.update(readFileSync(path))
    else if (part.startsWith('node_modules')) hash.update(readFileSync(join(path, 'package.json')))
    else hashTree(hash, path)
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
