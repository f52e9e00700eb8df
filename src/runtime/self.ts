/** Where this program's own files are: a clone runs TypeScript from `src/`, a release JavaScript from `dist/`. */
import { readFileSync } from 'node:fs'
import { extname, join, resolve } from 'node:path'

const extension = extname(import.meta.filename)

/** Folder that holds `src/` or `dist/`, `node_modules/` and `models/`. */
export const packageRoot = resolve(import.meta.dirname, '..', '..')
export const runsFromSource = extension === '.ts'

/** Path of one of our modules by its name without extension, e.g. `compute/local/keeper`, below `root`. */
export function modulePath(name: string, root: string = packageRoot): string {
  return join(root, runsFromSource ? 'src' : 'dist', `${name}${extension}`)
}

/** Version of this program, from package.json. */
export const version = (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string })
  .version
