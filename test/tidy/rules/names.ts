/** A folder or file is named after what is in it, never after the fact that it was put there. */
import type { Tree, Violation } from '../tree.ts'

const empty = new Set(['util', 'helper', 'common', 'manager', 'service', 'system', 'misc'])

export function nameRule(tree: Tree): Violation[] {
  return [...tree.keys()].flatMap((path) =>
    path
      .split('/')
      .map((part) => part.replace(/\.[^.]*$/, '').toLowerCase())
      .filter((part) => part.split(/[-_.]/).some((word) => empty.has(word.replace(/s$/, ''))))
      .slice(0, 1)
      .map((part) => ({
        rule: 'names',
        path,
        line: 0,
        message: `"${part}" says nothing: name it after what is in it`,
      })),
  )
}
