/** Files and functions that one can read at a sitting. */
import type { FileFacts } from '../syntax.ts'
import type { Tree, Violation } from '../tree.ts'

export const fileLinesMax = 400
export const functionLinesMax = 70
export const readmeLinesMax = 40

/** Larger than allowed, by name (`path` or `path#function`) and size today. May only shrink. */
export type Ratchet = Readonly<Record<string, number>>

export function sizeRule(tree: Tree, facts: ReadonlyMap<string, FileFacts>, ratchet: Ratchet): Violation[] {
  const sizes = new Map<string, { path: string; line: number; lines: number; max: number }>()
  for (const [path, text] of tree) {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
    if (/\.(ts|mjs)$/.test(path)) sizes.set(path, { path, line: 0, lines, max: fileLinesMax })
    if (/^src\/.+\/README\.md$/.test(path)) sizes.set(path, { path, line: 0, lines, max: readmeLinesMax })
  }
  for (const [path, { functions }] of facts)
    for (const { name, line, lines } of functions) {
      const key = `${path}#${name}`
      if ((sizes.get(key)?.lines ?? 0) < lines) sizes.set(key, { path, line, lines, max: functionLinesMax })
    }
  const found = [...sizes].flatMap(([key, { path, line, lines, max }]) => {
    const allowed = ratchet[key] ?? max
    return lines <= allowed
      ? []
      : [{ rule: 'sizes', path, line, message: `${key} has ${lines} lines, ${allowed} are allowed` }]
  })
  return [...found, ...loose(ratchet, sizes)]
}

function loose(ratchet: Ratchet, sizes: ReadonlyMap<string, { lines: number; max: number }>): Violation[] {
  return Object.entries(ratchet).flatMap(([key, allowed]) => {
    const now = sizes.get(key)
    const path = key.split('#')[0]!
    if (!now || now.lines <= now.max)
      return [{ rule: 'sizes', path, line: 0, message: `${key} is within the limit: take it off the ratchet` }]
    return now.lines < allowed
      ? [
          {
            rule: 'sizes',
            path,
            line: 0,
            message: `${key} has shrunk to ${now.lines}: lower the ratchet from ${allowed}`,
          },
        ]
      : []
  })
}
