/** The walks of `src/README.md` name files; a walk that leads nowhere is worse than none. */
import type { Tree, Violation } from '../tree.ts'

export function walkRule(tree: Tree): Violation[] {
  const lines = (tree.get('src/README.md') ?? '').split('\n')
  return lines.flatMap((line, at) =>
    [...line.matchAll(/`([a-z-]+(?:\/[a-z-]+)*\.ts)`/g)]
      .map((match) => match[1]!)
      .filter((path) => path.includes('/') || path.startsWith('server'))
      .filter((path) => !tree.has(`src/${path}`))
      .map((path) => ({ rule: 'walks', path: 'src/README.md', line: at + 1, message: `src/${path} does not exist` })),
  )
}
