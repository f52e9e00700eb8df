/** The files of a checkout as a map from path to text: what every rule works on. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export type Tree = ReadonlyMap<string, string>

export interface Violation {
  rule: string
  path: string
  /** 0 = the whole file. */
  line: number
  /** What is wrong and what to do instead. */
  message: string
}

const skippedFolders = new Set(['.git', 'node_modules', 'dist', '.paddock', '.paddock-install', 'data'])
const largestTextBytes = 2_000_000

/** Text files below `root`, with `/` in their paths. Binary and very large ones are left out. */
export function readTree(root: string): Tree {
  const tree = new Map<string, string>()
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      // `data` is skipped at the top only: there it is the default data folder.
      const skipped = skippedFolders.has(entry.name) && (folder === '' || entry.name !== 'data')
      if (skipped) continue
      if (entry.isDirectory()) walk(path)
      if (entry.isFile() && statSync(join(root, path)).size <= largestTextBytes) {
        const text = readFileSync(join(root, path), 'utf8')
        if (!text.includes('\0')) tree.set(path, text)
      }
    }
  }
  walk('')
  return tree
}

/** Tests and what only tests use: free to import and to wait as they like. */
export function isTestCode(path: string): boolean {
  return /^test\/|\.(test|suite|fixture)\.ts$|(^|\/)testing([/-]|\.ts$)/.test(path)
}

/** What a release is made of. */
export function isProduct(path: string): boolean {
  return path.startsWith('src/') && path.endsWith('.ts') && !isTestCode(path)
}
