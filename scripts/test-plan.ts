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

/**
 * Those that take longest come first in their group, in this order: the last one would otherwise run alone.
 * What is not listed takes a few seconds.
 */
export const longest = [
  'src/deployments/loop.test.ts',
  'test/paper/world.test.ts',
  'src/compute/local/driver.test.ts',
  'src/engines/llamacpp/worker/answer-shapes.test.ts',
  'src/engines/llamacpp/worker/worker.test.ts',
  'src/deployments/interleave.property.test.ts',
  'src/store/embedded-kills.test.ts',
  'src/api/upload-kill.test.ts',
  'test/e2e/pack.test.ts',
  'test/kill/everything.test.ts',
  'test/kill/metering.test.ts',
  'test/e2e/demo.test.ts',
  'test/scenarios/golden.test.ts',
  'test/e2e/cli.test.ts',
  'test/sim/troubles.test.ts',
  'test/engines/platform.test.ts',
  'test/e2e/shutdown.test.ts',
  'test/kill/parts.test.ts',
]

/** What they measure, or promise within a time, is not true beside others; or they keep every core busy themselves. */
const alone = /^test\/(elastic\/(?!hold)|sim\/throughput)/
/** Real servers with all their processes, each in a place of its own. Much of their time they wait. */
const servers = /^test\/(sim|e2e|kill|elastic|needs-[^/]+)\/|^test\/engines\/platform/

/** What shares nothing runs side by side: as many at a time as there are cores, servers two at a time. */
export function groupFiles(files: string[], cores: number): Group[] {
  const ordered = files.toSorted((a, b) => rank(a) - rank(b))
  const kindOf = (file: string) => (alone.test(file) ? 'alone' : servers.test(file) ? 'servers' : 'unit')
  const jobs = { unit: Math.min(cores, 4), servers: Math.min(cores, 2), alone: 1 }
  return (['unit', 'servers', 'alone'] as const)
    .map((name) => ({
      name,
      jobs: jobs[name],
      files: ordered.filter((file) => kindOf(file) === name),
      sharesDatabase: name === 'unit',
    }))
    .filter((group) => group.files.length > 0)
}

function rank(file: string): number {
  const place = longest.indexOf(file)
  return place < 0 ? longest.length : place
}
