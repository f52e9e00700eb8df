/** Which test files there are, and in which order and how many at a time they run. */
import { existsSync, globSync, statSync } from 'node:fs'
import { relative, resolve, sep } from 'node:path'

export interface Group {
  name: string
  /** How many files at once. */
  jobs: number
  files: string[]
  /** Its files may all use one Postgres. */
  sharesDatabase: boolean
}

/** All test files of the tree, or those at or under the given paths (relative to `cwd`); sorted, relative to `root`. */
export function findTestFiles(root: string, paths: string[] = [], cwd = root): string[] {
  const found = globSync('{src,test,console,bench,scripts}/**/*.test.ts', { cwd: root, exclude: skipped }).map(
    toSlashes,
  )
  if (paths.length === 0) return found.sort()
  const wanted = paths.map((path) => toSlashes(relative(root, resolve(cwd, path))))
  return found.filter((file) => wanted.some((path) => covers(root, path, file))).sort()
}

function skipped(path: string): boolean {
  return path.split(sep).includes('node_modules')
}

function covers(root: string, path: string, file: string): boolean {
  if (path === '' || file === path || file.startsWith(`${path}/`)) return true
  const isFolder = existsSync(resolve(root, path)) && statSync(resolve(root, path)).isDirectory()
  return !isFolder && file.startsWith(path)
}

function toSlashes(path: string): string {
  return path.split(sep).join('/')
}

/** What shares nothing runs side by side; what starts servers, or kills them, runs alone. */
export function groupFiles(files: string[], cores: number): Group[] {
  const kinds: [string, number, RegExp][] = [
    ['simulated', 1, /^test\/(sim|scenarios)\//],
    ['end to end', cores >= 4 ? 2 : 1, /^test\/(e2e|needs-[^/]+)\//],
    ['kill', 1, /^test\/kill\//],
    // They keep both cores busy, and are about what happens in time.
    ['elastic', 1, /^test\/elastic\//],
  ]
  const groups = kinds.map(([name, jobs, pattern]) => ({
    name,
    jobs,
    sharesDatabase: false,
    files: files.filter((file) => pattern.test(file)),
  }))
  const rest = files.filter((file) => !kinds.some(([, , pattern]) => pattern.test(file)))
  return [{ name: 'unit', jobs: Math.min(cores, 4), files: rest, sharesDatabase: true }, ...groups].filter(
    (group) => group.files.length > 0,
  )
}
