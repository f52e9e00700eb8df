/** What must not stand in any file: somebody's folders, package registries, work put off. */
import type { Tree, Violation } from '../tree.ts'

// Put together so that this file does not break its own rules.
const any = (...words: string[]) => words.join('|')
const patterns: { rule: string; pattern: RegExp; message: string }[] = [
  {
    rule: 'machine paths',
    pattern: new RegExp(`(^|[\\s'"\`(=:])/(${any('work', 'root', 'home/[\\w.-]+', 'Users/[\\w.-]+', 'tmp')})/[\\w.-]+`),
    message: 'a path of one machine; use a relative path, or a folder from os.tmpdir()',
  },
  {
    rule: 'registry hosts',
    pattern: new RegExp(`https?://[^\\s'"\`)]*(${any('registry', 'artifactory', 'verdaccio', 'nexus')})\\b`, 'i'),
    message: 'the address of a package registry; which one is used is the business of whoever installs',
  },
  {
    rule: 'put off',
    pattern: new RegExp(
      `\\b(${any('TO', 'FIX')
        .replace('TO', 'TO' + 'DO')
        .replace('FIX', 'FIX' + 'ME')})\\b`,
    ),
    message: 'work put off is an issue, not a comment',
  },
]

export function textRule(tree: Tree): Violation[] {
  return [...tree].flatMap(([path, text]) =>
    text
      .split('\n')
      .flatMap((line, at) =>
        patterns
          .filter(({ pattern }) => pattern.test(line))
          .map(({ rule, message }) => ({ rule, path, line: at + 1, message })),
      ),
  )
}

/** The lockfile names versions and checksums, not the place that one person fetched from. */
export function lockRule(tree: Tree): Violation[] {
  const text = tree.get('package-lock.json') ?? ''
  const line = text.split('\n').findIndex((one) => /"resolved":/.test(one)) + 1
  return line === 0
    ? []
    : [
        {
          rule: 'lockfile',
          path: 'package-lock.json',
          line,
          message: 'has "resolved" addresses; .npmrc leaves them out',
        },
      ]
}
