/** The import matrix, read from the one table of `src/README.md`. */
import type { Tree } from './tree.ts'

export type Permission = 'all' | 'memory' | 'commands' | 'none'

export interface Matrix {
  /** Folder names in the order of the table. */
  rows: string[]
  permission(from: string, to: string): Permission
}

const signs: Record<string, Permission> = { '✓': 'all', m: 'memory', c: 'commands', '': 'none', '·': 'none' }

/** Throws when there is no table, or one that is not square enough to be read. */
export function readMatrix(tree: Tree): Matrix {
  const text = tree.get('src/README.md') ?? ''
  const lines = text.split('\n').filter((line) => line.startsWith('|'))
  const start = lines.findIndex((line) => /^\|\s*from ╲ to/.test(line))
  if (start < 0) throw new Error('src/README.md has no table that begins with "from ╲ to"')
  const columns = cells(lines[start]!).slice(1)
  const table = new Map<string, Map<string, Permission>>()
  for (const line of lines.slice(start + 2)) {
    const [row, ...marks] = cells(line)
    if (row === undefined || marks.length !== columns.length) throw new Error(`not a row of the matrix: ${line}`)
    table.set(row, new Map(columns.map((column, at) => [column, sign(marks[at]!, row, column)])))
  }
  return { rows: [...table.keys()], permission: (from, to) => table.get(from)?.get(to) ?? 'none' }
}

function cells(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('`', ''))
}

function sign(mark: string, row: string, column: string): Permission {
  const permission = signs[mark]
  if (permission === undefined) throw new Error(`unknown sign "${mark}" in the matrix at ${row} → ${column}`)
  return permission
}

/**
 * The row of the matrix a file of `src/` belongs to: `access`, `engines/contract`, `engines/*`, `engines/registry`,
 * `server`, `main`. Null for a file that has no place in the layout.
 */
export function rowOf(path: string): string | null {
  const parts = path.replace(/^src\//, '').split('/')
  const [top, second] = parts as [string, string | undefined]
  if (parts.length === 1)
    return top === 'main.ts' ? 'main' : /^(server|supervisor)(-[a-z-]+)?\.ts$/.test(top) ? 'server' : null
  if (top !== 'engines' && top !== 'compute') return top
  if (parts.length > 2) return `${top}/*`
  return /^(contract|registry)(\.|$)/.test(second!) ? `${top}/${second!.split('.')[0]}` : null
}

/** The folder that owns a file: what may see all of its own, e.g. `src/engines/llamacpp`. */
export function homeOf(path: string): string {
  const parts = path.split('/')
  const depth = parts[1] === 'engines' || parts[1] === 'compute' ? 3 : 2
  return parts.slice(0, Math.min(depth, parts.length - 1)).join('/')
}
