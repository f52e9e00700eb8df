/** Who may import whom: the matrix, packages by folder, nothing of tests in the product, no cycles. */
import { posix } from 'node:path'
import { homeOf, type Matrix, rowOf } from '../matrix.ts'
import type { FileFacts, Import } from '../syntax.ts'
import { isProduct, isTestCode, type Violation } from '../tree.ts'

export type Facts = ReadonlyMap<string, FileFacts>

/** Path of a relative import inside the tree; null for packages. */
export function targetOf(path: string, specifier: string): string | null {
  return specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : null
}

export function matrixRule(facts: Facts, matrix: Matrix): Violation[] {
  const reachesSql = sqlReach(facts)
  return productImports(facts).flatMap(({ path, imported, target }) => {
    const told = target === null ? null : judge(path, target, imported, matrix, reachesSql)
    return told === null ? [] : [{ rule: 'import matrix', path, line: imported.line, message: told }]
  })
}

function judge(path: string, target: string, imported: Import, matrix: Matrix, reachesSql: Set<string>): string | null {
  const from = rowOf(path)
  if (from === null || !matrix.rows.includes(from))
    return `${path} has no row in the matrix of src/README.md; a new folder needs an ADR and a row`
  if (!target.startsWith('src/')) {
    // Data beside the code (models, package.json) is read, not imported; JSON may be.
    return target.endsWith('.json') ? null : `${target} is outside src/; the product stands on src/ alone`
  }
  if (isTestCode(target)) return `${target} is for tests only`
  // Also the files of the composition root among themselves; main has a row of its own.
  if (homeOf(path) === homeOf(target) && (homeOf(path) !== 'src' || rowOf(target) === from)) return null
  const to = rowOf(target)
  if (to === null) return `${target} has no row in the matrix of src/README.md`
  const named = `${from} → ${to}`
  switch (matrix.permission(from, to)) {
    case 'all':
      return null
    case 'commands':
      return /\/(store|loop)\.ts$/.test(target) ? `${named}: commands and pure parts only, not ${target}` : null
    case 'memory':
      return !imported.typeOnly && reachesSql.has(target)
        ? `${named}: in-memory parts only, and ${target} leads to the database`
        : null
    case 'none':
      return from === to && from.endsWith('/*')
        ? `${named}: a driver never imports its sibling`
        : `${named} is not allowed`
  }
}

/** Files from which, at run time, the store or `pg` is reached. */
function sqlReach(facts: Facts): Set<string> {
  const reached = new Set([...facts.keys()].filter((path) => path.startsWith('src/store/')))
  for (let grew = true; grew; ) {
    grew = false
    for (const { path, imported, target } of productImports(facts)) {
      if (reached.has(path) || imported.typeOnly) continue
      if (imported.specifier !== 'pg' && (target === null || !reached.has(target))) continue
      reached.add(path)
      grew = true
    }
  }
  return reached
}

function productImports(facts: Facts): { path: string; imported: Import; target: string | null }[] {
  return [...facts]
    .filter(([path]) => isProduct(path))
    .flatMap(([path, { imports }]) =>
      imports.map((imported) => ({ path, imported, target: targetOf(path, imported.specifier) })),
    )
}

/** Package → where it may be imported. Prefixes of paths. */
export type PackageList = Readonly<Record<string, readonly string[]>>

export function packageRule(facts: Facts, allowed: PackageList): Violation[] {
  return productImports(facts).flatMap(({ path, imported, target }) => {
    if (target !== null || imported.specifier.startsWith('node:')) return []
    const name = imported.specifier
      .split('/')
      .slice(0, imported.specifier.startsWith('@') ? 2 : 1)
      .join('/')
    const places = allowed[name]
    if (places?.some((place) => path.startsWith(place))) return []
    const message = places
      ? `${name} belongs in ${places.join(', ')}`
      : `${name} is in no list of packages (test/tidy/lists.ts); a new one needs a reason there`
    return [{ rule: 'packages', path, line: imported.line, message }]
  })
}

/** Files that import each other at run time, as one violation per cycle. */
export function cycleRule(facts: Facts): Violation[] {
  const edges = new Map<string, string[]>()
  for (const { path, imported, target } of productImports(facts))
    if (target !== null && !imported.typeOnly) edges.set(path, [...(edges.get(path) ?? []), target])
  const done = new Set<string>()
  const found: Violation[] = []
  const walk = (path: string, trail: string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) {
      const circle = [...trail.slice(at), path].join(' → ')
      found.push({ rule: 'cycles', path, line: 0, message: `a circle of imports: ${circle}` })
    }
    if (at >= 0 || done.has(path)) return
    for (const next of edges.get(path) ?? []) walk(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) walk(path, [])
  return found
}
