/** Turns `src/` into JavaScript and puts the files that are not code beside it. `dist/` is replaced as a whole. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Builds `root/dist`. Null when it is there, else what is wrong; an older `dist/` then stays as it was. */
export function compile(root: string): string | null {
  const work = mkdtempSync(join(root, 'dist.building-'))
  try {
    const fresh = join(work, 'dist')
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const args = [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', fresh]
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
    if (status !== 0) return `${stdout}${stderr}`.trim() || `tsc ended with ${status}`
    cpSync(join(root, 'src'), fresh, { recursive: true, filter: isAsset })
    const dist = join(root, 'dist')
    if (existsSync(dist)) renameSync(dist, join(work, 'old'))
    renameSync(fresh, dist)
    return null
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Folders, and in them what the program reads at run time: SQL, JSON, pages. */
function isAsset(path: string): boolean {
  return statSync(path).isDirectory() ? !path.endsWith('testing') : !/\.(ts|md)$/.test(path)
}
